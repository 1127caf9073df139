// Goal: requests about sagas arrive as they were written, and what is no saga is refused before it leaves. Any bytes at all:
// test/fuzz.
import { HeddleError, limits } from "@heddle/kernel";
import { describe, expect, it } from "vitest";
import { newAppendView, readAppendBody } from "./append-body.ts";
import { TextCache } from "./bytes.ts";
import { requestKind } from "./frames.ts";
import { decodeValue } from "./payload-codec.ts";
import { newExecuteView, readExecuteBody } from "./requests.ts";
import { sagaPage } from "./saga-pages.ts";
import { readProbe, readSagaList, readSagaRecord, readSagaResult, type WireSagaList } from "./saga-replies.ts";
import {
  encodeSagaSteps,
  readProbeBody,
  readSagaBody,
  readSagaEraseBody,
  readSagaListBody,
  readSagaOperateBody,
  readSagaShowBody,
  readSagaSteps,
  type SagaListFields,
  type SagaStepFields,
  sagaEntity,
  sagaOfStepId,
  sagaStepId,
  writeProbeBody,
  writeSagaBody,
  writeSagaEraseBody,
  writeSagaListBody,
  writeSagaOperateBody,
  writeSagaShowBody,
} from "./saga-requests.ts";

type Reserve = (bytes: number) => { bytes: Uint8Array; at: number };

function write<F>(writer: (fields: F, reserve: Reserve) => number, fields: F): [Uint8Array, number, number] {
  let bytes = new Uint8Array();
  const used = writer(fields, (wanted) => {
    bytes = new Uint8Array(3 + wanted).fill(0xee);
    return { bytes, at: 3 };
  });
  expect(used).toBeLessThanOrEqual(bytes.length - 3);
  return [bytes, 3, 3 + used];
}

const texts = new TextCache();
const debit: SagaStepFields = {
  entity: "account/alice",
  aggregate: "Account",
  forward: { type: "Debited", payload: { amount: 5 } },
  back: { type: "Credited", payload: { amount: 5 } },
};
const deposit: SagaStepFields = {
  entity: "account/bob",
  aggregate: "Account",
  forward: { command: "Deposit", input: { amount: 5 } },
  back: null,
  timeoutMs: 700,
};
const several: SagaStepFields = {
  entity: "limit/é",
  forward: [
    { type: "Noted", payload: 1 },
    { type: "Moved", payload: "x".repeat(600) },
  ],
  back: { command: "Forget", input: null },
  schemaVsn: 3,
};

const circle: Record<string, unknown> = {};
circle["me"] = circle;

