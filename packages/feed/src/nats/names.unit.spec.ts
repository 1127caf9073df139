import { headers } from "@nats-io/transport-node";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { namesOf, readLogMessage } from "./names.ts";

const names = namesOf("bank");

describe("names in NATS", () => {
  it.each([
    ["account/alice", "Credited", "heddle.bank.events.account.alice.Credited"],
    ["account/eu/alice", "Credited", "heddle.bank.events.account.eu.alice.Credited"],
    ["flight/LH.400 *>", "Took off", "heddle.bank.events.flight.LH%2E400%20%2A%3E.Took%20off"],
    ["konto/müller", "Eröffnet", "heddle.bank.events.konto.m%C3%BCller.Er%C3%B6ffnet"],
    ["account/100%", "Paid%2E", "heddle.bank.events.account.100%25.Paid%252E"],
    ["account//x", "A", "heddle.bank.events.account.%.x.A"],
  ])("an event of %s, %s, has the subject %s", (entity, type, subject) => {
    expect(names.eventSubject(entity, type)).toBe(subject);
  });

  it("no two entities or types have the same subject, and each token is one that NATS takes", () => {
    const text = fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(text, text, text, text, (a, typeA, b, typeB) => {
        const [one, other] = [names.eventSubject(`k/${a}`, typeA), names.eventSubject(`k/${b}`, typeB)];
        expect(one).toMatch(/^heddle\.bank\.events\.k(\.[^.*>\s]+)+$/);
        const wellFormed = [a, typeA, b, typeB].every((part) => part.isWellFormed());
        if (wellFormed && !`${typeA}${typeB}`.includes("/") && (a !== b || typeA !== typeB))
          expect(one).not.toBe(other);
      }),
    );
  });

  const message = (fields: Record<string, string>) => {
    const header = headers();
    for (const [name, value] of Object.entries(fields)) header.set(name, value);
    return { seq: 7, header, data: new Uint8Array(3) };
  };
  const good = { "Heddle-From": "64", "Heddle-To": "128", "Heddle-Salt": "0a0b0c0d" };

  it("reads what a message says of itself", () => {
    const read = { seq: 7, from: 64, to: 128, salt: 0x0a0b0c0d, part: 1, parts: 1, data: new Uint8Array(3) };
    expect(readLogMessage(message(good))).toEqual(read);
    expect(readLogMessage(message({ ...good, "Heddle-Part": "2/5" }))).toEqual({ ...read, part: 2, parts: 5 });
  });

  it.each([
    {},
    { ...good, "Heddle-From": "-1" },
    { ...good, "Heddle-To": "64" },
    { ...good, "Heddle-To": "1e3" },
    { ...good, "Heddle-Salt": "0A0B0C0D" },
    { ...good, "Heddle-Part": "0/5" },
    { ...good, "Heddle-Part": "6/5" },
    { ...good, "Heddle-Part": "two" },
  ])("takes no message for one of a log that says %o", (fields) => {
    expect(readLogMessage(message(fields))).toBeUndefined();
  });
});
