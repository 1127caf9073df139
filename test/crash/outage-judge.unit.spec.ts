// Goal: what the judge of an outage objects to. Method: deliveries that are right, then one thing at a time is made wrong. Real logs:
// outage.e2e.spec.ts.
import { describe, expect, it } from "vitest";
import { aheadAllowed, OutageFold, type RecordedItem } from "./outage-judge.ts";
import { accountOf, amountOf, downMinutes, minuteMs, type OutagePlan, remindersOf } from "./outage-plan.ts";

const plan: OutagePlan = { entities: 2, minutes: 12, from: Date.UTC(2027, 0, 1, 23) };
/** Just before those of the next minute are due. */
const back = plan.from + downMinutes * minuteMs - 1;
const perSecond = 1_000;

interface Delivery {
  readonly entity: string;
  readonly name: string;
  readonly due: number;
  readonly amount: number;
  readonly time: number;
}

interface Story {
  readonly deliveries: readonly Delivery[];
  readonly records: readonly (RecordedItem & { readonly entity: string; readonly time: number })[];
}

/** The node is back at ten minutes, releases everything at once, and the rest in time. */
function rightStory(): Story {
  const deliveries: Delivery[] = [];
  const records: Story["records"][number][] = [];
  for (let number = 0; number < plan.entities; number++) {
    const entity = accountOf(number);
    for (const [reminder, { name, missed, occurrences }] of remindersOf(plan, number).entries()) {
      const isLate = (due: number) => back - due > minuteMs;
      const latestDown = occurrences.findLast((due) => due <= back);
      for (const due of occurrences) {
        const time = Math.max(back, due);
        const comes = { all: true, latest: due >= latestDown!, skip: !isLate(due) };
        if (comes[missed]) deliveries.push({ entity, name, due, amount: amountOf(number, reminder), time });
        else if (missed === "skip") records.push({ entity, name, from: due, due, outcome: "missed", time });
      }
    }
  }
  return { deliveries, records };
}

function dueOf(name: string, occurrence: number): number {
  return remindersOf(plan, 1).find((one) => one.name === name)!.occurrences[occurrence]!;
}

function verdictOn({ deliveries, records }: Story) {
  const fold = new OutageFold(plan, perSecond);
  for (const { entity, name, due, amount, time } of deliveries) {
    fold.delivered(entity, `reminder:${name}:${due}`, amount, time);
  }
  for (const { entity, time, ...item } of records) fold.recorded(entity, item, time);
  return fold.verdict();
}

/** Where one delivery to account/1 is replaced by what a change makes of it. */
function objectionsWhere(
  name: string,
  occurrence: number,
  change: (delivery: Delivery) => readonly Delivery[],
): readonly string[] {
  const { deliveries, records } = rightStory();
  const due = dueOf(name, occurrence);
  const place = deliveries.findIndex((one) => one.entity === "account/1" && one.name === name && one.due === due);
  expect(place, `${name} ${occurrence}`).toBeGreaterThanOrEqual(0);
  return verdictOn({ deliveries: deliveries.toSpliced(place, 1, ...change(deliveries[place]!)), records }).objections;
}