describe("saga requests: steps", () => {
  it("are bodies of appends and commands as they are sent on, with the id of their place", () => {
    const bytes = encodeSagaSteps("t-1", [[debit, several], [deposit]]);
    const ranges = readSagaSteps(bytes, 0, bytes.length);
    expect(
      ranges.map(({ stage, timeoutMs, forwardKind, backKind }) => [stage, timeoutMs, forwardKind, backKind]),
    ).toEqual([
      [0, 0, requestKind.append, requestKind.append],
      [0, 0, requestKind.append, requestKind.execute],
      [1, 700, requestKind.execute, 0],
    ]);
    const append = newAppendView();
    readAppendBody(bytes, ranges[0]!.backFrom, ranges[0]!.backTo, texts, append);
    expect([append.entity, append.aggregate, append.id, append.types[0]]).toEqual([
      "account/alice",
      "Account",
      "saga:t-1:0:c",
      "Credited",
    ]);
    expect(decodeValue(bytes.subarray(append.payloadsFrom, ranges[0]!.backTo))).toEqual([{ amount: 5 }]);
    readAppendBody(bytes, ranges[1]!.forwardFrom, ranges[1]!.forwardTo, texts, append);
    expect([append.entity, append.eventCount, bytes[append.versionOffsets[1]!]]).toEqual(["limit/é", 2, 3]);
    const execute = newExecuteView();
    readExecuteBody(bytes, ranges[2]!.forwardFrom, ranges[2]!.forwardTo, texts, execute);
    expect([execute.entity, execute.command, execute.id]).toEqual(["account/bob", "Deposit", "saga:t-1:2:f"]);
  });

  it("do not disturb those of a saga that is put together while they are", () => {
    const alone = encodeSagaSteps("t-1", [[debit], [deposit]]);
    let inner: Uint8Array = new Uint8Array();
    const payload = {
      get amount() {
        inner = encodeSagaSteps("t-1", [[debit], [deposit]]);
        return 5;
      },
    };
    const outer = encodeSagaSteps("t-1", [[{ ...debit, forward: { type: "Debited", payload } }], [deposit]]);
    expect([inner, outer]).toEqual([alone, alone]);
  });

  it("leave nothing to those that come after them: not refused ones, nor ones that took more room than most", () => {
    const alone = encodeSagaSteps("t-1", [[debit], [deposit]]);
    const long = { ...debit, forward: { type: "Debited", payload: "x".repeat(100_000) } };
    expect(encodeSagaSteps("t-1", [[long], [deposit]]).length).toBeGreaterThan(100_000);
    expect(encodeSagaSteps("t-1", [[debit], [deposit]])).toEqual(alone);
    expect(() => encodeSagaSteps("t-1", [[long], [debit]])).toThrow("two steps on");
    expect(encodeSagaSteps("t-1", [[debit], [deposit]])).toEqual(alone);
  });

  it.each<[string, readonly (readonly SagaStepFields[])[], string]>([
    ["no steps", [], "steps"],
    ["an empty stage", [[debit], []], "stages.1"],
    [
      "more steps than there may be",
      [Array.from({ length: limits.sagaStepsMax + 1 }, (_, i) => ({ ...debit, entity: `a/${i}` }))],
      "steps",
    ],
    ["two steps on one entity", [[debit], [{ ...several, entity: "account/alice" }]], "steps.1.entity"],
    ["two steps on one entity, side by side", [[several, debit, { ...debit, forward: debit.back! }]], "steps.2.entity"],
    ["a step on a saga", [[{ ...debit, entity: "$saga/t-1" }]], "steps.0.entity"],
    ["a step on reminders", [[{ ...debit, entity: "$reminders/a/b" }]], "steps.0.entity"],
    ["a missing compensation", [[{ ...debit, back: undefined as never }]], "steps.0.back"],
    ["a compensation that is none", [[{ ...debit, back: {} as never }]], "steps.0.back"],
    ["nothing to do", [[{ ...debit, forward: [] }]], "steps.0.forward"],
    ["something else to do", [[{ ...debit, forward: "Debited" as never }]], "steps.0.forward"],
    ["none to undo a step before the last", [[deposit], [debit]], "steps.0.back"],
    ["none to undo a step beside another", [[debit, deposit]], "steps.1.back"],
    ["a time-out that is none", [[{ ...debit, timeoutMs: 0 }]], "steps.0.timeoutMs"],
    ["a schema version that is none", [[{ ...debit, schemaVsn: 0 }]], "steps.0.schemaVsn"],
    ["no step", [[null as never]], "steps.0"],
    ["what no step has", [[debit], [{ ...several, retries: 3 } as never]], "steps.1.retries"],
    ["an expected sequence", [[{ ...debit, expectedSeq: 4 } as never]], "steps.0.expectedSeq"],
    ["a schema version of commands", [[{ ...deposit, schemaVsn: 2 }]], "steps.0.schemaVsn"],
    ["a name that is too long", [[debit], [{ ...several, aggregate: "x".repeat(129) }]], "steps.1.aggregate"],
    [
      "a payload that refers to itself",
      [[debit], [{ ...several, back: { type: "T", payload: circle } }]],
      "steps.1.back.payload.me",
    ],
  ])("P7 %s is refused, naming the place", (_, stages, path) => {
    const refused = (() => {
      try {
        encodeSagaSteps("t-1", stages);
      } catch (error) {
        return error as HeddleError<"INVALID_REQUEST">;
      }
      return undefined;
    })();
    expect(refused).toMatchObject({ code: "INVALID_REQUEST", facts: { path } });
  });

  it("P7 entities and sizes have their bounds", () => {
    expect(() => encodeSagaSteps("t", [[{ ...debit, entity: "alice" }]])).toThrow("not an entity id");
    const large = { ...debit, forward: { type: "T", payload: "x".repeat(limits.sagaBytesMax) } };
    expect(() => encodeSagaSteps("t", [[large]])).toThrow(
      expect.objectContaining({ code: "FRAME_TOO_LARGE", facts: expect.objectContaining({ saga: "t" }) }),
    );
  });

  it("with a stage left out, a step of no kind or anything behind the last are no steps", () => {
    const whole = encodeSagaSteps("t", [[debit], [deposit]]);
    for (const [at, byte] of [
      [0, 0],
      [0, 3],
      [1, 1],
      [2, 4],
      [3, 9],
    ]) {
      const broken = whole.slice();
      broken[at!] = byte!;
      expect(() => readSagaSteps(broken, 0, broken.length), `${at}`).toThrow(HeddleError);
    }
    const longer = new Uint8Array(whole.length + 1);
    longer.set(whole);
    expect(() => readSagaSteps(longer, 0, longer.length)).toThrow("bytes follow");
    for (let to = 0; to < whole.length; to++) expect(() => readSagaSteps(whole, 0, to)).toThrow(HeddleError);
  });
});

