// The referee on real segments: a store is written through the event log itself, then one thing at a time is made wrong,
// and each must be objected to. What a store means against the book is judge.unit.spec.ts.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { compileContext } from "@heddle/domain/internal";
import { entryFlags } from "@heddle/event-log/internal";
import bank from "@heddle-examples/bank";
import { afterEach, describe, expect, it } from "vitest";
import { Book, type BookData } from "../load/book.ts";
import { judge, type Verdict } from "./judge.ts";
import { readStore, type StoreReading } from "./read-store.ts";
import { writeStore } from "./written-store.spec-support.ts";

const domain = compileContext(bank);
const names = ["account/a", "account/b"];
const folders: string[] = [];

afterEach(() => {
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
});

/** One append: positive amounts are credits, negative ones debits. */
interface Append {
  readonly entity: string;
  readonly firstSeq: number;
  readonly amounts: readonly number[];
  readonly aggregate?: string;
  readonly flags?: number;
  /** Events of a saga, in place of credits and debits. */
  readonly types?: readonly string[];
}

const history: readonly Append[] = [
  { entity: "account/a", firstSeq: 1, amounts: [1000, -300] },
  { entity: "account/b", firstSeq: 1, amounts: [500] },
  { entity: "account/a", firstSeq: 3, amounts: [-200] },
  { entity: "account/b", firstSeq: 2, amounts: [50, -25, 10] },
];

const eventOf = (amount: number) => ({
  type: amount > 0 ? "Credited" : "Debited",
  payload: { amount: Math.abs(amount), currency: "EUR" },
});

function store(
  appends: readonly Append[],
  into = newFolder(),
  options?: { readonly shard?: number; readonly alterInMemory?: boolean },
): Promise<string> {
  const entries = appends.map(({ amounts, types, ...append }) => ({
    ...append,
    events: types?.map((type) => ({ type, payload: {} })) ?? amounts.map(eventOf),
  }));
  return writeStore(into, entries, options);
}

function newFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-referee-"));
  folders.push(folder);
  return folder;
}

/** What clients were told about these appends. */
function bookOf(appends: readonly Append[]): Book {
  const book = new Book(names);
  for (const { entity, firstSeq, amounts } of appends) {
    const sum = (sign: number) => amounts.reduce((total, amount) => total + Math.max(0, sign * amount), 0);
    const totals = { events: amounts.length, credited: sum(1), debited: sum(-1) };
    const receipt = { firstSeq, seq: firstSeq + amounts.length - 1, count: amounts.length, duplicate: false };
    book.acknowledged(names.indexOf(entity), totals, receipt);
  }
  return book;
}

function verdictOn(data: string, book: BookData): Verdict & StoreReading {
  const reading = readStore(data, domain);
  return { ...reading, ...judge(reading, book) };
}

const booked = bookOf(history).toData();

describe("referee: a store on disk", () => {
  it("vouches for one that holds what was acknowledged, over several segments", async () => {
    const data = await store(history);
    expect(fs.readdirSync(path.join(data, "shards", "0000", "log")).length).toBeGreaterThan(1);
    expect(verdictOn(data, booked)).toMatchObject({
      ok: true,
      text: "REFEREE_OK (2 accounts, 7 events)",
      records: 4,
      tornBytes: 0,
    });
  });

  it("P2: objects to an acknowledged append that is missing at the end", async () => {
    const verdict = verdictOn(await store(history.slice(0, 3)), booked);
    expect(verdict.objections[0]).toBe("account/b: sequence 4 was acknowledged, the store ends at 1");
  });

  it("P1: objects to an append that is missing in between, which leaves a gap", async () => {
    const verdict = verdictOn(await store([history[0]!, history[2]!, history[3]!]), booked);
    expect(verdict.objections[0]).toContain("account/b: sequence 2 follows 0");
  });

  it("P2: objects to an append that was dropped and its place taken by the next", async () => {
    const renumbered = [history[0]!, history[1]!, { ...history[3]!, firstSeq: 2 }];
    const verdict = verdictOn(await store(renumbered), booked);
    expect(verdict.objections).toEqual([
      "account/a: sequence 3 was acknowledged, the store ends at 2",
      expect.stringContaining("account/a: the store holds -1 calls, -1 events"),
    ]);
  });

  it("P4: objects to an append that is there twice", async () => {
    const verdict = verdictOn(await store([...history, { ...history[2]!, firstSeq: 4 }]), booked);
    expect(verdict.objections).toEqual([expect.stringContaining("account/a: the store holds +1 calls, +1 events")]);
  });

  it("P1: objects to an append that is there twice under the same sequence", async () => {
    const verdict = verdictOn(await store([...history, history[2]!]), booked);
    expect(verdict.objections[0]).toContain("account/a: sequence 3 follows 3");
  });

  it("objects to an amount that was altered before it was written", async () => {
    const altered = history.map((append, i) => (i === 1 ? { ...append, amounts: [501] } : append));
    const verdict = verdictOn(await store(altered), booked);
    expect(verdict.objections).toEqual([expect.stringContaining("account/b: the store holds 0 calls, 0 events, +1")]);
  });

  it("P5: objects to any one byte that was altered on the disk", async () => {
    const data = await store(history);
    const [file] = fs.readdirSync(path.join(data, "shards", "0000", "log")).sort();
    const segment = path.join(data, "shards", "0000", "log", file!);
    const bytes = fs.readFileSync(segment);
    for (let at = 0; at < bytes.length; at += 7) {
      const altered = Buffer.from(bytes);
      altered[at]! ^= 0x10;
      fs.writeFileSync(segment, altered);
      expect(verdictOn(data, booked).ok, `byte ${at}`).toBe(false);
    }
  });

  it("objects to an entry that was altered in memory, before its record was written", async () => {
    const verdict = verdictOn(await store(history, newFolder(), { alterInMemory: true }), booked);
    expect(verdict.objections[0]).toContain("the entry's checksum does not match");
  });

  it("objects to one more acknowledgement than there are appends", async () => {
    const claimed = bookOf([...history, { entity: "account/a", firstSeq: 4, amounts: [1] }]);
    const verdict = verdictOn(await store(history), claimed.toData());
    expect(verdict.objections[0]).toBe("account/a: sequence 4 was acknowledged, the store ends at 3");
  });

  it("P3: objects to a balance below zero, whoever was told what", async () => {
    const overdrawn = [...history, { entity: "account/b", firstSeq: 5, amounts: [-600, 700] }];
    const verdict = verdictOn(await store(overdrawn), bookOf(overdrawn).toData());
    expect(verdict.objections).toEqual([
      expect.stringContaining('account/b, sequence 5: the rule "balance is never negative" does not hold'),
    ]);
  });

  it("objects to events that the domain does not know", async () => {
    const strange = [{ ...history[0]!, aggregate: "Ledger" }, ...history.slice(1)];
    expect(verdictOn(await store(strange), booked).objections[0]).toContain('no aggregate "Ledger"');
  });

  it("objects to an entity that is in two shards", async () => {
    const data = await store(history);
    await store([{ entity: "account/a", firstSeq: 4, amounts: [1] }], data, { shard: 1 });
    const told = bookOf([...history, { entity: "account/a", firstSeq: 4, amounts: [1] }]);
    expect(verdictOn(data, told.toData()).objections).toEqual([
      "shards/0001/log: account/a is in the log of another shard too",
    ]);
  });

  it("objects to a folder without a log", () => {
    const data = newFolder();
    expect(verdictOn(data, booked).objections[0]).toContain("there is no event log");
  });
});

