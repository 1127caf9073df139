// Goal: packed, in whatever blocks, reminders are what a plain sorted list of them would be; and no state that was made before
// ever changes.
import type { MissedPolicy, ReminderOutcome } from "@heddle/protocol/internal";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  countPending,
  firstDueOf,
  hasNamed,
  movedOn,
  type PendingReminder,
  type PendingReminders,
  readAll,
  readDue,
  withoutNamed,
  withReminder,
} from "./pending-reminders.ts";

const texts = fc.string({ unit: "grapheme", maxLength: 12 });
const times = fc.nat({ max: 2 ** 48 - 1 });
const schedules = fc.oneof(
  fc.record({ at: times }),
  fc.record({ cron: texts, timeZone: fc.constantFrom("UTC", "Europe/Berlin") }),
);
const outcomes = fc.constantFrom<ReminderOutcome[]>("delivered", "refused", "missed");
const lasts = fc.oneof(
  fc.constant(null),
  fc.record({ due: times, outcome: outcomes }),
  fc.record({ due: times, outcome: outcomes, code: fc.constant("COMMAND_REJECTED") }),
);
/** Some share a block with dozens of others, some have one to themselves. */
const contents = fc
  .oneof({ weight: 5, arbitrary: fc.nat({ max: 60 }) }, fc.nat({ max: 2_000 }), fc.constant(5_000))
  .map((length) => Uint8Array.from({ length }, (_, i) => i));

const reminder = (name: fc.Arbitrary<string>, due: fc.Arbitrary<number>): fc.Arbitrary<PendingReminder> =>
  fc.record({
    name,
    version: times,
    due,
    schedule: schedules,
    missed: fc.constantFrom<MissedPolicy[]>("all", "latest", "skip"),
    aggregate: texts,
    content: contents,
    last: lasts,
  });

/** Views compare as what they show. */
function plain(reminders: readonly PendingReminder[]): PendingReminder[] {
  return reminders.map((one) => ({ ...one, content: Uint8Array.from(one.content) }));
}

describe("pending reminders", () => {
  it("R1: under any changes they are what a sorted list is, and states made before stay as they were", () => {
    const names = fc.constantFrom(..."abcdefghijklmnopqrstuvwxyz");
    const acts = fc.array(
      fc.record({
        what: fc.constantFrom("set", "set", "set", "cancel", "move", "end"),
        one: reminder(names, fc.nat({ max: 40 })),
      }),
      { minLength: 20, maxLength: 120 },
    );
    fc.assert(
      fc.property(acts, fc.nat({ max: 45 }), fc.integer({ min: 1, max: 9 }), (all, upTo, limit) => {
        let pending: PendingReminders = [];
        let model: PendingReminder[] = [];
        const before: { readonly pending: PendingReminders; readonly model: readonly PendingReminder[] }[] = [];
        const put = (one: PendingReminder) => {
          const at = model.findLastIndex(({ due }) => due <= one.due);
          model = model.toSpliced(at + 1, 0, one);
        };
        for (const { what, one } of all) {
          before.push({ pending, model });
          const known = model.find(({ name }) => name === one.name);
          expect(hasNamed(pending, one.name)).toBe(known !== undefined);
          if (what === "set" || what === "cancel") {
            pending = withoutNamed(pending, one.name);
            model = model.filter(({ name }) => name !== one.name);
            if (what === "set") {
              pending = withReminder(pending, one);
              put(one);
            }
          } else if (known !== undefined) {
            const next = what === "end" ? undefined : one.due;
            const last = { due: known.due, outcome: "delivered" as const };
            pending = movedOn(pending, known, next, last)!;
            model = model.filter((other) => other !== known);
            if (next !== undefined) put({ ...known, due: next, last });
          }
          expect(firstDueOf(pending)).toBe(model[0]?.due);
          expect(countPending(pending)).toBe(model.length);
        }
        before.push({ pending, model });
        for (const one of before) expect(plain(readAll(one.pending))).toEqual(one.model);
        const due = model.filter((one) => one.due <= upTo).slice(0, limit);
        expect(plain(readDue(pending, upTo, limit))).toEqual(due);
      }),
      { numRuns: 60 },
    );
  });

  it("R2: only the one of that name and version that waits for that time is moved on", () => {
    const [one] = fc.sample(reminder(fc.constant("a"), fc.constant(10)), { numRuns: 1, seed: 4 });
    const pending = withReminder([], { ...one!, version: 3 });
    const last = { due: 10, outcome: "missed" as const };
    for (const other of [{ name: "b" }, { version: 2 }, { due: 11 }]) {
      expect(movedOn(pending, { name: "a", version: 3, due: 10, ...other }, 20, last)).toBeUndefined();
    }
    expect(movedOn(pending, { name: "a", version: 3, due: 10 }, undefined, last)).toEqual([]);
  });

  it("those that stay keep alive at most as much again as they take, however many left before them", () => {
    const [one] = fc.sample(reminder(fc.constant("a"), fc.constant(10)), { numRuns: 1, seed: 4 });
    let pending: PendingReminders = [];
    for (let due = 0; due < 200; due++) {
      pending = withReminder(pending, { ...one!, name: `n${due}`, due, content: new Uint8Array(30) });
    }
    for (let due = 0; due < 200; due++) {
      for (const block of pending) expect(block.buffer.byteLength).toBeLessThanOrEqual(2 * block.length);
      const first = { name: `n${due}`, version: one!.version, due };
      pending = movedOn(pending, first, undefined, { due, outcome: "delivered" })!;
    }
    expect(pending).toEqual([]);
  });

  it("a thousand take hardly more than their bytes, in whatever order they are set, and a change copies few of them", () => {
    const [one] = fc.sample(reminder(fc.constant("a"), fc.constant(10)), { numRuns: 1, seed: 4 });
    const dues = Array.from({ length: 1_000 }, (_, i) => i);
    const shuffled = dues.map((due) => Math.imul(due + 1, 0x9e3779b1) >>> 0);
    for (const order of [dues, dues.toReversed(), shuffled]) {
      let pending: PendingReminders = [];
      for (const [i, due] of order.entries()) {
        pending = withReminder(pending, { ...one!, name: `n${i}`, due, content: new Uint8Array(30) });
      }
      const bytes = pending.reduce((sum, { length }) => sum + length, 0);
      expect(countPending(pending)).toBe(1_000);
      expect(pending.length).toBeLessThan(4 * (bytes / 4_096));
      for (const block of pending) expect(block.length).toBeLessThanOrEqual(4_096);
      const next = movedOn(
        pending,
        { name: `n${order.indexOf(Math.min(...order))}`, version: one!.version, due: firstDueOf(pending)! },
        undefined,
        { due: 0, outcome: "delivered" },
      )!;
      expect(next.filter((block) => !pending.includes(block)).length).toBeLessThanOrEqual(1);
    }
  });
});
