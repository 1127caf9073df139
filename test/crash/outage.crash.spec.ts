// A million reminders over ten minutes without a node: `npm run test:crash -- outage`. HEDDLE_REMINDERS says how many.
//
// As outage.e2e.spec.ts, with those of each minute going on for two minutes after the outage, while what was missed is still being
// released. A quarter of an hour on two cores that have other things to do.
import { expect, it } from "vitest";
import { chooseSeed, Dice } from "./dice.ts";
import { aheadAllowed } from "./outage-judge.ts";
import { remindersPerEntity } from "./outage-plan.ts";
import { outageRun } from "./outage-run.ts";

const seed = chooseSeed();
const reminders = Number(process.env["HEDDLE_REMINDERS"] ?? 1_000_000);
const startedAt = performance.now();

// Not through the console: a line is to be read while the run goes on.
const say = (line: string) =>
  void process.stdout.write(`${((performance.now() - startedAt) / 1000).toFixed(0)} s  ${line}\n`);

it(`P4 P5: ${reminders} reminders come through ten minutes without a node and two kills as each was told`, async () => {
  say(`HEDDLE_SEED=${seed}`);
  const entities = Math.floor(reminders / remindersPerEntity);
  const options = { entities, minutes: 12, shards: 2, threads: 2, perSecond: 10_000, kills: 2 };
  const totals = await outageRun({ ...options, dice: new Dice(seed), progress: say });
  say(JSON.stringify(totals));
  const { verdict, pending } = totals;
  expect(verdict.objections).toEqual([]);
  expect(verdict.delivered.all).toBe(entities * 13);
  expect(pending).toBe(entities * 7);
  expect(verdict.aheadMax).toBeLessThanOrEqual(aheadAllowed(options));
});