describe("referee: sagas and transactions on disk", () => {
  const saga = (name: string, firstSeq: number, ...types: string[]): Append => ({
    entity: `$saga/${name}`,
    aggregate: "$saga",
    firstSeq,
    amounts: [],
    types,
  });

  it("reads how each saga ended from its last event, and takes them for no accounts", async () => {
    const sagas = [saga("1", 1, "Started"), saga("2", 1, "Started", "CompensationBegan"), saga("1", 2, "Committed")];
    const data = await store([...history, ...sagas, saga("2", 3, "Compensated")]);
    const book = bookOf(history);
    for (const end of ["COMMITTED", "COMPENSATED"]) book.sagaEnded(end);
    expect(verdictOn(data, book.toData())).toMatchObject({
      ok: true,
      endedSagas: 2,
      text: "REFEREE_OK (2 accounts, 7 events; 2 sagas, all ended)",
    });
  });

  it.each([["Started"], ["Started", "CompensationBegan"], ["Started", "Stuck"], ["Committed", "Retried"]])(
    "objects to a saga whose last event is that of %s %s",
    async (...types) => {
      const data = await store([...history, saga("7", 1, ...types)]);
      expect(verdictOn(data, booked).objections).toEqual(["1 sagas have not ended, e.g. $saga/7"]);
    },
  );

  it("objects to a gap in a saga's history", async () => {
    const data = await store([...history, saga("7", 1, "Started"), saga("7", 3, "Committed")]);
    expect(verdictOn(data, booked).objections[0]).toContain("$saga/7: sequence 3 follows 1");
  });

  it("passes over what shards note about transactions, and counts the events once that follow from it", async () => {
    const pending = { ...history[3]!, flags: entryFlags.pending };
    const note = { ...saga("x", 0, "TransactionDecided"), entity: "$transaction", flags: entryFlags.journal };
    const applied = { ...history[3]!, flags: entryFlags.applied };
    const data = await store([...history.slice(0, 3), pending, note, applied]);
    expect(verdictOn(data, booked)).toMatchObject({ ok: true, text: "REFEREE_OK (2 accounts, 7 events)" });
    const lost = await store([...history.slice(0, 3), pending, note]);
    expect(verdictOn(lost, booked).objections[0]).toBe("account/b: sequence 4 was acknowledged, the store ends at 1");
  });
});

describe("referee: as a program", () => {
  function run(data: string, book: BookData) {
    const bookFile = path.join(newFolder(), "book.json");
    fs.writeFileSync(bookFile, JSON.stringify(book));
    const program = fileURLToPath(new URL("./main.ts", import.meta.url));
    const module = fileURLToPath(import.meta.resolve("@heddle-examples/bank"));
    const done = spawnSync(process.execPath, [program, data, module, bookFile], { encoding: "utf8" });
    return { status: done.status, report: JSON.parse(done.stdout) as Verdict };
  }

  it("ends with 0 when it has no objection, and with 1 when it has one", async () => {
    const data = await store(history);
    expect(run(data, booked)).toMatchObject({ status: 0, report: { ok: true } });
    const claimed = bookOf([...history, { entity: "account/a", firstSeq: 4, amounts: [1] }]);
    expect(run(data, claimed.toData())).toMatchObject({ status: 1, report: { ok: false } });
  });
});
