// What every Sink owes a track, whatever it keeps its rows in. Each supplies only its making; what is special to one (its server
// away, killed, or refused; files that are damaged) stands in the specs beside it.
import { defineAggregate, defineContext, defineProjection, event } from "@heddle/domain";
import { type CompiledProjection, compileContext, type Row, type RowKey } from "@heddle/domain/internal";
import type {
  GenerationRef,
  GenerationState,
  Held,
  RowWrite,
  SagaOutcome,
  Sink,
  SinkBatch,
  SourcedRow,
} from "@heddle/projection/internal";
import { afterEach, beforeEach, expect, it } from "vitest";

export interface SinksUnderTest {
  /** A sink over the one store of this test, with a connection of its own; those before may be open still. */
  make(): Sink;
  /** The rows that a user reads under the projection's table or collection, each by its columns; undefined when there is none. */
  read(projection: CompiledProjection): Promise<readonly Row[] | undefined>;
  readonly cleanUp: () => Promise<void>;
}

const anything = {
  "~standard": { version: 1 as const, vendor: "test", validate: (value: unknown) => ({ value: value as object }) },
};
const Thing = defineAggregate("Thing", {
  version: 1,
  initial: () => 0,
  events: { Happened: event(anything, (state) => state + 1) },
});

const wholeColumns = {
  name: "text",
  number: "integer",
  ratio: "real",
  on_time: "boolean",
  at: "time",
  tags: "json",
  note: "text?",
  count: "integer?",
  share: "real?",
  was: "boolean?",
  since: "time?",
  more: "json?",
} as const;

const projections = compileContext(
  defineContext("contract", {
    aggregates: [Thing],
    projections: [
      defineProjection("plain", {
        version: 1,
        from: [Thing],
        columns: { id: "text", amount: "integer", label: "text?" },
        key: ["id"],
        indexes: [["amount"], ["label", "amount"]],
        on: { Happened: () => null },
      }),
      defineProjection("whole", {
        version: 1,
        from: [Thing],
        columns: wholeColumns,
        key: ["name"],
        on: { Happened: () => null },
      }),
      defineProjection("shared", {
        version: 1,
        from: [Thing],
        columns: { day: "time", place: "text", open: "boolean", number: "integer", total: "integer" },
        key: ["day", "place", "open", "number"],
        indexes: [["total"]],
        table: "totals",
        collection: "sums",
        keyOf: () => null,
        on: { Happened: () => null },
      }),
      defineProjection("keys-only", {
        version: 1,
        from: [Thing],
        columns: { word: "text" },
        key: ["word"],
        table: "words",
        keyOf: () => null,
        on: { Happened: () => null },
      }),
    ],
  }),
).projections;

const plain = projections.get("plain")!;
const whole = projections.get("whole")!;
const shared = projections.get("shared")!;
const words = projections.get("keys-only")!;

const oddTexts = [
  "",
  " ",
  "'; drop table plain; --",
  'a "quoted" name',
  "back\\slash `tick` $dollar .dot %percent _underscore",
  "new\nline\tand\rreturn",
  "ünïcödé ß 漢字 العربية",
  "👩‍👩‍👧‍👦 emoji, and e\u0301 beside \u00e9",
  "\u0001\u001f\u007f\u0080\ufeff\uffff\u2028",
  "x".repeat(10_000),
  "null",
  "12",
  "[object Object]",
];

function state(generation: number, more: Partial<GenerationState> = {}): GenerationState {
  return { generation, version: 1, shape: "{}", revision: 0, positions: [0, 0], facts: "{}", ...more };
}

function batch(revision: number, more: Partial<SinkBatch> = {}): SinkBatch {
  return {
    revision,
    writer: "me",
    positions: [revision * 64, revision * 8],
    facts: JSON.stringify({ revision }),
    erased: [],
    rows: [],
    held: new Map(),
    outcomes: new Map(),
    ...more,
  };
}

