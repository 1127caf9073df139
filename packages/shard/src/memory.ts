// Memory: what a shard knows beside its files. Made as a whole by recovery.ts, and thrown away as a whole when the log
// fails: it is then ahead of the disk, and only the disk counts (P5).
import type { EventLog } from "@heddle/event-log/internal";
import type { Activation } from "./activation.ts";
import type { Alarms } from "./alarms.ts";
import type { AppendIds } from "./append-ids.ts";
import type { Erasures } from "./erasures.ts";
import type { OpenGroups } from "./open-groups.ts";
import type { Sessions } from "./sessions.ts";
import type { OpenTransactions } from "./transactions/open-transactions.ts";
import type { TypeCounts } from "./type-counts.ts";

export interface Memory {
  readonly log: EventLog;
  readonly groups: OpenGroups;
  readonly activation: Activation;
  readonly alarms: Alarms;
  readonly appendIds: AppendIds;
  readonly sessions: Sessions;
  readonly types: TypeCounts;
  readonly erasures: Erasures;
  readonly transactions: OpenTransactions;
}