describe("outage: the judge", () => {
  it("has nothing to say when each policy was kept to", () => {
    const { delivered, passedOver, objections, lagMsMax } = verdictOn(rightStory());
    expect(objections).toEqual([]);
    // Of the skipping ones the last before the node was back, and two after.
    expect(delivered).toEqual({ all: 2 * 13, latest: 2 * 4, skip: 2 * 3 });
    expect(passedOver).toBe(2 * 9 + 2 * 10);
    expect(lagMsMax).toBe(downMinutes * minuteMs - 1);
  });

  it("objects to one of `all` that never came, once and again and again", () => {
    expect(objectionsWhere("minutely-all", 4, () => [])).toEqual([
      expect.stringMatching(/minutely-all of \d+ never came/),
    ]);
    expect(objectionsWhere("once-all", 0, () => [])).toEqual([expect.stringMatching(/once-all of \d+ never came/)]);
  });

  it("objects to a latest one that never came, and to one that is not the latest", () => {
    expect(objectionsWhere("once-latest", 0, () => [])).toEqual([expect.stringContaining("was the latest")]);
    expect(objectionsWhere("minutely-latest", 11, () => [])).toEqual([expect.stringContaining("was the latest")]);
    const before = objectionsWhere("minutely-latest", 9, (last) => [{ ...last, due: last.due - 3 * minuteMs }]);
    expect(before).toContainEqual(expect.stringContaining("came where a later one was due"));
  });

  it("objects to a latest one that was passed over and had not been missed", () => {
    const { deliveries, records } = rightStory();
    const [gone, next] = [dueOf("minutely-latest", 10), dueOf("minutely-latest", 11)];
    const isOf = (one: Delivery, due: number) =>
      one.entity === "account/1" && one.name === "minutely-latest" && one.due === due;
    const without = deliveries.filter((one) => !isOf(one, gone));
    // A minute late when the next one came: it had been missed.
    expect(verdictOn({ deliveries: without, records }).objections).toEqual([]);
    const hasty = without.map((one) => (isOf(one, next) ? { ...one, time: next - 1 } : one));
    expect(verdictOn({ deliveries: hasty, records }).objections[1]).toContain("was not missed, and never came");
  });

  it("objects to a skipped one that came late, to one that was passed over in time, and to one that is lost", () => {
    const late = objectionsWhere("minutely-skip", 9, (one) => [{ ...one, time: one.due + minuteMs + 5_000 }]);
    expect(late).toEqual([expect.stringContaining("came, though it was missed")]);
    expect(objectionsWhere("minutely-skip", 9, () => [])).toEqual([expect.stringContaining("is lost")]);
    const { deliveries, records } = rightStory();
    const hasty = records.map((one, place) => (place === 0 ? { ...one, time: one.due + minuteMs } : one));
    expect(verdictOn({ deliveries, records: hasty }).objections).toEqual([
      expect.stringContaining("was missed after 60000 ms"),
    ]);
  });

  it("objects to one that came early, twice, with something else, or was not due", () => {
    const altered = (change: Partial<Delivery>) =>
      objectionsWhere("minutely-all", 11, (one) => [{ ...one, ...change }]);
    const due = dueOf("minutely-all", 11);
    expect(altered({ time: due - 1 })).toEqual([expect.stringContaining("came 1 ms early")]);
    expect(altered({ amount: 5 })).toEqual([expect.stringContaining("brought 5")]);
    expect(altered({ due: due + 1 })[0]).toContain("is no reminder that was due");
    expect(altered({ entity: "account/2" })[0]).toContain("is no reminder that was due");
    expect(objectionsWhere("minutely-all", 11, (one) => [one, one])).toEqual([expect.stringContaining("came twice")]);
  });

  it("objects to one that was refused", () => {
    const { deliveries, records } = rightStory();
    const refused = { ...records[0]!, outcome: "refused" };
    expect(verdictOn({ deliveries, records: [...records, refused] }).objections).toEqual([
      expect.stringContaining("was refused"),
    ]);
  });

  it("tells how far deliveries were ahead of their bound, over any stretch of time", () => {
    const fold = (times: readonly number[]) => {
      const one = new OutageFold({ ...plan, entities: times.length }, perSecond);
      for (const [number, time] of times.entries()) {
        const due = remindersOf({ ...plan, entities: times.length }, number)[0]!.occurrences[0]!;
        one.delivered(accountOf(number), `reminder:once-all:${due}`, amountOf(number, 0), time);
      }
      return one.verdict();
    };
    expect(fold(Array.from({ length: 3_000 }, (_, ms) => back + ms))).toMatchObject({
      aheadMax: 1,
      perSecondMax: 1_000,
    });
    expect(fold(Array.from({ length: 3_000 }, (_, ms) => back + ms / 2)).aheadMax).toBe(1_501);
    // Both halves of one second: no second of the clock has too many, but half a second has.
    expect(fold(Array.from({ length: 2_000 }, (_, i) => back + (i < 1_000 ? 999 : 1_000))).aheadMax).toBe(1_999);
    expect(aheadAllowed({ perSecond, threads: 2 })).toBeLessThan(600);
  });
});
