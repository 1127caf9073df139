// Goal: every event of a saga is packed to bytes that decode to the payload that its state was folded from; otherwise a saga would
// be another one after a restart. The bytes are those of the codec of values.
import { compileContext } from "@heddle/domain/internal";
import { decodeValue, encodeValue, type WireOutcome } from "@heddle/protocol/internal";
import type { OwnEvent } from "@heddle/shard/internal";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bank } from "./bank.spec-support.ts";
import { sagaAggregate } from "./saga-aggregate.ts";
import { sagaEventsOf } from "./saga-events.ts";

const events = sagaEventsOf(compileContext(bank, undefined, [sagaAggregate]));

const time = fc.integer({ min: 1_600_000_000_000, max: 2 ** 48 - 1 });
const text = fc.string({ unit: "binary", maxLength: 400 }).filter((made) => made.isWellFormed());
const receipt = fc.tuple(fc.nat(), fc.nat(), fc.nat(), fc.nat(8), time, time);
const problem = fc.tuple(
  text,
  text,
  fc.oneof(fc.constant(null), fc.dictionary(fc.string(), fc.double({ noNaN: true }))),
);
const outcome = fc.tuple(fc.nat(5), fc.option(receipt), fc.option(receipt), fc.option(problem, { freq: 1 }));
const outcomes = fc.array(outcome, { maxLength: 20 }) as fc.Arbitrary<WireOutcome[]>;
const why = fc.option(problem);
const bytes = fc.oneof(fc.uint8Array({ maxLength: 70 }), fc.uint8Array({ minLength: 250, maxLength: 260 }));
const many = fc.constantFrom(65_535, 65_536).map((length) => new Uint8Array(length).fill(7));
const said = { at: time, reason: text, by: text };

const payloads: { readonly [T in keyof typeof events]: fc.Arbitrary<unknown> } = {
  Started: fc.record({
    at: time,
    deadline: time,
    stepTimeoutMs: fc.nat(),
    name: text,
    fingerprint: fc.nat(2 ** 32 - 1),
    entities: fc.array(text, { maxLength: 40 }),
    steps: fc.oneof({ weight: 9, arbitrary: bytes }, { weight: 1, arbitrary: many }),
  }),
  StepsSettled: fc.record({ outcomes }),
  CompensationBegan: fc.record({ why, outcomes }),
  Committed: fc.record({ at: time, why, outcomes }),
  Compensated: fc.record({ at: time, why, outcomes }),
  Stuck: fc.record({ at: time, why, outcomes }),
  Retried: fc.record(said),
  Resolved: fc.record({ ...said, as: fc.constantFrom("COMMITTED", "COMPENSATED") }),
};

/** Long bytes are decoded as a Buffer. */
function plain(payload: unknown): unknown {
  const { steps } = payload as { readonly steps?: Uint8Array };
  return steps === undefined ? payload : { ...(payload as object), steps: Uint8Array.from(steps) };
}

describe("the events of a saga", () => {
  for (const [type, made] of Object.entries(payloads)) {
    it(`${type} is packed as the codec of values packs it, in the room that it was said to take`, () => {
      const { packer } = events[type as keyof typeof events] as OwnEvent<unknown>;
      fc.assert(
        fc.property(made, (given) => {
          const payload = packer.stored(given);
          const room = new Uint8Array(5 + packer.room(payload));
          const end = packer.pack(payload, room, 5);
          expect(end).toBeLessThanOrEqual(room.length);
          const packed = room.slice(5, end);
          expect(Buffer.from(packed).equals(Uint8Array.from(encodeValue(payload))), "the same bytes").toBe(true);
          expect(plain(decodeValue(packed))).toEqual(plain(payload));
          expect(plain(payload)).toEqual(plain(decodeValue(encodeValue(given))));
        }),
        { numRuns: 60 },
      );
    });
  }
});
