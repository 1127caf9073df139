// The checker can fail: each fault that it knows is planted in a good store and must be named.
//
// A checker that finds nothing proves nothing unless this holds. Planted are faults such as a node would make: by losing,
// repeating, changing, tearing or reordering what it was given, and by telling its clients what is not so.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { check, type Rule, type StoredEntity, type StoredEvent } from "./checker.ts";
import type { Answer, KeptReceipt, LedgerData, PageRead, SentAppend, SentEvent, StateRead } from "./ledger.ts";

const entity = "account/alice";

/** A ledger and a store that agree, to be spoiled. Everything is a plain value of its own. */
interface World {
  appends: SentAppend[];
  states: StateRead[];
  pages: PageRead[];
  surprises: string[];
  store: { entity: string; shard: number | undefined; events: StoredEvent[]; state: StoredEntity["state"] }[];
}

/** What becomes of an append: its clients are told, or are not, and it happens or does not. */
type Fate = "acknowledged" | "unknown but there" | "unknown and not there" | "refused";

/** Appends of one account one after another, each with so many credits. */
function worldOf(plan: readonly { count: number; fate: Fate; id?: string }[]): World {
  const world: World = { appends: [], states: [], pages: [], surprises: [], store: [] };
  const events: StoredEvent[] = [];
  let clock = 0;
  for (const [number, { count, fate, id }] of plan.entries()) {
    const sent: SentEvent[] = Array.from({ length: count }, (_, index) => ({
      type: "Credited",
      amount: 10 + index,
      reference: `r${number}.${index}`,
    }));
    const [firstSeq, position, time] = [events.length + 1, 100 * (number + 1), 1_000 + number];
    const isThere = fate === "acknowledged" || fate === "unknown but there";
    if (isThere) {
      for (const [index, { type, amount, reference }] of sent.entries()) {
        const payload = { amount, reference };
        events.push({ seq: firstSeq + index, time, aggregate: "Account", type, payload, id, position });
      }
    }
    const receipt = { seq: events.length, firstSeq, count, shard: 0, position, time, duplicate: false };
    const answers: Record<Fate, Answer> = {
      acknowledged: { kind: "acknowledged", receipt },
      refused: { kind: "refused", code: "INVARIANT_VIOLATED" },
      "unknown but there": { kind: "unknown", code: "TIMEOUT" },
      "unknown and not there": { kind: "unknown", code: "TIMEOUT" },
    };
    const sendings = [{ sentAt: ++clock, answer: answers[fate], answeredAt: ++clock }];
    world.appends.push({ entity, events: sent, id, expectedSeq: undefined, lane: 1, sendings });
  }
  const balance = events.reduce((sum, event) => sum + (event.payload as SentEvent).amount, 0);
  world.store.push({ entity, shard: 0, events, state: { balance, seq: events.length } });
  world.states.push({ entity, sentAt: ++clock, answeredAt: ++clock, seq: events.length, balance });
  const page = events.map(({ seq, payload }) => ({ seq, reference: (payload as SentEvent).reference }));
  world.pages.push({ entity, sentAt: ++clock, answeredAt: ++clock, events: page });
  return world;
}

const good = () =>
  worldOf([
    { count: 1, fate: "acknowledged" },
    { count: 3, fate: "acknowledged", id: "first" },
    { count: 2, fate: "refused" },
    { count: 4, fate: "unknown but there" },
    { count: 2, fate: "unknown and not there" },
    { count: 2, fate: "acknowledged" },
  ]);

const rulesOf = (world: World) => [...new Set(check(world as LedgerData, world.store).map(({ rule }) => rule))];
const eventsOf = (world: World) => world.store[0]!.events;
/** As a node would number what it has. */
const renumber = (world: World) => {
  world.store[0]!.events = eventsOf(world).map((event, index) => ({ ...event, seq: index + 1 }));
};
const change = (world: World, index: number, to: Partial<StoredEvent>) => {
  eventsOf(world)[index] = { ...eventsOf(world)[index]!, ...to };
};
const changeReceipt = (world: World, append: number, to: Partial<KeptReceipt>) => {
  const sending = world.appends[append]!.sendings[0]!;
  if (sending.answer?.kind !== "acknowledged") throw new Error("that append has no receipt");
  sending.answer = { kind: "acknowledged", receipt: { ...sending.answer.receipt, ...to } };
};

describe("crash checker: a store that is as its clients were told", () => {
  it("has no faults, whatever the unknown calls did", () => {
    expect(check(good() as LedgerData, good().store)).toEqual([]);
  });

  it("has no faults in any mixture of fates", () => {
    const fates = fc.constantFrom<Fate>("acknowledged", "unknown but there", "unknown and not there", "refused");
    const plans = fc.array(fc.record({ count: fc.integer({ min: 1, max: 5 }), fate: fates }), { maxLength: 12 });
    fc.assert(fc.property(plans, (plan) => rulesOf(worldOf(plan)).length === 0));
  });

  it("may lack an entity of which nothing is known to have happened", () => {
    const world = worldOf([{ count: 2, fate: "unknown and not there" }]);
    expect(check({ ...world, states: [], pages: [] }, [])).toEqual([]);
  });
});

