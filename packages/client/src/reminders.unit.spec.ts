// Goal: what is no reminder is refused before it leaves, typed and with its place, also where no compiler has looked at it (P7).
// What reminders become: protocol's specs; against a real node: test/e2e/reminders.e2e.spec.ts.
import { describe, expect, it } from "vitest";
import { answering, value } from "./scripted-node.spec-support.ts";

const circle: Record<string, unknown> = { amount: 1 };
circle["me"] = circle;
const credited = { type: "Credited", payload: { amount: 1 } };

describe("remind", () => {
  it.each<[string, unknown, unknown, string]>([
    ["nothing", "due", undefined, "reminder"],
    ["no object", "due", 5, "reminder"],
    ["nothing to bring", "due", { at: 5 }, "reminder"],
    ["no time", "due", { ...credited }, "at"],
    ["two times", "due", { ...credited, at: 5, cron: "0 8 * * *" }, "cron"],
    ["one moment in a time zone", "due", { ...credited, at: 5, timeZone: "UTC" }, "timeZone"],
    ["a payload that refers to itself", "due", { at: 5, type: "Credited", payload: circle }, "reminder.payload.me"],
    ["a name with a control character", "due\0", { ...credited, at: 5 }, "name"],
    ["no name", undefined, { ...credited, at: 5 }, "name"],
  ])("P7: %s is refused, naming the place", async (_, name, reminder, path) => {
    const { node, db } = await answering((request) => value(request.call, null));
    const alice = db.entity("account/alice");
    await expect(alice.remind(name as never, reminder as never)).rejects.toMatchObject({
      code: "INVALID_REQUEST",
      facts: { path },
    });
    expect(node.arrived).toEqual([]);
  });

  it("one whose name could not be given today can be cancelled", async () => {
    const { node, db, run } = await answering((request) => value(request.call, null));
    await run(db.entity("account/alice").cancelReminder("due\0"));
    expect(node.arrived).toHaveLength(1);
  });
});