function write(projection: CompiledProjection, row: Row, source?: string): RowWrite {
  const { id, key } = keyed(projection, row);
  return { id, key, row, source: source ?? id };
}

function remove(projection: CompiledProjection, key: Row): RowWrite {
  return { ...keyed(projection, key), row: null, source: "" };
}

function keyed(projection: CompiledProjection, row: Row): { id: string; key: RowKey } {
  return projection.keyFrom(Object.fromEntries(projection.key.map(({ name }) => [name, row[name]])));
}

const plainRow = (id: string, amount: number, label: string | null = null): Row => ({ id, amount, label });
const sharedRow = (place: string, total: number, number = 1): Row => ({
  day: 86_400_000,
  place,
  open: true,
  number,
  total,
});

const heldOf = (entity: string, more: Partial<Held> = {}): Held => ({
  entity,
  reason: "error",
  shard: 1,
  record: 64,
  position: 88,
  index: 2,
  seq: 7,
  aggregate: "Thing",
  type: "Happened",
  saga: "",
  error: "it \"threw\" 'this' 👍",
  since: 1_700_000_000_000,
  ...more,
});

const outcomeOf = (saga: string, outcome: SagaOutcome["outcome"]): SagaOutcome => ({ saga, outcome, ends: [8, 64] });

/** The same text for equal rows, whatever the order of their columns. */
const textOf = (row: Row) =>
  JSON.stringify([row["id"] ?? row["name"], Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1))]);
const inOrder = (rows: readonly Row[]) => [...rows].sort((a, b) => (textOf(a) < textOf(b) ? -1 : 1));

