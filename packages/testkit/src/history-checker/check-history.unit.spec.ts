// The history checker can fail: each anomaly is written down by hand, once as it must not be and once as it may be.
//
// Random histories, right ones and spoilt ones, are in check-history.property.unit.spec.ts.
import { describe, expect, it } from "vitest";
import { checkHistory, describeHistoryFaults } from "./check-history.ts";
import type {
  AtomicOperation,
  History,
  HistoryModel,
  HistoryOperation,
  HistoryRead,
  HistoryWrite,
  SagaOperation,
  SagaStepRun,
} from "./history.ts";
import type { HistoryRule } from "./history-fault.ts";

const [x, y, z] = ["account/x", "account/y", "account/z"];

/** Events as markers, "a b c"; their value is the marker's first letter. */
const events = (markers: string) =>
  markers
    .split(" ")
    .filter((marker) => marker !== "")
    .map((marker) => ({ marker, value: marker[0] }));

const write = (entity: string, markers: string, more: Partial<HistoryWrite> = {}): HistoryWrite => ({
  entity,
  events: events(markers),
  ...more,
});

const read = (entity: string, seq: number, more: Partial<HistoryRead> = {}): HistoryRead => ({ entity, seq, ...more });

type Interval = readonly [start: number, end: number];

const operation = (
  kind: AtomicOperation["kind"],
  [start, end]: Interval,
  more: Partial<AtomicOperation>,
): AtomicOperation => ({ kind, client: "c", start, end, outcome: "ok", reads: [], writes: [], ...more });

const append = (when: Interval, entity: string, markers: string, more: Partial<HistoryWrite> = {}): AtomicOperation =>
  operation("append", when, { writes: [write(entity, markers, more)] });

const get = (when: Interval, ...reads: HistoryRead[]): AtomicOperation => operation("get", when, { reads });

const transaction = (when: Interval, reads: HistoryRead[], writes: HistoryWrite[]): AtomicOperation =>
  operation("transaction", when, { reads, writes });

const unknown = (one: AtomicOperation): AtomicOperation => ({ ...one, outcome: "unknown", end: Infinity });

const saga = (when: Interval, outcome: SagaOperation["outcome"], steps: SagaStepRun[]): SagaOperation => ({
  kind: "saga",
  client: "c",
  saga: "s",
  start: when[0],
  end: when[1],
  outcome,
  steps,
});

const step = (entity: string, forward: string, back: string | null, more: Partial<SagaStepRun> = {}): SagaStepRun => ({
  entity,
  forward: events(forward),
  back: back === null ? null : events(back),
  ...more,
});

const history = (stored: Record<string, string>, operations: HistoryOperation[]): History => ({
  stored: Object.entries(stored).map(([entity, markers]) => ({ entity, events: events(markers) })),
  operations,
});

/** The letters of the events, in their order. */
const letters: HistoryModel<string> = { initial: () => "", apply: (text, { value }) => text + String(value) };

const rulesOf = (checked: History): HistoryRule[] => [
  ...new Set(checkHistory(checked, { model: letters }).map(({ rule }) => rule)),
];

const isGood = (checked: History) => {
  const faults = checkHistory(checked, { model: letters });
  expect(faults, describeHistoryFaults(faults)).toEqual([]);
};

