// The judge on stores and books put together by hand. Stores on disk: read-store.int.spec.ts.
import { describe, expect, it } from "vitest";
import type { CallTotals } from "../load/accounts.ts";
import { Book, type BookData, placeOf } from "../load/book.ts";
import { judge, type StoreContents, type StoredEntity } from "./judge.ts";

const noSagas = { ends: {}, unfinished: 0, unfinishedExamples: [] };

const accounts = ["account/a", "account/b"];
const call = (events: number, credited: number, debited = 0): CallTotals => ({ events, credited, debited });

/** What a store holds after these calls, and a book in which each was acknowledged. */
function written(calls: readonly (readonly [account: number, totals: CallTotals])[]) {
  const book = new Book(accounts);
  const entities = new Map<string, StoredEntity>();
  for (const [account, totals] of calls) {
    const stored = addTo(entities, accounts[account]!, totals);
    book.acknowledged(account, totals, {
      seq: stored.lastSeq,
      firstSeq: stored.lastSeq - totals.events + 1,
      count: totals.events,
      duplicate: false,
    });
  }
  return { store: { entities, objections: [], sagas: noSagas } satisfies StoreContents, entities, book };
}

function addTo(entities: Map<string, StoredEntity>, entity: string, { events, credited, debited }: CallTotals) {
  const held = entities.get(entity) ?? { entity, calls: 0, events: 0, credited: 0, debited: 0, lastSeq: 0, places: 0 };
  const stored: StoredEntity = {
    entity,
    calls: held.calls + 1,
    events: held.events + events,
    credited: held.credited + credited,
    debited: held.debited + debited,
    lastSeq: held.lastSeq + events,
    places: (held.places + placeOf(held.lastSeq + 1, { events, credited, debited })) >>> 0,
  };
  entities.set(entity, stored);
  return stored;
}

const some = [
  [0, call(2, 100, 30)],
  [1, call(1, 70)],
  [0, call(1, 50)],
] as const;

describe("judge: a store that is as it should be", () => {
  it("is vouched for in one line", () => {
    const { store, book } = written(some);
    expect(judge(store, book.toData())).toMatchObject({
      ok: true,
      text: "REFEREE_OK (2 accounts, 4 events)",
      acknowledgedEvents: 4,
      objections: [],
    });
  });

  it("may hold or lack a call of unknown outcome, as a whole", () => {
    const lacking = written(some);
    lacking.book.outcomeUnknown(0, call(3, 9, 8), "TIMEOUT");
    expect(judge(lacking.store, lacking.book.toData())).toMatchObject({
      ok: true,
      unknownCalls: 1,
      unknownCallsFound: 0,
    });

    const holding = written(some);
    holding.book.outcomeUnknown(0, call(3, 9, 8), "TIMEOUT");
    holding.book.outcomeUnknown(0, call(1, 4), "TIMEOUT");
    addTo(holding.entities, "account/a", call(3, 9, 8));
    const verdict = judge(holding.store, holding.book.toData());
    expect(verdict).toMatchObject({ ok: true, unknownCalls: 2, unknownCallsFound: 1 });
    expect(verdict.text).toContain("2 calls of unknown outcome (TIMEOUT 2), 1 of them in the store");
  });

  it("is vouched for although calls were refused, and the verdict says that they were", () => {
    const { store, book } = written(some);
    book.refused("OVERLOADED");
    expect(judge(store, book.toData())).toMatchObject({
      ok: true,
      text: "REFEREE_OK (2 accounts, 4 events; 1 calls were refused (OVERLOADED 1))",
    });
  });
});

function objectionsTo(store: StoreContents, book: BookData): readonly string[] {
  const verdict = judge(store, book);
  expect(verdict.ok).toBe(false);
  expect(verdict.text).toMatch(/^REFEREE_OBJECTS/);
  return verdict.objections;
}

