// Goal: the page docs/how-to/simulate-your-domain.md is right. Its snippets are the regions below.
// Each rule of the simulator in detail: simulation/simulate.int.spec.ts.
import { command, defineAggregate, defineContext, event, reject } from "@heddle/domain";
import { describe, expect, it } from "vitest";
import { z } from "zod";
// #region imports
import { type SimulatedWorld, simulate } from "./index.ts";

// #endregion imports

// #region domain
const guest = z.object({ guest: z.string() });

const Show = defineAggregate("Show", {
  version: 1,
  initial: (): { guests: readonly string[] } => ({ guests: [] }),
  events: {
    Booked: event(guest, (s, e) => ({ guests: [...s.guests, e.guest] })),
    Released: event(guest, (s, e) => ({ guests: s.guests.filter((other) => other !== e.guest) })),
  },
  invariants: { "a show has ten seats": (s) => s.guests.length <= 10 },
});

const price = z.object({ amount: z.number().int().positive() });

const Wallet = defineAggregate("Wallet", {
  version: 1,
  initial: () => ({ money: 0 }),
  events: {
    PaidIn: event(price, (s, e) => ({ money: s.money + e.amount })),
    Paid: event(price, (s, e) => ({ money: s.money - e.amount })),
  },
  commands: {
    Pay: command(price, (s, { amount }) =>
      s.money < amount ? reject("TOO_POOR") : { type: "Paid", payload: { amount } },
    ),
  },
});

const theatre = defineContext("theatre", { aggregates: [Show, Wallet] });
// #endregion domain

// #region workload
const guests = Array.from({ length: 12 }, (_, i) => `guest-${i}`);

/** Every guest has a client and pays for a seat. Who is answered with an error asks again: the saga's id makes it safe. */
async function everybodyBooks(world: SimulatedWorld<typeof theatre>): Promise<void> {
  await Promise.all(guests.map((name) => book(world, name)));
}

async function book(world: SimulatedWorld<typeof theatre>, name: string): Promise<void> {
  const db = world.client();
  const payIn = { amount: 10 + world.below(20) };
  await untilAnswered(world, () =>
    db.entity(`wallet/${name}`).append("PaidIn", payIn, { aggregate: "Wallet", id: "pay-in" }),
  );
  await world.sleep(world.below(1_000));
  await untilAnswered(world, () =>
    db
      .saga(`book-${name}`)
      .step(
        "show/hamlet",
        { type: "Booked", payload: { guest: name } },
        { type: "Released", payload: { guest: name } },
        { aggregate: "Show" },
      )
      .step(`wallet/${name}`, { command: "Pay", input: { amount: 15 } }, null, { aggregate: "Wallet" })
      .commit(),
  );
}

async function untilAnswered(world: SimulatedWorld<typeof theatre>, ask: () => Promise<unknown>): Promise<void> {
  for (;;) {
    try {
      await ask();
      return;
    } catch (error) {
      world.note(`asks again after: ${(error as Error).message}`);
      await world.sleep(100);
    }
  }
}
// #endregion workload

// #region check
/** Nobody sits for nothing, and nobody has paid for nothing. */
async function seatsArePaid(world: SimulatedWorld<typeof theatre>): Promise<void> {
  const db = world.client();
  const { state } = await db.entity("show/hamlet").get("Show");
  for (const name of guests) {
    const payments = await db.entity(`wallet/${name}`).history({ aggregate: "Wallet" });
    const hasPaid = payments.some(({ type }) => type === "Paid");
    const hasSeat = state.guests.includes(name);
    if (hasPaid !== hasSeat)
      world.violation(`${name} has ${hasPaid ? "paid, and no seat" : "a seat, and has not paid"}`);
  }
}
// #endregion check

describe("simulating a domain", { timeout: 240_000 }, () => {
  // #region test
  it("sells no seat without its price, whatever breaks", async () => {
    for (let seed = 1; seed <= 25; seed++) {
      const result = await simulate({ context: theatre, seed, workload: everybodyBooks, check: seatsArePaid });
      expect(result.violations, `seed ${seed}`).toEqual([]);
    }
  });
  // #endregion test

  it("finds a workload that forgets the id: a pay-in that is asked for again happens more than once", async () => {
    const withoutId = async (world: SimulatedWorld<typeof theatre>) => {
      const db = world.client({ timeoutMs: 50 });
      const payIn = { amount: 1 };
      await untilAnswered(world, () => db.entity("wallet/once").append("PaidIn", payIn, { aggregate: "Wallet" }));
    };
    const isOnce = async (world: SimulatedWorld<typeof theatre>) => {
      const { state } = await world.client().entity("wallet/once").get("Wallet");
      if (state.money !== 1) world.violation(`paid in ${state.money} times`);
    };
    // #region faults
    const faults = { slowSyncs: 0.5, delayedMessages: 0.2 };
    // #endregion faults
    const found: string[] = [];
    for (let seed = 1; seed <= 10; seed++) {
      const result = await simulate({ context: theatre, seed, faults, workload: withoutId, check: isOnce });
      found.push(...result.violations);
    }
    expect(found).toContainEqual(expect.stringMatching(/^paid in ([2-9]|\d\d+) times$/));
  });
});