describe("saga requests: bodies", () => {
  it("a saga arrives with its steps, or with a name and an input", () => {
    const steps = encodeSagaSteps("t-1", [[debit]]);
    const [bytes, from, to] = write(writeSagaBody, {
      entity: sagaEntity("t-1"),
      timeoutMs: 5,
      stepTimeoutMs: 7,
      steps,
    });
    const view = readSagaBody(bytes, from, to, texts);
    expect(view).toMatchObject({ entity: "$saga/t-1", timeoutMs: 5, stepTimeoutMs: 7, name: "" });
    expect(bytes.subarray(view.contentFrom, to)).toEqual(steps);
    const named = write(writeSagaBody, { entity: "$saga/é", named: { name: "transfer", input: { amount: 5 } } });
    const other = readSagaBody(...named, texts);
    expect(other).toMatchObject({ entity: "$saga/é", timeoutMs: 0, name: "transfer" });
    expect(decodeValue(named[0].subarray(other.contentFrom, named[2]))).toEqual({ amount: 5 });
  });

  it("a saga is these very bytes, whether its steps were encoded before or are with the body", () => {
    const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
    const text = (value: string) => hex(Buffer.from(value));
    const five = `de0001a6${text("amount")}05`;
    const start = (entity: string, id: string) =>
      `${hex(Uint8Array.of(entity.length, 0))}${text(entity)}07${text("Account")}020c${text(id)}`;
    const golden =
      `0900${text("$saga/t-1")}000500000000000000` +
      `0200020200000000` +
      `40000000${start("account/alice", "saga:t-1:0:f")}0107${text("Debited")}00000100000091${five}` +
      `41000000${start("account/alice", "saga:t-1:0:c")}0108${text("Credited")}00000100000091${five}` +
      `010300bc020000` +
      `36000000${start("account/bob", "saga:t-1:1:f")}07${text("Deposit")}${five}`;
    const stages = [[debit], [deposit]];
    const fields = { entity: sagaEntity("t-1"), timeoutMs: 5 };
    for (const content of [{ stages }, { steps: encodeSagaSteps("t-1", stages) }]) {
      const [bytes, from, to] = write(writeSagaBody, { ...fields, ...content });
      expect(hex(bytes.subarray(from, to))).toBe(golden);
    }
  });

  it("show, list, operate, erase and probe arrive as they were written", () => {
    expect(readSagaShowBody(...write(writeSagaShowBody, { entity: "$saga/x" }), texts)).toEqual({ entity: "$saga/x" });
    const list: SagaListFields = { only: "stuck", limit: 7, after: { time: 2 ** 48 - 1, entity: "$saga/é" } };
    expect(readSagaListBody(...write(writeSagaListBody, list), texts)).toEqual(list);
    for (const as of [undefined, "COMMITTED", "COMPENSATED"] as const) {
      const operation = { entity: "$saga/x", as, reason: "paid by hand", by: "" };
      expect(readSagaOperateBody(...write(writeSagaOperateBody, operation), texts)).toEqual(operation);
    }
    const erase = { entity: "$saga/x", participant: "account/é", gone: true };
    expect(readSagaEraseBody(...write(writeSagaEraseBody, erase), texts)).toEqual(erase);
    const probe = { entity: "account/alice", id: sagaStepId("x", 3, "back") };
    expect(readProbeBody(...write(writeProbeBody, probe), texts)).toEqual(probe);
  });

  it("the id of a step tells its saga, and no other id tells one", () => {
    for (const saga of ["t-1", "a:b", "saga:x:1:f", "é{t}", "x".repeat(160)]) {
      for (const direction of ["forward", "back"] as const) {
        expect(sagaOfStepId(sagaStepId(saga, 12, direction))).toBe(`$saga/${saga}`);
      }
    }
    for (const id of [
      "",
      "saga:",
      "saga::1:f",
      "saga:x:f",
      "saga:x:1:g",
      "xsaga:x:1:f",
      `saga:${"x".repeat(161)}:1:f`,
    ]) {
      expect(sagaOfStepId(id), id).toBeUndefined();
    }
  });

  it.each([
    ["an empty id", () => sagaEntity("")],
    ["an id with a control character", () => sagaEntity("a\n")],
    ["an id beyond its bytes", () => sagaEntity("é".repeat(81))],
    ["an id that is no text", () => sagaEntity(5 as never)],
    [
      "a time-out of no time",
      () => write(writeSagaBody, { entity: "$saga/x", timeoutMs: 0, steps: new Uint8Array(1) }),
    ],
    [
      "a time-out of two days",
      () => write(writeSagaBody, { entity: "$saga/x", timeoutMs: 172_800_000, steps: new Uint8Array(1) }),
    ],
    [
      "an operation without a reason",
      () => write(writeSagaOperateBody, { entity: "$saga/x", as: undefined, reason: " ", by: "" }),
    ],
    [
      "an end that is none",
      () => write(writeSagaOperateBody, { entity: "$saga/x", as: "STUCK" as never, reason: "r", by: "" }),
    ],
    ["a limit of nothing", () => write(writeSagaListBody, { only: "all", limit: 0, after: { time: 0, entity: "" } })],
  ])("P7 %s is refused", (_, act) => {
    expect(act).toThrow(expect.objectContaining({ code: "INVALID_REQUEST" }));
  });

  it("only a saga is asked about, and only a saga is run", () => {
    expect(() => readSagaShowBody(...write(writeSagaShowBody, { entity: "account/alice" }), texts)).toThrow(
      "is no saga",
    );
    const body = write(writeSagaBody, { entity: "$reminders/a/b", steps: new Uint8Array(1) });
    expect(() => readSagaBody(...body, texts)).toThrow("is no saga");
  });
});

