// Goal: whatever JSON arrives about sagas and reminders, what passes the door can be sent to a shard and read there, and what
// does not pass is refused with a typed error (P7). By property; single cases stand in saga-routes and reminder-routes.
import { HeddleError, limits } from "@heddle/kernel";
import {
  readRemindBody,
  readSagaBody,
  readSagaOperateBody,
  readSagaSteps,
  TextCache,
  writeRemindBody,
  writeReminderListBody,
  writeSagaBody,
  writeSagaOperateBody,
} from "@heddle/protocol/internal";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readRemind, readReminderName, readReminderQuery } from "./reminder-checks.ts";
import { readEntity } from "./request-checks.ts";
import { readResolve, readRetry, readSaga, readSagaQuery } from "./saga-checks.ts";

const alice = readEntity("account", "alice");
const texts = new TextCache();
const refusals: readonly string[] = ["INVALID_REQUEST", "INVALID_ENTITY_ID", "FRAME_TOO_LARGE"];

function outcomeOf<T>(check: () => T): T | undefined {
  try {
    return check();
  } catch (error) {
    expect(error).toBeInstanceOf(HeddleError);
    expect(refusals).toContain((error as HeddleError).code);
    return undefined;
  }
}

/** Writes a body, and gives it to its reader. */
function sent<R>(
  write: (reserve: (bytes: number) => { bytes: Uint8Array; at: number }) => number,
  read: (bytes: Uint8Array, from: number, to: number, cache: TextCache) => R,
): R {
  let bytes = new Uint8Array();
  const used = write((wanted) => {
    bytes = new Uint8Array(wanted);
    return { bytes, at: 0 };
  });
  return read(bytes, 0, used, texts);
}

const anyJson = fc.jsonValue({ stringUnit: "binary", maxDepth: 3 });
const mostly = <A>(right: fc.Arbitrary<A>) => fc.oneof({ weight: 30, arbitrary: right }, anyJson);
const name = mostly(fc.constantFrom("Credited", "größe", "", "x".repeat(limits.nameBytesMax + 1)));
const event = fc.record({ type: name, payload: anyJson });
const content = mostly(
  fc.oneof(
    event,
    fc.record({ events: fc.array(event, { maxLength: 3 }) }),
    fc.record({ command: name, input: anyJson }),
  ),
);
const ms = mostly(fc.constantFrom(1, 500, 86_400_000, 0, 86_400_001, 0.5));
const entity = mostly(fc.constantFrom("account/a", "account/b", "account/c", "$saga/x", "$reminders/a/b", "a"));
const step = fc.record(
  {
    entity,
    forward: content,
    back: fc.oneof({ weight: 5, arbitrary: content }, fc.constant(null)),
    aggregate: name,
    timeoutMs: ms,
    schemaVsn: mostly(fc.nat({ max: 70_000 })),
  },
  { requiredKeys: ["entity", "forward", "back"] },
);
const stage = mostly(fc.oneof(step, fc.array(mostly(step), { maxLength: 3 })));
const steps = mostly(fc.array(stage, { maxLength: 3 }));
const options = { timeoutMs: ms, stepTimeoutMs: ms };
const saga = mostly(
  fc.oneof(
    fc.record({ steps, ...options }, { requiredKeys: ["steps"] }),
    fc.record({ name, input: anyJson, ...options }, { requiredKeys: ["name"] }),
  ),
);
const id = fc.oneof(fc.constantFrom("t-1", "a/b", "größe"), fc.string({ unit: "binary", maxLength: 170 }));

describe("P7: any JSON about sagas and reminders", () => {
  it("makes a saga that a shard can take apart, step by step, or is refused", () => {
    let taken = 0;
    fc.assert(
      fc.property(saga, id, (body, sagaId) => {
        const fields = outcomeOf(() => readSaga(body, sagaId));
        if (fields === undefined) return;
        taken++;
        const view = sent((reserve) => writeSagaBody(fields, reserve), readSagaBody);
        expect([view.entity, view.name]).toEqual([`$saga/${sagaId}`, fields.named?.name ?? ""]);
        const bytes = fields.steps;
        if (bytes !== undefined) expect(readSagaSteps(bytes, 0, bytes.length).length).toBeGreaterThan(0);
      }),
      { numRuns: 3_000 },
    );
    expect(taken).toBeGreaterThan(100);
  });

  it("makes an operator's decision with a reason, or is refused", () => {
    const reason = mostly(fc.constantFrom("open again", "größe", "", " ", "x".repeat(4_097)));
    const as = mostly(fc.constantFrom("COMMITTED", "COMPENSATED", "STUCK"));
    const body = mostly(fc.record({ reason, by: reason, as }, { requiredKeys: ["reason"] }));
    fc.assert(
      fc.property(body, id, fc.boolean(), (given, sagaId, isRetry) => {
        const fields = outcomeOf(() => (isRetry ? readRetry(given, sagaId) : readResolve(given, sagaId)));
        if (fields === undefined) return;
        const read = outcomeOf(() => sent((reserve) => writeSagaOperateBody(fields, reserve), readSagaOperateBody));
        if (read !== undefined) expect(read).toEqual(fields);
      }),
      { numRuns: 2_000 },
    );
  });

  it("makes a reminder that a shard can take apart, or is refused", () => {
    const at = mostly(fc.oneof(fc.nat(), fc.constantFrom("2026-12-01", "soon", -1)));
    const schedule = fc.oneof(
      fc.record({ at }),
      fc.record({ cron: name, timeZone: name }, { requiredKeys: ["cron"] }),
      fc.record({ at, cron: name }),
    );
    const more = fc.record(
      { missed: mostly(fc.constantFrom("all", "latest", "skip")), aggregate: name },
      { requiredKeys: [] },
    );
    const body = fc
      .tuple(schedule, content, more)
      .map(([when, what, rest]) => ({ ...when, ...(what as object), ...rest }));
    let taken = 0;
    fc.assert(
      fc.property(mostly(body), id, (given, reminder) => {
        const fields = outcomeOf(() => readRemind(given, alice, readReminderName(reminder)));
        if (fields === undefined) return;
        taken++;
        const read = sent((reserve) => writeRemindBody(fields, reserve), readRemindBody);
        // JSON has a zero with a sign, times do not.
        const at = "at" in fields.schedule ? { at: fields.schedule.at + 0 } : {};
        expect(read).toEqual({ ...fields, schedule: { ...fields.schedule, ...at }, id: undefined });
      }),
      { numRuns: 3_000 },
    );
    expect(taken).toBeGreaterThan(100);
  });

  it("makes a list of one or the other, or is refused", () => {
    const value = fc.oneof(
      fc.string(),
      fc.constantFrom("stuck", "unfinished", "1", "10000", "0:a", "2026-12-01"),
      fc.array(fc.string()),
    );
    const key = fc.oneof(fc.constantFrom("only", "limit", "cursor", "before"), fc.string());
    fc.assert(
      fc.property(fc.dictionary(key, value), (query) => {
        const sagas = outcomeOf(() => readSagaQuery(query));
        if (sagas !== undefined) expect(["all", "unfinished", "stuck"]).toContain(sagas.only);
        const { before = 0, limit } = outcomeOf(() => readReminderQuery(query)) ?? { limit: 1 };
        const fields = { before, limit: limit!, afterDue: 0, afterEntity: "" };
        expect(
          sent(
            (reserve) => writeReminderListBody(fields, reserve),
            (_, from, to) => to - from,
          ),
        ).toBeGreaterThan(0);
      }),
      { numRuns: 1_000 },
    );
  });
});