describe("history: what the store holds", () => {
  it("nothing is wrong with no history at all, nor with a read of nothing", () => {
    isGood(history({}, []));
    isGood(history({}, [get([1, 2], read(x, 0))]));
  });

  it("an acknowledged write must be there; one of unknown outcome may be", () => {
    isGood(history({ [x]: "a b" }, [append([1, 2], x, "a", { firstSeq: 1 }), append([3, 4], x, "b")]));
    expect(rulesOf(history({ [x]: "a" }, [append([1, 2], x, "a"), append([3, 4], x, "b")]))).toEqual(["lost"]);
    isGood(history({ [x]: "a" }, [append([1, 2], x, "a"), unknown(append([3, 4], x, "b"))]));
    isGood(history({ [x]: "a b" }, [append([1, 2], x, "a"), unknown(append([3, 4], x, "b"))]));
  });

  it("a write is where its receipt says, behind the sequence that was expected", () => {
    const stored = { [x]: "a b" };
    const first = append([1, 2], x, "a");
    expect(rulesOf(history(stored, [first, append([3, 4], x, "b", { firstSeq: 3 })]))).toEqual(["misplaced"]);
    expect(rulesOf(history(stored, [first, append([3, 4], x, "b", { expectedSeq: 0 })]))).toEqual(["condition"]);
    isGood(history(stored, [first, append([3, 4], x, "b", { firstSeq: 2, expectedSeq: 1 })]));
  });

  it("an event is there once", () => {
    expect(rulesOf(history({ [x]: "a a" }, [append([1, 2], x, "a")]))).toEqual(["duplicate"]);
    expect(rulesOf(history({ [x]: "a", [y]: "a" }, [append([1, 2], x, "a")]))).toEqual(["duplicate"]);
  });

  it("nothing is there that nobody sent, that went elsewhere, or that was refused", () => {
    expect(rulesOf(history({ [x]: "a" }, []))).toEqual(["invented"]);
    expect(rulesOf(history({ [y]: "a" }, [append([1, 2], x, "a")]))).toContain("invented");
    for (const outcome of ["rejected", "failed"] as const) {
      const refused = operation("append", [1, 2], { outcome, writes: [write(x, "a")] });
      expect(rulesOf(history({ [x]: "a" }, [refused]))).toEqual(["invented"]);
      isGood(history({}, [refused]));
    }
  });

  it("an event is as it was sent", () => {
    const sent = operation("append", [1, 2], { writes: [{ entity: x, events: [{ marker: "a", value: "other" }] }] });
    expect(rulesOf(history({ [x]: "a" }, [sent]))).toEqual(["altered"]);
  });

  it("an append is there whole, side by side and in its order", () => {
    const sent = append([1, 2], x, "a b c");
    isGood(history({ [x]: "a b c" }, [sent]));
    expect(rulesOf(history({ [x]: "a b" }, [sent]))).toEqual(["torn"]);
    expect(rulesOf(history({ [x]: "b a c" }, [sent]))).toEqual(["torn"]);
    expect(rulesOf(history({ [x]: "a b d c" }, [sent, append([1, 2], x, "d")]))).toContain("torn");
    expect(rulesOf(history({ [x]: "a" }, [unknown(sent)]))).toEqual(["torn"]);
  });

  it("a transaction is there with all that it wrote, or not at all", () => {
    const both = transaction([1, 2], [], [write(x, "a"), write(y, "b")]);
    isGood(history({ [x]: "a", [y]: "b" }, [both]));
    isGood(history({ [x]: "a", [y]: "b" }, [unknown(both)]));
    isGood(history({}, [unknown(both)]));
    expect(rulesOf(history({ [x]: "a" }, [unknown(both)]))).toEqual(["torn"]);
    expect(rulesOf(history({ [x]: "a" }, [both]))).toEqual(["lost"]);
  });

  it("nothing stands between two writes of one transaction to one entity", () => {
    const twice = transaction([1, 9], [], [write(x, "a"), write(y, "b"), write(x, "c")]);
    isGood(history({ [x]: "a c", [y]: "b" }, [twice]));
    const other = append([1, 9], x, "d");
    expect(rulesOf(history({ [x]: "a d c", [y]: "b" }, [twice, other]))).toContain("torn");
  });
});

