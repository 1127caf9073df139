// Goal: an audit's report tells of sagas that somebody should know of. Golden text; what an audit finds is tested in runtime.
import type { AuditReport } from "@heddle/runtime/internal";
import { expect, it } from "vitest";
import { capturedTerminal } from "./captured-terminal.spec-support.ts";
import { printAudit } from "./commands/audit.ts";

const report: AuditReport = {
  ok: true,
  context: "bank",
  shards: 2,
  entities: 3,
  aggregates: 3,
  entries: 9,
  events: 12,
  erased: 0,
  sagas: { ended: 0, unfinished: 0, stuck: 0 },
  projections: [],
  logBytes: 2_048,
  problems: [],
  problemTotal: 0,
  notes: [],
  tookMs: 20,
};
const printed = (sagas: AuditReport["sagas"]): string => {
  const { terminal, out } = capturedTerminal();
  printAudit(terminal, { ...report, sagas });
  return out();
};

it("an audit says how many sagas have not ended, and how many wait for an operator; nothing where there are none", () => {
  expect(printed({ ended: 0, unfinished: 0, stuck: 0 })).toBe(
    "INTEGRITY_OK (3 aggregates)\n12 events of 3 entities in 2 shards, 2.0 KiB of log, 20 ms\n",
  );
  expect(printed({ ended: 1_200, unfinished: 2, stuck: 1 })).toBe(
    "INTEGRITY_OK (3 aggregates)\n" +
      "2 sagas had not ended; a node goes on with them\n" +
      "1 saga waits for an operator: heddle sagas ls --stuck\n" +
      "12 events of 3 entities, 1,203 sagas in 2 shards, 2.0 KiB of log, 20 ms\n",
  );
});