describe("saga requests: answers", () => {
  const receipt = [2, 2, 1, 0, 40, 7] as const;

  it("a result says of each step what became of it", () => {
    const wire = [
      1,
      true,
      [
        ["account/alice", [4, receipt, receipt, null]],
        ["account/bob", [2, null, null, ["X", "no", 5]]],
      ],
    ];
    expect(readSagaResult(wire, "t-1")).toEqual({
      resultType: "COMPENSATED",
      saga: "t-1",
      duplicate: true,
      steps: [
        {
          entity: "account/alice",
          state: "compensated",
          receipt: { ok: true, seq: 2, firstSeq: 2, count: 1, shard: 0, position: 40, time: 7, duplicate: false },
          compensation: expect.objectContaining({ seq: 2 }),
        },
        { entity: "account/bob", state: "refused", problem: { code: "X", message: "no", facts: 5 } },
      ],
    });
  });

  it.each([
    null,
    5,
    [],
    [3, false, []],
    [0, false, [["a"]]],
    [0, false, [["a", [9, null, null, null]]]],
    [0, false, [["a", [1, 5, null, null]]]],
    [0, false, [["a", [4, receipt, [2, 2], null]]]],
  ])("%j is no result", (value) => {
    expect(() => readSagaResult(value, "x")).toThrow(HeddleError);
  });

  it("a probe tells of a receipt or of nothing, and everything else is no answer", () => {
    expect(readProbe(null)).toBeUndefined();
    expect(readProbe(receipt)).toMatchObject({ seq: 2, position: 40, duplicate: true });
    for (const value of [undefined, [1], [1, 2, 3, 4, 5, "6"], {}]) expect(() => readProbe(value)).toThrow(HeddleError);
  });

  it("what is no list and no record is refused", () => {
    for (const value of [null, {}, { sagas: [{}] }, { sagas: [{ saga: "x", state: "ODD", place: 0 }] }]) {
      expect(() => readSagaList(value)).toThrow(HeddleError);
    }
    for (const value of [null, { saga: "x" }, { saga: "x", state: "STUCK", steps: 5, interventions: [] }]) {
      expect(() => readSagaRecord(value)).toThrow(HeddleError);
    }
  });
});

describe("saga pages", () => {
  const shards: readonly (readonly string[])[] = [["a", "d", "e"], ["b"], ["c", "f"]];
  const list = async (shard: number, { after, limit }: SagaListFields): Promise<WireSagaList> => {
    const rest = shards[shard]!.filter((saga) => `$saga/${saga}` > after.entity);
    const sagas = rest.slice(0, limit).map((saga) => ({ saga, state: "STUCK" as const, startedAt: 1, place: 0 }));
    return { sagas, more: sagas.length === limit };
  };

  it("go through all shards in one order, none twice and none left out", async () => {
    for (const limit of [1, 2, 3, 6, 7]) {
      const found: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await sagaPage(list, 3, { limit, cursor });
        found.push(...page.map(({ saga }) => saga));
        cursor = page.cursor;
      } while (cursor !== undefined);
      expect(found, `${limit}`).toEqual(["a", "b", "c", "d", "e", "f"]);
    }
  });

  it.each([{ limit: 0 }, { limit: 10_001 }, { cursor: "x" }, { cursor: 5 as never }, { only: "some" as never }])(
    "P7 %j is refused",
    async (query) => {
      await expect(sagaPage(list, 3, query)).rejects.toMatchObject({ code: "INVALID_REQUEST" });
    },
  );
});