describe("judge: transfers", () => {
  const opened = [
    [0, call(1, 100)],
    [1, call(1, 100)],
  ] as const;

  it("vouches for money that was moved, and says that none was lost", () => {
    const { store, book } = written([...opened, [0, call(1, 0, 30)], [1, call(1, 30)]]);
    book.total = 200;
    expect(judge(store, book.toData())).toMatchObject({
      ok: true,
      text: "REFEREE_OK (2 accounts, 4 events; money conserved)",
    });
  });

  it("objects to half of a transfer of unknown outcome, though each account by itself can be explained", () => {
    const { store, entities, book } = written(opened);
    book.total = 200;
    const legs = [
      { account: 0, sent: call(1, 0, 30) },
      { account: 1, sent: call(1, 30) },
    ];
    book.transferUnknown(legs, "TIMEOUT", false);
    expect(judge(store, book.toData())).toMatchObject({ ok: true, failures: { TIMEOUT: 1 } });
    addTo(entities, "account/b", call(1, 30));
    expect(objectionsTo(store, book.toData())).toEqual([
      "the balances add up to 230, 200 were paid in: money is not conserved",
    ]);
    addTo(entities, "account/a", call(1, 0, 30));
    expect(judge(store, book.toData()).ok).toBe(true);
  });
});

describe("judge: sagas", () => {
  function withSagas(ends: Record<string, number>, unfinished: readonly string[] = []) {
    const { store, book } = written(some);
    const sagas = { ends, unfinished: unfinished.length, unfinishedExamples: unfinished };
    return { store: { ...store, sagas }, book };
  }

  it("vouches for sagas that ended as their clients were told", () => {
    const { store, book } = withSagas({ COMMITTED: 2, COMPENSATED: 1 });
    for (const end of ["COMMITTED", "COMPENSATED", "COMMITTED"]) book.sagaEnded(end);
    expect(judge(store, book.toData())).toMatchObject({ ok: true, endedSagas: 3 });
    expect(judge(store, book.toData()).text).toContain("3 sagas, all ended");
  });

  it("objects to a saga that has not ended, by its name", () => {
    const { store, book } = withSagas({}, ["$saga/transfer-7"]);
    expect(objectionsTo(store, book.toData())).toEqual(["1 sagas have not ended, e.g. $saga/transfer-7"]);
  });

  it("objects to a saga that ended in another way than its client was told", () => {
    const { store, book } = withSagas({ COMPENSATED: 1 });
    book.sagaEnded("COMMITTED");
    expect(objectionsTo(store, book.toData())).toEqual([
      "1 sagas were said to be COMMITTED, the store holds 0",
      "1 sagas ended that nobody was told of; of 0 nobody knew",
    ]);
  });

  it("lets a saga of unknown outcome end in either way, and not twice", () => {
    const unknown = (ends: Record<string, number>) => {
      const { store, book } = withSagas(ends);
      book.transferUnknown([], "TIMEOUT", true);
      return judge(store, book.toData()).ok;
    };
    expect([unknown({}), unknown({ COMMITTED: 1 }), unknown({ COMPENSATED: 1 })]).toEqual([true, true, true]);
    expect(unknown({ COMMITTED: 1, COMPENSATED: 1 })).toBe(false);
  });
});