describe("crash checker: a planted fault is found", () => {
  const faults: [string, (world: World) => void, Rule[]][] = [
    ["P2 an acknowledged event that is lost", (w) => void eventsOf(w).pop(), ["lost"]],
    [
      "P2 an acknowledged append that is lost as a whole, with the rest numbered anew",
      (w) => {
        eventsOf(w).splice(1, 3);
        renumber(w);
      },
      ["lost"],
    ],
    ["P2 an entity that is lost", (w) => void w.store.pop(), ["lost"]],
    [
      "P4 an acknowledged event that is there twice",
      (w) => {
        eventsOf(w).push({ ...eventsOf(w)[0]!, position: 900, time: 2_000 });
        renumber(w);
      },
      ["doubled"],
    ],
    [
      "P4 an unanswered append that is there twice",
      (w) => {
        const again = eventsOf(w).slice(4, 8);
        eventsOf(w).push(...again.map((event) => ({ ...event, position: 900, time: 2_000 })));
        renumber(w);
      },
      ["doubled"],
    ],
    ["P4 an append that took effect twice by its receipts", (w) => takeEffectTwice(w, {}), ["doubled"]],
    ["P4 two receipts that differ", (w) => takeEffectTwice(w, { duplicate: true, firstSeq: 9 }), ["doubled"]],
    ["P5 an amount that is altered", (w) => change(w, 0, { payload: { amount: 11, reference: "r0.0" } }), ["altered"]],
    ["P5 a type that is altered", (w) => change(w, 0, { type: "Debited" }), ["altered", "rule"]],
    ["P5 an id that is altered", (w) => change(w, 1, { id: "second" }), ["altered"]],
    [
      "P5 a field that was added",
      (w) => change(w, 0, { payload: { amount: 10, reference: "r0.0", x: 1 } }),
      ["altered"],
    ],
    [
      "P5 half of an acknowledged append",
      (w) => {
        eventsOf(w).splice(2, 2);
        renumber(w);
      },
      ["torn", "lost"],
    ],
    [
      "P5 half of an unanswered append",
      (w) => {
        eventsOf(w).splice(6, 2);
        renumber(w);
      },
      ["torn"],
    ],
    [
      "P5 events of an append in another order",
      (w) => {
        const [a, b] = [eventsOf(w)[1]!, eventsOf(w)[2]!];
        change(w, 1, { ...b });
        change(w, 2, { ...a });
        renumber(w);
      },
      ["torn"],
    ],
    ["P5 an append at two positions", (w) => change(w, 9, { position: 650 }), ["torn"]],
    [
      "P5 an event that nobody sent",
      (w) => {
        const payload = { amount: 1, reference: "nobody's" };
        eventsOf(w).push({ ...eventsOf(w)[9]!, seq: 11, payload, position: 900 });
      },
      ["invented"],
    ],
    ["P5 an event without a reference", (w) => change(w, 9, { payload: 7 }), ["invented"]],
    [
      "P5 an entity that nobody wrote",
      (w) => w.store.push({ ...w.store[0]!, entity: "account/mallory", events: [eventsOf(w)[0]!] }),
      ["invented"],
    ],
    [
      "P3 an append that was refused and is there",
      (w) => {
        const events = w.appends[2]!.events.map(({ type, amount, reference }, index) => {
          const payload = { amount, reference };
          return { seq: 11 + index, time: 2_000, aggregate: "Account", type, payload, id: undefined, position: 900 };
        });
        eventsOf(w).push(...events);
      },
      ["invented"],
    ],
    ["P3 a balance below zero", (w) => overdraw(w), ["rule"]],
    ["P1 a sequence that is left out", (w) => change(w, 9, { seq: 11 }), ["gap"]],
    ["P1 a sequence that is there twice", (w) => change(w, 9, { seq: 9 }), ["gap"]],
    ["P1 a position that falls", (w) => change(w, 0, { position: 5_000 }), ["gap"]],
    ["P1 a time that falls", (w) => change(w, 0, { time: 5_000 }), ["gap"]],
    [
      "P1 two acknowledged appends in each other's place",
      (w) => {
        const events = eventsOf(w);
        w.store[0]!.events = [...events.slice(1, 4), events[0]!, ...events.slice(4)];
        renumber(w);
      },
      ["lost", "order"],
    ],
    [
      "P1 an unanswered append that stands before what was over when it began",
      (w) => {
        const events = eventsOf(w);
        w.store[0]!.events = [...events.slice(4, 8), ...events.slice(0, 4), ...events.slice(8)];
        renumber(w);
      },
      ["order"],
    ],
    ["P1 appends of one client in another order", (w) => swapUnanswered(w), ["order"]],
    ["P1 an append that does not follow what it expected", (w) => expectAt(w, 5, 7), ["order"]],
    [
      "a state that is behind",
      (w) => {
        w.store[0]!.state = { balance: 10, seq: 1 };
      },
      ["state"],
    ],
    [
      "a state at another sequence",
      (w) => {
        w.store[0]!.state = { ...w.store[0]!.state!, seq: 9 };
      },
      ["state"],
    ],
    [
      "a state with another sum",
      (w) => {
        w.store[0]!.state = { balance: 1, seq: 10 };
      },
      ["state"],
    ],
    ["P2 a read of a state that is gone", (w) => readBefore(w, 10, 5), ["read"]],
    [
      "P2 a read of an event that is gone",
      (w) => {
        w.pages[0] = pageOf(w, 11, "r9.9");
      },
      ["read"],
    ],
    [
      "P2 a read that misses what was over before it",
      (w) => {
        w.states[0] = { ...w.states[0]!, ...past };
      },
      ["order"],
    ],
    ["a receipt for another sequence", (w) => changeReceipt(w, 0, { firstSeq: 2, seq: 2 }), ["lost"]],
    ["a receipt for fewer events", (w) => changeReceipt(w, 1, { count: 2 }), ["altered"]],
    ["a receipt for another position", (w) => changeReceipt(w, 0, { position: 101 }), ["altered"]],
    ["a receipt with another time", (w) => changeReceipt(w, 0, { time: 1 }), ["altered"]],
    ["a receipt of another shard", (w) => changeReceipt(w, 0, { shard: 1 }), ["altered"]],
    ["an entity in two places", (w) => w.store.push({ ...w.store[0]!, events: [], state: undefined }), ["doubled"]],
    ["P7 an answer that no call should get", (w) => w.surprises.push("BAD_FRAME"), ["surprise"]],
  ];

  it.each(faults)("%s", (_title, plant, rules) => {
    const world = good();
    plant(world);
    expect(rulesOf(world)).toEqual(expect.arrayContaining(rules));
  });

  it("P2 P5 wherever an event is taken away, doubled or changed", () => {
    const spoil: Record<string, (world: World, at: number) => void> = {
      "take away": (world, at) => void eventsOf(world).splice(at, 1),
      double: (world, at) => void eventsOf(world).splice(at, 0, eventsOf(world)[at]!),
      change: (world, at) => {
        const payload = eventsOf(world)[at]!.payload as SentEvent;
        change(world, at, { payload: { ...payload, amount: payload.amount + 1 } });
      },
    };
    for (const [name, how] of Object.entries(spoil)) {
      for (let at = 0; at < eventsOf(good()).length; at++) {
        const world = { ...good(), states: [], pages: [] };
        how(world, at);
        renumber(world);
        world.store[0]!.state = undefined;
        expect(rulesOf(world), `${name} event ${at + 1}`).not.toEqual([]);
      }
    }
  });
});

