// Goal: an entity's reminders stand in the order in which they are due, and a record moves on only what it is about.
import { defineAggregate, defineContext, event } from "@heddle/domain";
import { compileContext } from "@heddle/domain/internal";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { type PendingReminder, readAll } from "./pending-reminders.ts";
import { type DeliveredItem, type RemindersState, remindersAggregate, remindersAlarm } from "./reminders-aggregate.ts";

const Bell = defineAggregate("Bell", {
  version: 1,
  initial: () => 0,
  events: { Rung: event(z.unknown(), (s) => s + 1) },
});
const context = compileContext(defineContext("bells", { aggregates: [Bell] }), undefined, [remindersAggregate]);
const compiled = context.aggregates.get(remindersAggregate.name)!;
const content = Uint8Array.of(3, 0, 0);

function fold(state: RemindersState, type: string, payload: unknown): RemindersState {
  return compiled.events.get(type)!.fold(state, payload) as RemindersState;
}

function set(state: RemindersState, name: string, due: number): RemindersState {
  return fold(state, "Set", { name, due, schedule: { at: due }, missed: "all", aggregate: "Bell", content });
}

function delivered(name: string, version: number, from: number, next: number): { items: DeliveredItem[] } {
  return { items: [{ name, version, from, due: from, outcome: "delivered", code: "", next }] };
}

function pendingOf(state: RemindersState): PendingReminder[] {
  return readAll(state.pending);
}

const empty = compiled.initial() as RemindersState;

describe("reminders: what is pending", () => {
  it("none at first, and no alarm", () => {
    expect(remindersAlarm(empty)).toBeUndefined();
  });

  it("R1: stands in the order of its times, whatever is set, set anew, delivered and cancelled", () => {
    const act = fc.record({
      what: fc.constantFrom("set", "deliver", "cancel"),
      name: fc.constantFrom("a", "b", "c", "d", "e"),
      time: fc.integer({ min: 0, max: 50 }),
    });
    fc.assert(
      fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
        let state = empty;
        const model = new Map<string, number>();
        for (const { what, name, time } of acts) {
          const pending = pendingOf(state).find((one) => one.name === name);
          if (what === "set") {
            state = set(state, name, time);
            model.set(name, time);
          } else if (what === "cancel" && pending !== undefined) {
            state = fold(state, "Cancelled", { name });
            model.delete(name);
          } else if (what === "deliver" && pending !== undefined) {
            const next = time % 2 === 0 ? -1 : pending.due + time;
            state = fold(state, "Delivered", delivered(name, pending.version, pending.due, next));
            if (next < 0) model.delete(name);
            else model.set(name, next);
          }
          const dues = pendingOf(state).map(({ due }) => due);
          expect(dues).toEqual([...dues].sort((a, b) => a - b));
          expect(new Map(pendingOf(state).map(({ name: one, due }) => [one, due]))).toEqual(model);
          expect(remindersAlarm(state)).toBe(model.size === 0 ? undefined : Math.min(...model.values()));
        }
      }),
    );
  });

  it("R2: a record that comes twice, late, or after the reminder was set anew changes nothing", () => {
    const first = set(empty, "a", 10);
    const record = delivered("a", 1, 10, 20);
    const once = fold(first, "Delivered", record);
    expect(pendingOf(once)).toMatchObject([{ name: "a", due: 20, last: { due: 10, outcome: "delivered" } }]);
    expect(fold(once, "Delivered", record)).toEqual(once);
    const anew = set(once, "a", 10);
    expect(pendingOf(anew)).toMatchObject([{ version: 2, due: 10, last: null }]);
    expect(fold(anew, "Delivered", record)).toEqual(anew);
    expect(fold(empty, "Delivered", record)).toEqual(empty);
  });

  it("keeps what said no to the last one", () => {
    const refused = fold(set(empty, "a", 10), "Delivered", {
      items: [{ name: "a", version: 1, from: 10, due: 10, outcome: "refused", code: "COMMAND_REJECTED", next: 20 }],
    });
    expect(pendingOf(refused)).toMatchObject([{ last: { due: 10, outcome: "refused", code: "COMMAND_REJECTED" } }]);
  });
});