describe("history: what readers saw", () => {
  const two = [append([1, 2], x, "a"), append([3, 4], x, "b")];
  const stored = { [x]: "a b" };

  it("a state is what the events before it add up to", () => {
    isGood(history(stored, [...two, get([1, 9], read(x, 0, { state: "" }))]));
    isGood(history(stored, [...two, get([1, 9], read(x, 1, { state: "a" }))]));
    isGood(history(stored, [...two, get([5, 6], read(x, 2, { state: "ab", markers: ["a", "b"] }))]));
    expect(rulesOf(history(stored, [...two, get([1, 9], read(x, 1, { state: "b" }))]))).toEqual(["wrong read"]);
    expect(rulesOf(history(stored, [...two, get([1, 9], read(x, 2, { markers: ["a"] }))]))).toEqual(["wrong read"]);
    isGood(history(stored, [...two, get([1, 9], read(x, 2, { markers: ["b"] }))]));
  });

  it("nobody sees what did not happen in the end", () => {
    const failed = operation("append", [1, 4], { outcome: "failed", writes: [write(x, "c")] });
    expect(rulesOf(history({ [x]: "" }, [failed, get([2, 3], read(x, 1))]))).toEqual(["dirty read"]);
    const saw = get([1, 9], read(x, 2, { markers: ["a", "c"] }));
    expect(rulesOf(history(stored, [...two, saw]))).toEqual(["dirty read"]);
  });

  it("nobody sees a part of an append", () => {
    const batch = append([1, 9], x, "a b c");
    expect(rulesOf(history({ [x]: "a b c" }, [batch, get([1, 9], read(x, 2))]))).toContain("half seen");
    isGood(history({ [x]: "a b c" }, [batch, get([1, 9], read(x, 0)), get([1, 9], read(x, 3))]));
  });

  it("nobody sees a part of a transaction, in one read or in several", () => {
    const both = transaction([1, 9], [], [write(x, "a"), write(y, "b")]);
    const stored = { [x]: "a", [y]: "b" };
    expect(rulesOf(history(stored, [both, get([1, 9], read(x, 1), read(y, 0))]))).toEqual(["half seen"]);
    expect(rulesOf(history(stored, [unknown(both), get([2, 9], read(x, 1), read(y, 0))]))).toEqual(["half seen"]);
    // One after the other, without waiting in between, may see what came in between; but not the other way round.
    isGood(history(stored, [both, get([2, 3], read(x, 0)), get([4, 5], read(y, 1))]));
    expect(rulesOf(history(stored, [both, get([2, 3], read(x, 1)), get([4, 5], read(y, 0))]))).toEqual(["stale"]);
  });

  it("two entities are seen as they were at one moment, whoever wrote to them", () => {
    const [early, late] = [transaction([1, 9], [], [write(x, "a"), write(y, "b")]), append([1, 9], y, "c")];
    const saw = (seqX: number, seqY: number) => get([1, 9], read(x, seqX), read(y, seqY));
    isGood(history({ [x]: "a", [y]: "b c" }, [early, late, saw(1, 1), saw(1, 2), saw(0, 0)]));
    expect(rulesOf(history({ [x]: "a", [y]: "b c" }, [early, late, saw(0, 2)]))).toEqual(["half seen"]);
  });
});

describe("history: real time", () => {
  it("what was over before something began comes before it", () => {
    const [first, second] = [append([1, 2], x, "a"), append([3, 4], x, "b")];
    isGood(history({ [x]: "a b" }, [first, second]));
    expect(rulesOf(history({ [x]: "b a" }, [first, second]))).toEqual(["stale"]);
    isGood(history({ [x]: "b a" }, [append([1, 3], x, "a"), append([3, 4], x, "b")]));
  });

  it("a read is not older than what was known when it began, by a write or by another read", () => {
    const wrote = append([1, 9], x, "a");
    isGood(history({ [x]: "a" }, [wrote, get([2, 3], read(x, 0)), get([4, 5], read(x, 1))]));
    expect(rulesOf(history({ [x]: "a" }, [wrote, get([2, 3], read(x, 1)), get([4, 5], read(x, 0))]))).toEqual([
      "stale",
    ]);
    expect(rulesOf(history({ [x]: "a" }, [wrote, get([10, 11], read(x, 0))]))).toEqual(["stale"]);
    isGood(history({ [x]: "a" }, [wrote, get([10, 11], read(x, 0, { past: true }))]));
  });

  it("a refusal rests on what it saw as well", () => {
    const rejected = operation("execute", [3, 4], { outcome: "rejected", reads: [read(x, 0)] });
    expect(rulesOf(history({ [x]: "a" }, [append([1, 2], x, "a"), rejected]))).toEqual(["stale"]);
    const failed = operation("execute", [3, 4], { outcome: "failed", reads: [read(x, 0)] });
    isGood(history({ [x]: "a" }, [append([1, 2], x, "a"), failed]));
  });

  it("goes over several entities: a circle by way of the clock is found", () => {
    // x before y by what was read, y before z by the clock, z before x by what was not seen.
    const operations = [
      append([1, 20], x, "a"),
      transaction([2, 4], [read(x, 1)], [write(y, "b")]),
      append([6, 7], z, "c"),
      transaction([8, 19], [read(z, 1), read(x, 0)], []),
    ];
    expect(rulesOf(history({ [x]: "a", [y]: "b", [z]: "c" }, operations))).toEqual(["stale"]);
  });
});

