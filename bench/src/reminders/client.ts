// The client of the reminders scenario, and its judge, as a process of their own: node reminders/client.ts <job as JSON>
import { Heddle } from "@heddle/client";
import { auditFolder } from "@heddle/runtime/internal";
import type bank from "@heddle-examples/bank";
import { judgeReminders, type ReminderVerdict } from "./judge.ts";
import { accountOf, amountOf, dueOf, duePerEntity, nameOf, type ReminderPlan, remindersPerEntity } from "./plan.ts";

export type RemindersJob =
  | { readonly kind: "set"; readonly port: number; readonly entities: number; readonly callers: number }
  | { readonly kind: "judge"; readonly data: string; readonly domain: string; readonly plan: ReminderPlan };

export type RemindersMessage =
  | { readonly kind: "progress"; readonly done: number }
  | { readonly kind: "set"; readonly from: number; readonly seconds: number }
  | { readonly kind: "judge"; readonly verdict: ReminderVerdict; readonly audit: { ok: boolean; text: string } };

const connections = 4;
const openedPerCall = 5_000;
/** For stopping and starting the node before the first is due: a part that does not depend on their number, and one that does. */
const restartMs = 2_000;
const restartMsPerEntity = 0.3;
/** The second half may be slower to set than the first. */
const reserve = 1.5;

if (import.meta.main) await main(JSON.parse(process.argv[2]!) as RemindersJob);

async function main(job: RemindersJob): Promise<void> {
  process.on("disconnect", () => process.exit(1));
  if (job.kind === "judge") {
    const verdict = judgeReminders(job.data, job.plan);
    const { ok, aggregates, problemTotal, problems } = await auditFolder({ data: job.data, domain: job.domain });
    const text = ok
      ? `INTEGRITY_OK (${aggregates} aggregates)`
      : `INTEGRITY_FAILED (${problemTotal} problems, first: ${JSON.stringify(problems[0])})`;
    tell({ kind: "judge", verdict, audit: { ok, text } });
  } else {
    await using db = new Heddle<typeof bank>({ host: "127.0.0.1", port: job.port, connections });
    await db.ready();
    await openAccounts(db, job.entities);
    tell({ kind: "set", ...(await setReminders(db, job)) });
  }
  process.disconnect?.();
}

async function openAccounts(db: Heddle<typeof bank>, entities: number): Promise<void> {
  for (let from = 0; from < entities; from += openedPerCall) {
    const items = Array.from({ length: Math.min(openedPerCall, entities - from) }, (_, index) => ({
      entity: accountOf(from + index),
      aggregate: "Account" as const,
      type: "Credited" as const,
      payload: { amount: 1 },
    }));
    const failed = (await db.appendMany(items, { timeoutMs: 300_000 })).find(({ ok }) => !ok);
    if (failed !== undefined) throw new Error(`an account could not be opened: ${JSON.stringify(failed)}`);
  }
}

// Those of next year first: how long they take says when the others can be due at the earliest.
async function setReminders(
  db: Heddle<typeof bank>,
  { entities, callers }: { readonly entities: number; readonly callers: number },
): Promise<{ readonly from: number; readonly seconds: number }> {
  let done = 0;
  const progress = setInterval(() => tell({ kind: "progress", done }), 1_000);
  const set = async (plan: ReminderPlan, first: number, end: number) => {
    let next = 0;
    const caller = async () => {
      while (next < entities) {
        const entity = next++;
        const account = db.entity(accountOf(entity));
        for (let reminder = first; reminder < end; reminder++) {
          const at = dueOf(plan, entity, reminder);
          const input = { amount: amountOf(entity, reminder) };
          await account.remind(
            nameOf(reminder),
            { at, command: "Deposit", input, missed: "all" },
            { aggregate: "Account", timeoutMs: 300_000 },
          );
          done++;
        }
      }
    };
    await Promise.all(Array.from({ length: callers }, caller));
  };
  const startedAt = performance.now();
  await set({ entities, from: Date.now() }, duePerEntity, remindersPerEntity);
  const tookMs = performance.now() - startedAt;
  const from = Date.now() + Math.ceil(reserve * tookMs + restartMs + restartMsPerEntity * entities);
  await set({ entities, from }, 0, duePerEntity);
  clearInterval(progress);
  return { from, seconds: (performance.now() - startedAt) / 1_000 };
}

function tell(message: RemindersMessage): void {
  process.send!(message);
}
