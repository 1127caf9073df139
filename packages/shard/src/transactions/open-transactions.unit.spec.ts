// Which transactions are open, as the log tells it; and what makes two transactions the same.
import { entryFlags, newEntryView } from "@heddle/event-log/internal";
import { requestKind, writeAppendBody } from "@heddle/protocol/internal";
import { describe, expect, it } from "vitest";
import { fingerprintOfOperations } from "./fingerprint.ts";
import { type JournalFacts, writeJournalBody } from "./journal.ts";
import { OpenTransactions } from "./open-transactions.ts";

const empty = { pending: [], decided: [] };

function pending(position: number, coordinator: number, number: number) {
  return { ...newEntryView(), flags: entryFlags.pending, position, session: coordinator + 1, call: number };
}

function journal(facts: JournalFacts) {
  let bytes = new Uint8Array();
  const used = writeJournalBody(facts, "", (wanted) => {
    bytes = new Uint8Array(wanted);
    return { bytes, at: 0 };
  });
  return { ...newEntryView(), flags: entryFlags.journal, eventCount: 1, bytes, bodyFrom: 0, bodyTo: used.bytes };
}

function decided(number: number, shards: number[], settled: [number, number]) {
  return journal({ kind: "decided", number, shards, settled, results: [] });
}

describe("open transactions", () => {
  it("are pending until they are applied or aborted", () => {
    const open = new OpenTransactions(empty);
    for (const entry of [pending(88, 2, 7), pending(300, 2, 7), pending(500, 0, 9)]) open.take(entry);
    expect(open.records().pending).toEqual([
      { position: 88, coordinator: 2, number: 7 },
      { position: 300, coordinator: 2, number: 7 },
      { position: 500, coordinator: 0, number: 9 },
    ]);
    open.take({ ...newEntryView(), flags: entryFlags.applied, position: 700, call: 88 });
    open.take({ ...newEntryView(), flags: entryFlags.applied | entryFlags.erased, position: 800, call: 300 });
    open.take(journal({ kind: "aborted", positions: [500] }));
    expect(open.records()).toEqual(empty);
  });

  it("are decided until a later decision, or a note, says that all have settled them", () => {
    const open = new OpenTransactions(empty);
    open.take(decided(10, [1, 2], [10, 10]));
    open.take(decided(12, [3], [10, 10]));
    open.take(decided(0, [], [10, 10]));
    expect(open.records().decided).toEqual([
      { number: 10, shards: [1, 2] },
      { number: 12, shards: [3] },
    ]);
    open.take(decided(13, [1], [10, 12]));
    expect([...open.decided.keys()]).toEqual([12, 13]);
    // Of another opening, whose numbers lie elsewhere: it says nothing of these.
    open.take(decided(900, [1], [900, 900]));
    expect([...open.decided.keys()]).toEqual([12, 13, 900]);
    open.take(journal({ kind: "settled", numbers: [12, 13] }));
    expect([...open.decided.keys()]).toEqual([900]);
  });

  it("go on from what a checkpoint kept", () => {
    const kept = { pending: [{ position: 88, coordinator: 1, number: 5 }], decided: [{ number: 3, shards: [2] }] };
    expect(new OpenTransactions(kept).records()).toEqual(kept);
  });
});

describe("the fingerprint of a transaction", () => {
  function bodyOf(expectedSeq: number | undefined, amount = 1) {
    let bytes = new Uint8Array();
    const events = [{ type: "Credited", payload: { amount } }];
    const used = writeAppendBody({ entity: "account/a", aggregate: "Account", events, expectedSeq }, (wanted) => {
      bytes = new Uint8Array(wanted);
      return { bytes, at: 0 };
    });
    return { bytes, operation: { kind: requestKind.append, from: 0, to: used } as const };
  }

  it("does not depend on the sequences that are expected, nor on reads", () => {
    const plain = bodyOf(undefined);
    const wanted = fingerprintOfOperations(plain.bytes, [plain.operation]);
    for (const seq of [0, 1, 2 ** 48 - 1]) {
      const { bytes, operation } = bodyOf(seq);
      expect(fingerprintOfOperations(bytes, [operation])).toBe(wanted);
      const read = { kind: requestKind.get, from: 0, to: 5 };
      expect(fingerprintOfOperations(bytes, [read, operation, read])).toBe(wanted);
    }
  });

  it("depends on what is written, how often, and whether an event or a command asks for it", () => {
    const { bytes, operation } = bodyOf(undefined);
    const one = fingerprintOfOperations(bytes, [operation]);
    const more = bodyOf(undefined, 2);
    const others = [
      fingerprintOfOperations(more.bytes, [more.operation]),
      fingerprintOfOperations(bytes, [operation, operation]),
      fingerprintOfOperations(bytes, [{ ...operation, kind: requestKind.execute }]),
      fingerprintOfOperations(bytes, []),
    ];
    expect(new Set([one, ...others]).size).toBe(5);
  });
});