describe("history: transactions", () => {
  it("lost update: nobody writes behind what he did not see", () => {
    const one = transaction([1, 9], [read(x, 0)], [write(x, "a")]);
    const other = transaction([1, 9], [read(x, 0)], [write(x, "b")]);
    expect(rulesOf(history({ [x]: "a b" }, [one, other]))).toEqual(["lost update"]);
    isGood(history({ [x]: "a b" }, [one, transaction([1, 9], [read(x, 1)], [write(x, "b")])]));
  });

  it("write skew: two who each read what the other writes do not both miss it", () => {
    const one = transaction([1, 9], [read(x, 0), read(y, 0)], [write(x, "a")]);
    const other = (seqX: number) => transaction([1, 9], [read(x, seqX), read(y, 0)], [write(y, "b")]);
    expect(rulesOf(history({ [x]: "a", [y]: "b" }, [one, other(0)]))).toEqual(["write skew"]);
    isGood(history({ [x]: "a", [y]: "b" }, [one, other(1)]));
  });

  it("write skew of three is a circle of three", () => {
    const one = transaction([1, 9], [read(y, 0)], [write(x, "a")]);
    const two = transaction([1, 9], [read(z, 0)], [write(y, "b")]);
    const three = transaction([1, 9], [read(x, 0)], [write(z, "c")]);
    const faults = checkHistory(history({ [x]: "a", [y]: "b", [z]: "c" }, [one, two, three]));
    expect(faults.map(({ rule, operations }) => [rule, operations.length])).toEqual([["write skew", 3]]);
  });

  it("writers of two entities come in one order in both", () => {
    const one = transaction([1, 9], [], [write(x, "a"), write(y, "b")]);
    const other = transaction([1, 9], [], [write(x, "c"), write(y, "d")]);
    isGood(history({ [x]: "a c", [y]: "b d" }, [one, other]));
    expect(rulesOf(history({ [x]: "a c", [y]: "d b" }, [one, other]))).toEqual(["cycle"]);
  });

  it("the smallest circle is told as text that a reader can follow", () => {
    const one = transaction([1, 9], [read(x, 0), read(y, 0)], [write(x, "a")]);
    const other = transaction([2, 8], [read(x, 0), read(y, 0)], [write(y, "b")]);
    const text = describeHistoryFaults(checkHistory(history({ [x]: "a", [y]: "b" }, [one, other])));
    expect(text).toBe(
      [
        "1 faults (1 write skew)",
        "  write skew: 2 that each come before the next, and the last before the first:",
        "    transaction of c [2–8] (account/x@0, account/y@0, account/y+b)",
        "      before transaction of c [1–9] (account/x@0, account/y@0, account/x+a): " +
          "that wrote to account/x behind 0, which this one still saw",
        "    transaction of c [1–9] (account/x@0, account/y@0, account/x+a)",
        "      before transaction of c [2–8] (account/x@0, account/y@0, account/y+b): " +
          "that wrote to account/y behind 0, which this one still saw",
      ].join("\n"),
    );
  });

  it("of a knot of many circles the smallest is reported", () => {
    const operations: AtomicOperation[] = [];
    const stored: Record<string, string> = {};
    for (let i = 0; i < 50; i++) {
      stored[`account/${i}`] = `e${i}`;
      const seen = i === 30 ? [read("account/31", 0), read("account/29", 0)] : [read(`account/${(i + 1) % 50}`, 0)];
      operations.push(transaction([1, 9], seen, [write(`account/${i}`, `e${i}`)]));
    }
    const [fault, ...others] = checkHistory(history(stored, operations));
    expect(others).toEqual([]);
    expect(fault!.operations.length).toBe(2);
  });
});

