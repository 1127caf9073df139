// The judge of reminders on real segments: what should be there is written through the event log itself, then one thing at a
// time is made wrong. The whole scenario: bench.int.spec.ts.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { entryFlags } from "@heddle/event-log/internal";
import { afterEach, describe, expect, it } from "vitest";
import { type WrittenEntry, writeStore } from "../referee/written-store.spec-support.ts";
import { judgeReminders } from "./judge.ts";
import { accountOf, amountOf, dueOf, duePerEntity, nameOf, type ReminderPlan, spreadMs } from "./plan.ts";

const plan: ReminderPlan = { entities: 2, from: 1_800_000_000_000 };
const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
});

const opened = (entity: number): WrittenEntry => ({
  entity: accountOf(entity),
  firstSeq: 1,
  events: [{ type: "Credited", payload: { amount: 1 } }],
});

const delivery = (entity: number, reminder: number): WrittenEntry => ({
  entity: accountOf(entity),
  firstSeq: 2 + reminder,
  events: [{ type: "Credited", payload: { amount: amountOf(entity, reminder) } }],
  id: `reminder:${nameOf(reminder)}:${dueOf(plan, entity, reminder)}`,
  time: dueOf(plan, entity, reminder) + 3,
});

const all = [0, 1].flatMap((entity) => [
  opened(entity),
  ...Array.from({ length: duePerEntity }, (_, reminder) => delivery(entity, reminder)),
]);

async function verdictOn(entries: readonly WrittenEntry[]) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-reminders-"));
  folders.push(folder);
  return judgeReminders(await writeStore(folder, entries), plan);
}

const place = all.findIndex(({ entity, firstSeq }) => entity === accountOf(1) && firstSeq === 4);
const altered = (change: Partial<WrittenEntry>) => all.with(place, { ...all[place]!, ...change });

describe("reminders: the judge", () => {
  it("has nothing to say when each that was due came once, in time", async () => {
    const note = { ...opened(0), entity: "$transaction", flags: entryFlags.journal };
    const own = { ...opened(0), entity: "$reminders/account/0", aggregate: "$reminders" };
    expect(await verdictOn([note, own, ...all])).toMatchObject({
      delivered: 10,
      lost: 0,
      early: 0,
      lag: { count: 10, maxMs: 3 },
      lastAt: Math.max(...all.map(({ time = 0 }) => time)),
      objectionTotal: 0,
    });
  });

  it("objects to one that never came", async () => {
    const { lost, objections } = await verdictOn(all.slice(0, -1));
    expect({ lost, objections }).toEqual({ lost: 1, objections: ["account/1: the reminder r4 never came"] });
  });

  it("objects to one that came early", async () => {
    const due = dueOf(plan, 1, 2);
    const { early, objections } = await verdictOn(altered({ time: due - 1 }));
    expect({ early, objections }).toEqual({ early: 1, objections: [`account/1: reminder:r2:${due} came 1 ms early`] });
  });

  it("objects to one that came twice, though under a sequence of its own", async () => {
    const { objections } = await verdictOn([...all, { ...delivery(1, 0), firstSeq: 7 }]);
    expect(objections).toEqual([`account/1: reminder:r0:${dueOf(plan, 1, 0)} came twice`]);
  });

  it("objects to one that was not due, to one that brought something else, and to a gap", async () => {
    const notDue = await verdictOn(altered({ id: `reminder:r2:${dueOf(plan, 1, 2) + 1}` }));
    expect(notDue.objections[0]).toMatch(/is no reminder that was due$/);
    const other = await verdictOn(altered({ events: [{ type: "Credited", payload: { amount: 5 } }] }));
    expect(other.objections).toEqual([expect.stringMatching(/^account\/1: reminder:r2:\d+ brought \{"amount":5\}$/)]);
    expect((await verdictOn(all.toSpliced(place, 1))).objections[0]).toBe("account/1: sequence 5 follows 3");
  });
});

describe("reminders: the plan", () => {
  it("spreads what is due evenly, an entity's own too, and leaves the rest for next year", () => {
    const large: ReminderPlan = { entities: 100_000, from: plan.from };
    const within = spreadMs(large);
    const perSecond = new Map<number, number>();
    let outside = 0;
    for (let entity = 0; entity < large.entities; entity++) {
      for (let reminder = 0; reminder < duePerEntity; reminder++) {
        const late = dueOf(large, entity, reminder) - large.from;
        if (late < 0 || late >= within) outside++;
        perSecond.set(Math.floor(late / 1_000), (perSecond.get(Math.floor(late / 1_000)) ?? 0) + 1);
      }
    }
    expect(outside).toBe(0);
    const seconds = [...perSecond].filter(([second]) => second < Math.floor(within / 1_000)).map(([, count]) => count);
    expect(Math.min(...seconds) / Math.max(...seconds)).toBeGreaterThan(0.9);
    expect(new Set(Array.from({ length: duePerEntity }, (_, place) => dueOf(large, 7, place))).size).toBe(duePerEntity);
    expect(dueOf(large, 7, duePerEntity) - large.from).toBeGreaterThan(300 * 86_400_000);
  });
});
