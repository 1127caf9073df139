// P4 P5: reminders that were due while nobody was there: each policy is kept to, none is early, lost, or there twice, and they leave no
// faster than they may, though the node is killed while it makes up for what was missed. See outage-run.ts for what is done, and
// outage-judge.ts for what is asked. A million of them: outage.crash.spec.ts.
import { expect, it } from "vitest";
import { chooseSeed, Dice } from "./dice.ts";
import { aheadAllowed } from "./outage-judge.ts";
import { outageRun } from "./outage-run.ts";

const seed = chooseSeed();

it(`P4 P5: three thousand reminders come through ten minutes without a node and two kills as each was told (HEDDLE_SEED=${seed})`, async () => {
  const options = { entities: 300, minutes: 10, shards: 2, threads: 2, perSecond: 1_000, kills: 2 };
  const { verdict, pending, deliveredAtKills } = await outageRun({
    ...options,
    dice: new Dice(seed),
    progress: () => {},
  });
  expect(verdict.objections).toEqual([]);
  // Ten each minute and one once; the latest of each; of the others as many as came in time.
  expect(verdict.delivered.all).toBe(300 * 11);
  expect(verdict.delivered.latest).toBe(300 * 2);
  expect(verdict.delivered.skip + verdict.passedOver).toBe(300 * 11 + 300 * 9);
  expect(verdict.passedOver).toBeGreaterThan(300 * 9 + 300 * 8);
  expect(pending).toBe(300 * 7);
  expect(verdict.aheadMax).toBeLessThanOrEqual(aheadAllowed(options));
  // Or it has shown nothing.
  expect(deliveredAtKills[0]).toBeGreaterThan(0);
  expect(deliveredAtKills[1]).toBeGreaterThan(deliveredAtKills[0]!);
});