/** The sum at sequence 1. */
const past = { seq: 1, balance: 10 };

function takeEffectTwice(world: World, other: Partial<KeptReceipt>): void {
  const { sendings } = world.appends[1]!;
  const [first] = sendings;
  if (first?.answer?.kind !== "acknowledged") throw new Error("that append has no receipt");
  const receipt = { ...first.answer.receipt, ...other };
  sendings.push({ sentAt: 90, answer: { kind: "acknowledged", receipt }, answeredAt: 91 });
}

/** The ledger agrees: only the rule itself is broken. */
function overdraw(world: World): void {
  const sent: SentEvent = { type: "Debited", amount: 1_000, reference: "too much" };
  const sendings = [{ sentAt: 90, answer: undefined, answeredAt: Infinity }];
  world.appends.push({ entity, events: [sent], id: undefined, expectedSeq: undefined, lane: undefined, sendings });
  const payload = { amount: 1_000, reference: "too much" };
  eventsOf(world).push({ ...eventsOf(world)[9]!, seq: 11, type: "Debited", payload, position: 900 });
}

/** Two calls without an answer that were under way together: only their lane says which comes first. */
function swapUnanswered(world: World): void {
  const other = worldOf([
    { count: 1, fate: "unknown but there" },
    { count: 1, fate: "unknown but there" },
  ]);
  for (const { sendings } of other.appends) sendings[0]!.answeredAt = Infinity;
  const [first, second] = eventsOf(other);
  other.store[0]!.events = [
    { ...second!, seq: 1 },
    { ...first!, seq: 2, time: second!.time, position: 300 },
  ];
  Object.assign(world, other);
}

function expectAt(world: World, append: number, expectedSeq: number): void {
  world.appends[append] = { ...world.appends[append]!, expectedSeq };
}

function readBefore(world: World, seq: number, balance: number): void {
  world.states[0] = { ...world.states[0]!, seq, balance };
}

function pageOf(world: World, seq: number, reference: string): PageRead {
  return { ...world.pages[0]!, events: [{ seq, reference }] };
}