export function sinkContract(make: () => SinksUnderTest): void {
  let under: SinksUnderTest;
  let sink: Sink;
  const opened: Sink[] = [];

  const open = async (): Promise<Sink> => {
    const made = under.make();
    opened.push(made);
    await made.open();
    return made;
  };
  const reopen = async (): Promise<void> => {
    await sink.close();
    sink = await open();
  };
  const begin = async (projection: CompiledProjection, generation = 1): Promise<GenerationRef> => {
    await sink.create({ projection, generation }, state(generation));
    return { projection, generation };
  };
  const all = async (ref: GenerationRef, of = sink): Promise<SourcedRow[]> => {
    const rows: SourcedRow[] = [];
    for await (const page of of.rows(ref)) rows.push(...page);
    return rows.sort((a, b) => (textOf(a.row) < textOf(b.row) ? -1 : 1));
  };
  const keysOf = (projection: CompiledProjection, rows: readonly Row[]) =>
    rows.map((row) => keyed(projection, row).key);
  const read = async (projection: CompiledProjection): Promise<readonly Row[] | undefined> => {
    const rows = await under.read(projection);
    return rows && inOrder(rows);
  };

  beforeEach(async () => {
    under = make();
    sink = await open();
  });
  afterEach(async () => {
    for (const one of opened.splice(0)) await one.close();
    await under.cleanUp();
  });

  it("knows nothing of a projection when it is new", async () => {
    expect(await sink.list()).toEqual([]);
    expect(await sink.describe("plain")).toBeUndefined();
    expect(await under.read(plain)).toBeUndefined();
  });

  it("the first generation is the one that is read, from its making on", async () => {
    await begin(plain);
    expect(await sink.describe("plain")).toEqual({
      projection: "plain",
      live: state(1),
      next: undefined,
      settings: "",
    });
    expect(await under.read(plain)).toEqual([]);
    expect(await sink.list()).toEqual(["plain"]);
  });

  it("opening what is open, and closing what is closed, does nothing", async () => {
    await begin(plain);
    await sink.open();
    expect((await sink.describe("plain"))?.live).toEqual(state(1));
    await sink.close();
    await sink.close();
  });

  it("P5 rows, position, what is held and what is known of sagas move together, and are there after a restart", async () => {
    const ref = await begin(plain);
    const held = new Map([["thing/a", heldOf("thing/a")]]);
    const outcomes = new Map([["$saga/1", outcomeOf("$saga/1", "committed")]]);
    const rows = [write(plain, plainRow("thing/a", 1)), write(plain, plainRow("thing/b", 2, "two"))];
    await sink.write(ref, batch(1, { rows, held, outcomes }));
    for (const check of ["at once", "after a restart"]) {
      expect((await sink.describe("plain"))?.live, check).toEqual(
        state(1, { revision: 1, positions: [64, 8], facts: '{"revision":1}' }),
      );
      expect(await sink.held(ref), check).toEqual([heldOf("thing/a")]);
      expect(await sink.outcomes(ref), check).toEqual([outcomeOf("$saga/1", "committed")]);
      expect(await all(ref), check).toEqual([
        { row: plainRow("thing/a", 1), source: "thing/a" },
        { row: plainRow("thing/b", 2, "two"), source: "thing/b" },
      ]);
      expect(await read(plain), check).toEqual([plainRow("thing/a", 1), plainRow("thing/b", 2, "two")]);
      await reopen();
    }
  });

  it("a row is changed, goes, and comes back; what is not written stays", async () => {
    const ref = await begin(plain);
    const names = ["thing/a", "thing/b", "thing/c"];
    await sink.write(ref, batch(1, { rows: names.map((name, i) => write(plain, plainRow(name, i))) }));
    const rows = [write(plain, plainRow("thing/a", 10, "ten")), remove(plain, { id: "thing/b" })];
    await sink.write(ref, batch(2, { rows }));
    expect(await read(plain)).toEqual([plainRow("thing/a", 10, "ten"), plainRow("thing/c", 2)]);
    await sink.write(ref, batch(3, { rows: [write(plain, plainRow("thing/b", 5)), remove(plain, { id: "thing/x" })] }));
    expect(await read(plain)).toEqual([plainRow("thing/a", 10, "ten"), plainRow("thing/b", 5), plainRow("thing/c", 2)]);
    await sink.write(ref, batch(4, { rows: [write(plain, plainRow("thing/a", 10, null))] }));
    expect((await read(plain))![0]).toEqual(plainRow("thing/a", 10, null));
  });

  it("gives rows by their keys, in the order of the keys, and nothing for those that are not there", async () => {
    const ref = await begin(plain);
    const rows = Array.from({ length: 100 }, (_, i) => plainRow(`thing/${i}`, i));
    await sink.write(ref, batch(1, { rows: rows.map((row) => write(plain, row)) }));
    const asked = [...rows].reverse().flatMap((row) => [row, plainRow(`${row["id"]}x`, 0)]);
    const found = await sink.load(ref, keysOf(plain, asked));
    expect(found.map((one) => one?.row)).toEqual([...rows].reverse().flatMap((row) => [row, undefined]));
    expect(await sink.load(ref, [])).toEqual([]);
  });

  it("S3 every text comes back as it was written, in keys, columns, sources, and what is held", async () => {
    const ref = await begin(plain);
    const rows = oddTexts.map((text, i) => plainRow(text.slice(0, 1_000), i, text));
    const held = new Map(oddTexts.map((text) => [text.slice(0, 500), heldOf(text.slice(0, 500), { error: text })]));
    await sink.write(ref, batch(1, { rows: rows.map((row) => write(plain, row)), held }));
    await reopen();
    const found = await sink.load(ref, keysOf(plain, rows));
    expect(found.map((one) => one?.row)).toEqual(rows);
    expect(await read(plain)).toEqual(inOrder(rows));
    const records = [...(await sink.held(ref))].map(({ error }) => error).sort();
    expect(records).toEqual([...oddTexts].sort());
  });

  it("S3 every number, time, truth, JSON and null comes back as it was written", async () => {
    const ref = await begin(whole);
    const numbers = [0, 1, -1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 2 ** 32, -(2 ** 31), 256, 65_536];
    const reals = [0, 0.1, -0.1, 1, 1e300, -1e-300, Number.MAX_VALUE, Number.MIN_VALUE, 2 ** 53, 1 / 3];
    const jsons: readonly Row[string][] = [
      true,
      0.5,
      "text",
      [],
      {},
      [[[]], [1, [2, "three"]], {}],
      {
        "": 1,
        ".": 2,
        $set: { $: "dollar" },
        "a.b": [null],
        __proto__x: 3,
        _id: 4,
        nested: { list: [{ deep: [{}] }] },
      },
      { big: Number.MAX_SAFE_INTEGER, small: Number.MIN_SAFE_INTEGER, real: 1e300, texts: oddTexts },
    ];
    const rows = Array.from(
      { length: 12 },
      (_, i): Row => ({
        name: `thing/${i}`,
        number: numbers[i % numbers.length]!,
        ratio: reals[i % reals.length]!,
        on_time: i % 2 === 0,
        at: 1_700_000_000_000 - i * 1e12,
        tags: jsons[i % jsons.length]!,
        note: i % 3 === 0 ? null : `note ${i}`,
        count: i % 3 === 1 ? null : i,
        share: i % 3 === 2 ? null : i / 7,
        was: i % 2 === 0 ? null : i % 3 === 0,
        since: i % 2 === 1 ? null : i,
        more: i % 4 === 0 ? null : { i },
      }),
    );
    await sink.write(ref, batch(1, { rows: rows.map((row) => write(whole, row)) }));
    await reopen();
    const found = await sink.load(ref, keysOf(whole, rows));
    expect(found.map((one) => one?.row)).toEqual(rows);
    expect((await read(whole))?.map((row) => row["ratio"]).sort()).toEqual(rows.map((row) => row["ratio"]).sort());
  });

  it("keys of several columns tell rows apart, whatever their types and texts", async () => {
    const ref = await begin(shared);
    const places = ['a","b', "a", 'b"', "a\\", "[", "a,b", "漢"];
    const rows: Row[] = [];
    for (const place of places) {
      for (const day of [0, 1])
        for (const isOpen of [true, false])
          for (const number of [0, 1]) {
            rows.push({ day, place, open: isOpen, number, total: rows.length });
          }
    }
    await sink.write(ref, batch(1, { rows: rows.map((row) => write(shared, row, "thing/a")) }));
    const found = await sink.load(ref, keysOf(shared, rows));
    expect(found.map((one) => one?.row)).toEqual(rows);
    const [first, ...rest] = rows;
    await sink.write(ref, batch(2, { rows: [remove(shared, first!)] }));
    expect((await sink.load(ref, keysOf(shared, [first!, rest[0]!]))).map((one) => one?.row)).toEqual([
      undefined,
      rest[0],
    ]);
    expect(await all(ref)).toHaveLength(rest.length);
  });

  it("a projection may have nothing but its key", async () => {
    const ref = await begin(words);
    await sink.write(
      ref,
      batch(1, { rows: [write(words, { word: "one" }, "thing/a"), write(words, { word: "two" }, "")] }),
    );
    await sink.write(ref, batch(2, { rows: [write(words, { word: "one" }, "")] }));
    expect(await all(ref)).toEqual([
      { row: { word: "one" }, source: "" },
      { row: { word: "two" }, source: "" },
    ]);
    expect(await read(words)).toEqual([{ word: "one" }, { word: "two" }]);
  });

  it("keeps which entity a row comes from, and takes out the rows of some before it writes", async () => {
    const ref = await begin(shared);
    const rows = [
      write(shared, sharedRow("a1", 1), "thing/a"),
      write(shared, sharedRow("a2", 2), "thing/a"),
      write(shared, sharedRow("b1", 3), "thing/b"),
      write(shared, sharedRow("both", 4), ""),
      write(shared, sharedRow("c1", 5), "thing/c"),
    ];
    await sink.write(ref, batch(1, { rows }));
    expect((await all(ref)).map(({ source }) => source)).toEqual(["thing/a", "thing/a", "thing/b", "", "thing/c"]);
    const again = [write(shared, sharedRow("a2", 20), "thing/a"), write(shared, sharedRow("b1", 30), "")];
    await sink.write(ref, batch(2, { erased: ["thing/a", "thing/c", "thing/nobody"], rows: again }));
    expect(await all(ref)).toEqual([
      { row: sharedRow("a2", 20), source: "thing/a" },
      { row: sharedRow("b1", 30), source: "" },
      { row: sharedRow("both", 4), source: "" },
    ]);
    await sink.write(ref, batch(3, { erased: ["thing/b"] }));
    expect((await all(ref)).map(({ row }) => row["place"])).toEqual(["a2", "b1", "both"]);
  });

  it("takes out the rows of an entity whose id is the key", async () => {
    const ref = await begin(plain);
    const names = Array.from({ length: 250 }, (_, i) => `thing/${i}`);
    await sink.write(ref, batch(1, { rows: names.map((name, i) => write(plain, plainRow(name, i))) }));
    await sink.write(ref, batch(2, { erased: names.slice(1), rows: [write(plain, plainRow("thing/7", 70))] }));
    expect(await read(plain)).toEqual([plainRow("thing/0", 0), plainRow("thing/7", 70)]);
  });

  it("what is held, and what is known of sagas, is replaced, and goes", async () => {
    const ref = await begin(plain);
    const entities = ["thing/a", "thing/b"];
    await sink.write(
      ref,
      batch(1, {
        held: new Map(entities.map((entity) => [entity, heldOf(entity)])),
        outcomes: new Map(["$saga/1", "$saga/2"].map((saga) => [saga, outcomeOf(saga, "committed")])),
      }),
    );
    const waits = heldOf("thing/a", { reason: "saga", saga: "$saga/3", error: "" });
    await sink.write(
      ref,
      batch(2, {
        held: new Map<string, Held | null>([
          ["thing/a", waits],
          ["thing/b", null],
          ["thing/c", null],
        ]),
        outcomes: new Map<string, SagaOutcome | null>([
          ["$saga/1", null],
          ["$saga/2", outcomeOf("$saga/2", "unknown")],
        ]),
      }),
    );
    expect(await sink.held(ref)).toEqual([waits]);
    expect(await sink.outcomes(ref)).toEqual([outcomeOf("$saga/2", "unknown")]);
  });

  it("S2 a write whose reply was lost is applied once", async () => {
    const ref = await begin(plain);
    await sink.write(ref, batch(1, { rows: [write(plain, plainRow("thing/a", 1))] }));
    const second = batch(2, { rows: [write(plain, plainRow("thing/a", 2))], erased: ["thing/b"] });
    await sink.write(ref, second);
    await sink.write(ref, second);
    expect((await sink.describe("plain"))?.live?.revision).toBe(2);
    await reopen();
    await sink.write(ref, second);
    expect(await read(plain)).toEqual([plainRow("thing/a", 2)]);
  });

  it("S2 a second writer is refused, and changes nothing", async () => {
    const ref = await begin(plain);
    const other = await open();
    await other.write(ref, batch(1, { writer: "other", rows: [write(plain, plainRow("thing/a", 1))] }));
    const refused = expect.objectContaining({ code: "SINK_REFUSED" });
    const mine = { rows: [write(plain, plainRow("thing/a", 100))], erased: ["thing/a"] };
    await expect(async () => sink.write(ref, batch(1, mine))).rejects.toEqual(refused);
    await expect(async () => sink.write(ref, batch(3, mine))).rejects.toEqual(refused);
    expect((await other.describe("plain"))?.live).toMatchObject({ revision: 1, positions: [64, 8] });
    expect(await read(plain)).toEqual([plainRow("thing/a", 1)]);
    await sink.write(ref, batch(2, { rows: [write(plain, plainRow("thing/a", 2))] }));
    expect(await read(plain)).toEqual([plainRow("thing/a", 2)]);
  });

  it("a generation that is not there any more cannot be written to", async () => {
    const ref = await begin(plain);
    await begin(plain, 2);
    await sink.swap({ projection: plain, generation: 2 });
    await expect(async () => sink.write(ref, batch(1))).rejects.toEqual(
      expect.objectContaining({ code: "SINK_REFUSED" }),
    );
  });

  it("S4 the next generation is built beside the one that is read, which goes on meanwhile", async () => {
    const live = await begin(plain);
    await sink.write(live, batch(1, { rows: [write(plain, plainRow("thing/a", 1))] }));
    const next = await begin(plain, 2);
    await sink.write(
      next,
      batch(1, { rows: [write(plain, plainRow("thing/a", 100))], held: new Map([["thing/h", heldOf("thing/h")]]) }),
    );
    await sink.write(live, batch(2, { rows: [write(plain, plainRow("thing/b", 2))] }));
    expect(await read(plain)).toEqual([plainRow("thing/a", 1), plainRow("thing/b", 2)]);
    expect(await sink.describe("plain")).toMatchObject({
      live: { generation: 1, revision: 2 },
      next: { generation: 2, revision: 1 },
    });
    expect(await sink.held(live)).toEqual([]);
    await sink.swap(next);
    for (const check of ["at once", "after a restart"]) {
      expect(await read(plain), check).toEqual([plainRow("thing/a", 100)]);
      expect(await sink.describe("plain"), check).toMatchObject({
        live: { generation: 2, revision: 1 },
        next: undefined,
      });
      expect(await sink.held(next), check).toEqual([heldOf("thing/h")]);
      await reopen();
    }
    await sink.write(next, batch(2, { rows: [write(plain, plainRow("thing/c", 3))] }));
    expect(await read(plain)).toEqual([plainRow("thing/a", 100), plainRow("thing/c", 3)]);
  });

  it("swaps again and again", async () => {
    let last = await begin(shared);
    for (let generation = 2; generation <= 5; generation++) {
      last = await begin(shared, generation);
      await sink.write(last, batch(1, { rows: [write(shared, sharedRow("a", generation), "thing/a")] }));
      await sink.swap(last);
      expect(await read(shared)).toEqual([sharedRow("a", generation)]);
    }
    expect((await sink.describe("shared"))?.live?.generation).toBe(5);
  });

  it("a next generation that is given up, or begun anew, leaves nothing", async () => {
    const live = await begin(plain);
    await sink.write(live, batch(1, { rows: [write(plain, plainRow("thing/a", 1))] }));
    const next = await begin(plain, 2);
    await sink.write(
      next,
      batch(1, { rows: [write(plain, plainRow("thing/b", 1))], held: new Map([["thing/h", heldOf("thing/h")]]) }),
    );
    await begin(plain, 3);
    expect(await sink.describe("plain")).toMatchObject({
      live: { generation: 1 },
      next: { generation: 3, revision: 0 },
    });
    expect(await all({ projection: plain, generation: 3 })).toEqual([]);
    await begin(plain, 3);
    await sink.dropNext("plain");
    await sink.dropNext("plain");
    expect((await sink.describe("plain"))?.next).toBeUndefined();
    expect(await read(plain)).toEqual([plainRow("thing/a", 1)]);
    await begin(plain, 4);
    expect(await sink.held({ projection: plain, generation: 4 })).toEqual([]);
  });

  it("a generation is made with the state that it is given", async () => {
    const given = state(7, { version: 3, shape: '{"a":"b"}', positions: [1, 2], facts: '{"x":"\'"}' });
    await sink.create({ projection: plain, generation: 7 }, given);
    await reopen();
    expect((await sink.describe("plain"))?.live).toEqual(given);
  });

  it("forgets a projection altogether, and nothing else", async () => {
    const ref = await begin(plain);
    await sink.write(
      ref,
      batch(1, { rows: [write(plain, plainRow("thing/a", 1))], held: new Map([["thing/h", heldOf("thing/h")]]) }),
    );
    await begin(plain, 2);
    await sink.settings("plain", '{"paused":true}');
    await sink.write(await begin(shared), batch(1, { rows: [write(shared, sharedRow("a", 1), "thing/a")] }));
    await sink.forget("plain");
    await sink.forget("nobody");
    expect(await sink.describe("plain")).toBeUndefined();
    expect(await sink.list()).toEqual(["shared"]);
    expect(await under.read(plain)).toBeUndefined();
    expect(await read(shared)).toEqual([sharedRow("a", 1)]);
    const again = await begin(plain, 3);
    expect(await all(again)).toEqual([]);
    expect(await sink.held(again)).toEqual([]);
  });

  it("keeps what an operator asked for, whatever becomes of the rows", async () => {
    await sink.settings("plain", '{"paused":true}');
    await begin(plain);
    await begin(plain, 2);
    await sink.swap({ projection: plain, generation: 2 });
    await reopen();
    expect((await sink.describe("plain"))?.settings).toBe('{"paused":true}');
    await sink.settings("plain", "{}");
    expect((await sink.describe("plain"))?.settings).toBe("{}");
  });

  it("several projections do not touch each other", async () => {
    const refs = [await begin(plain), await begin(shared)] as const;
    const entities = new Map([["thing/a", heldOf("thing/a")]]);
    await sink.write(refs[0], batch(1, { rows: [write(plain, plainRow("thing/a", 1))], held: entities }));
    await sink.write(refs[1], batch(1, { rows: [write(shared, sharedRow("a", 1), "thing/a")] }));
    await sink.write(refs[0], batch(2, { erased: ["thing/a"], held: new Map([["thing/a", null]]) }));
    expect(await read(plain)).toEqual([]);
    expect(await read(shared)).toEqual([sharedRow("a", 1)]);
  });

  it("writes, gives back and lists many rows at once", async () => {
    const ref = await begin(whole);
    const count = 5_000;
    const rows = Array.from(
      { length: count },
      (_, i): Row => ({
        name: `thing/${String(i).padStart(5, "0")}`,
        number: i,
        ratio: i / 3,
        on_time: i % 2 === 0,
        at: i,
        tags: { i },
        note: "n".repeat(i % 50),
        count: null,
        share: null,
        was: null,
        since: null,
        more: null,
      }),
    );
    await sink.write(ref, batch(1, { rows: rows.map((row) => write(whole, row)) }));
    const changed = rows.map((row, i) => (i % 3 === 0 ? { ...row, number: -i } : row));
    await sink.write(
      ref,
      batch(2, {
        rows: changed.map((row, i) => (i % 5 === 0 ? remove(whole, row) : write(whole, row))),
      }),
    );
    const left = changed.filter((_, i) => i % 5 !== 0);
    expect((await all(ref)).map(({ row }) => row)).toEqual(inOrder(left));
    const found = await sink.load(ref, keysOf(whole, rows));
    expect(found.filter((one) => one !== undefined)).toHaveLength(left.length);
  });

  it("a scrub changes nothing that is read, and can be asked for at any time", async () => {
    await sink.scrub();
    const ref = await begin(plain);
    await sink.write(
      ref,
      batch(1, { rows: [write(plain, plainRow("thing/a", 1)), write(plain, plainRow("thing/b", 2))] }),
    );
    await sink.write(ref, batch(2, { erased: ["thing/a"] }));
    await sink.scrub();
    await sink.scrub();
    expect(await read(plain)).toEqual([plainRow("thing/b", 2)]);
    await sink.write(ref, batch(3, { rows: [write(plain, plainRow("thing/c", 3))] }));
    expect(await read(plain)).toEqual([plainRow("thing/b", 2), plainRow("thing/c", 3)]);
    expect((await sink.describe("plain"))?.live?.revision).toBe(3);
  });
}