describe("judge: what it objects to", () => {
  it("P2: an acknowledged call that is missing", () => {
    const { store, book } = written(some);
    book.acknowledged(1, call(1, 5), { seq: 2, firstSeq: 2, count: 1, duplicate: false });
    expect(objectionsTo(store, book.toData())).toEqual([
      "account/b: sequence 2 was acknowledged, the store ends at 1",
      "account/b: the store holds -1 calls, -1 events, -5 credited, 0 debited against what was acknowledged",
    ]);
  });

  it("P4: a call that took effect twice", () => {
    const { store, entities, book } = written(some);
    addTo(entities, "account/b", call(1, 70));
    expect(objectionsTo(store, book.toData())[0]).toContain("+1 calls, +1 events, +70 credited");
  });

  it("an amount that is not what was sent", () => {
    const { store, entities, book } = written(some);
    entities.set("account/b", { ...entities.get("account/b")!, credited: 71 });
    expect(objectionsTo(store, book.toData())[0]).toContain("+1 credited");
  });

  it("a credit that became a debit, though their sum is the same", () => {
    const { store, entities, book } = written(some);
    entities.set("account/b", { ...entities.get("account/b")!, credited: 0, debited: 70 });
    expect(objectionsTo(store, book.toData())[0]).toContain("-70 credited, +70 debited");
  });

  it("two calls that changed places, though all totals are right", () => {
    const { store, entities, book } = written([
      [0, call(1, 10)],
      [0, call(1, 20)],
    ]);
    const places = placeOf(1, call(1, 20)) + placeOf(2, call(1, 10));
    entities.set("account/a", { ...entities.get("account/a")!, places: places >>> 0 });
    expect(objectionsTo(store, book.toData())).toEqual([
      "account/a: the events are all there, but not in the places that the receipts named",
    ]);
  });

  it("P5: half of a call of unknown outcome", () => {
    const { store, entities, book } = written(some);
    book.outcomeUnknown(0, call(2, 30, 20), "TIMEOUT");
    addTo(entities, "account/a", call(1, 30));
    expect(objectionsTo(store, book.toData())[0]).toContain(
      "which no choice of the 1 calls with unknown outcome explains",
    );
  });

  it("P4: a call of unknown outcome that took effect twice", () => {
    const { store, entities, book } = written(some);
    book.outcomeUnknown(0, call(1, 30), "TIMEOUT");
    addTo(entities, "account/a", call(1, 30));
    addTo(entities, "account/a", call(1, 30));
    expect(objectionsTo(store, book.toData())[0]).toContain("+2 calls");
  });

  it("an unknown call of another account that is taken as an excuse", () => {
    const { store, entities, book } = written(some);
    book.outcomeUnknown(1, call(1, 30), "TIMEOUT");
    addTo(entities, "account/a", call(1, 30));
    expect(objectionsTo(store, book.toData())).toHaveLength(1);
  });

  it("an entity that no client wrote to", () => {
    const { store, entities, book } = written(some);
    addTo(entities, "account/c", call(1, 1));
    expect(objectionsTo(store, book.toData())).toEqual(["account/c: 1 events that no client sent"]);
  });

  it("whatever the reader found wrong with the store by itself", () => {
    const { store, book } = written(some);
    expect(objectionsTo({ ...store, objections: ["a gap"] }, book.toData())).toEqual(["a gap"]);
  });

  it("receipts that contradict what was sent", () => {
    const { store, book } = written(some);
    book.acknowledged(0, call(2, 1), { seq: 9, firstSeq: 9, count: 1, duplicate: false });
    expect(objectionsTo(store, book.toData())[0]).toContain("1 receipts contradict what was sent");
  });

  it("a run in which nothing was acknowledged", () => {
    expect(objectionsTo({ entities: new Map(), objections: [], sagas: noSagas }, new Book(accounts).toData())).toEqual([
      "nothing was acknowledged, so nothing can be vouched for",
    ]);
  });
});

describe("judge: many calls of unknown outcome", () => {
  it("finds the choice that explains the store among sixty of one account", () => {
    const { store, entities, book } = written(some);
    for (let i = 0; i < 60; i++) book.outcomeUnknown(0, call(1, 100 + (i % 3)), "TIMEOUT");
    for (let i = 0; i < 30; i++) addTo(entities, "account/a", call(1, 100 + (i % 3)));
    expect(judge(store, book.toData())).toMatchObject({ ok: true, unknownCallsFound: 30 });
  });

  it("objects, rather than to search for ever, when each of them is different", () => {
    const { store, entities, book } = written(some);
    for (let i = 0; i < 40; i++) book.outcomeUnknown(0, call(1, 2 ** i), "TIMEOUT");
    for (let i = 0; i < 20; i++) addTo(entities, "account/a", call(1, 3));
    expect(judge(store, book.toData()).objections).toEqual([
      "account/a: its 40 calls of unknown outcome are too many to be told apart",
    ]);
  });
});