describe("history: sagas", () => {
  const steps = [step(x, "a", "b"), step(y, "c", "d")];
  const fine: [SagaOperation["outcome"], Record<string, string>][] = [
    ["committed", { [x]: "a", [y]: "c" }],
    ["compensated", { [x]: "a b", [y]: "c d" }],
    ["compensated", { [x]: "a b" }],
    ["compensated", {}],
    ["stuck", { [x]: "a", [y]: "c d" }],
    ["resolved", { [x]: "a" }],
    ["unknown", { [x]: "a b" }],
    ["failed", {}],
  ];

  it.each(fine)("%s is borne out by %j", (outcome, stored) => isGood(history(stored, [saga([1, 2], outcome, steps)])));

  const wrong: [SagaOperation["outcome"], Record<string, string>][] = [
    ["committed", { [x]: "a" }],
    ["committed", { [x]: "a b", [y]: "c" }],
    ["compensated", { [x]: "a" }],
    ["compensated", { [x]: "a b", [y]: "d" }],
    ["compensated", { [x]: "b a" }],
    ["stuck", { [x]: "b" }],
    ["resolved", { [x]: "b" }],
    ["unknown", { [y]: "d" }],
    ["failed", { [x]: "a" }],
  ];

  it.each(wrong)("%s is not borne out by %j", (outcome, stored) => {
    expect(rulesOf(history(stored, [saga([1, 2], outcome, steps)]))).toContain("saga");
  });

  it("what is said of a step is what is there of it", () => {
    const said = (state: SagaStepRun["state"] & string, stored: string) =>
      rulesOf(history({ [x]: stored }, [saga([1, 2], "stuck", [step(x, "a", "b", { state })])]));
    for (const state of ["done", "stuck"] as const) {
      expect(said(state, "a")).toEqual([]);
      expect(said(state, "")).toEqual(["saga"]);
      expect(said(state, "a b")).toEqual(["saga"]);
    }
    for (const state of ["waiting", "refused"] as const) {
      expect(said(state, "")).toEqual([]);
      expect(said(state, "a")).toEqual(["saga"]);
    }
    expect(said("compensated", "a b")).toEqual([]);
    expect(said("compensated", "a")).toEqual(["saga"]);
    expect(said("unknown", "a")).toEqual([]);
    expect(said("unknown", "")).toEqual([]);
  });

  it("a step is there once, and whole", () => {
    expect(rulesOf(history({ [x]: "a a", [y]: "c" }, [saga([1, 2], "committed", steps)]))).toEqual(["duplicate"]);
    const batch = [step(x, "a b", null)];
    expect(rulesOf(history({ [x]: "a" }, [saga([1, 2], "committed", batch)]))).toEqual(["torn"]);
  });

  it("readers may see a saga half done: it is not isolated", () => {
    const half = get([1, 9], read(x, 1), read(y, 0));
    isGood(history({ [x]: "a", [y]: "c" }, [saga([1, 9], "committed", steps), half]));
  });

  it("a later step is not seen without the one before it; steps of one stage are", () => {
    const reordered = get([1, 9], read(x, 0), read(y, 1));
    const stored = { [x]: "a", [y]: "c" };
    expect(rulesOf(history(stored, [saga([1, 9], "committed", steps), reordered]))).toEqual(["cycle"]);
    const parallel = steps.map((one) => ({ ...one, stage: 0 }));
    isGood(history(stored, [saga([1, 9], "committed", parallel), reordered]));
  });

  it("a step is over when the saga has said so, not before", () => {
    const early = get([3, 4], read(x, 0));
    expect(rulesOf(history({ [x]: "a", [y]: "c" }, [saga([1, 2], "committed", steps), early]))).toEqual(["stale"]);
    isGood(history({ [x]: "a", [y]: "c" }, [saga([1, 2], "stuck", steps), early]));
  });
});

describe("history: what is none", () => {
  it("refuses a marker that two operations claim, an end before its start, an entity stored twice", () => {
    const twice = [append([1, 2], x, "a"), append([3, 4], x, "a")];
    expect(() => checkHistory(history({ [x]: "a" }, twice))).toThrow("history/marker sent once");
    expect(() => checkHistory(history({}, [append([2, 1], x, "a")]))).toThrow("history/end after start");
    const stored = { entity: x, events: [] };
    expect(() => checkHistory({ operations: [], stored: [stored, stored] })).toThrow("history/entity stored once");
  });
});
