// Goal: docs/how-to/write-a-saga.md: its commands run and print what it says, and its code does what it promises.
import path from "node:path";
import { fileURLToPath } from "node:url";
import { committed, Heddle, type SagaResult } from "@heddle/client";
import { beforeEach, describe, expect, it } from "vitest";
import { runPage } from "../support/how-to-page.ts";
import { newFolder, startTestNode } from "../support/node.ts";
import type trips from "./trips.ts";

const domain = fileURLToPath(new URL("./trips.ts", import.meta.url));
const start = () => startTestNode({ domain, shards: 4, threads: 2 });
type Trips = Heddle<typeof trips>;

// #region builder
export function bookByHand(db: Trips, id: string, flight: string, hotel: string, purse: string, price: number) {
  return db
    .saga(id, { timeoutMs: 20_000, stepTimeoutMs: 5_000 })
    .parallel((side) =>
      side
        .step(
          flight,
          { command: "TakeSeat", input: {} },
          { command: "GiveSeatBack", input: {} },
          { aggregate: "Flight" },
        )
        .step(
          hotel,
          { type: "RoomTaken", payload: {} },
          { type: "RoomGivenBack", payload: {} },
          { aggregate: "Hotel" },
        ),
    )
    .step(purse, { command: "Pay", input: { amount: price } }, null, { aggregate: "Purse" })
    .commit();
}
// #endregion builder

// #region named
export function book(db: Trips, id: string, flight: string, hotel: string, purse: string, price: number) {
  return db.runSaga("book-trip", id, { flight, hotel, purse, price }, { timeoutMs: 20_000 });
}
// #endregion named

// #region result
/** What the customer is told. */
export function answerOf({ resultType, steps }: SagaResult): string {
  if (resultType === "COMMITTED") return "It is booked.";
  const no = steps.find(({ state }) => state === "refused");
  if (resultType === "COMPENSATED") return `Nothing is booked: ${no?.problem?.message ?? "it took too long"}.`;
  return "We look into it, and come back to you."; // STUCK: it waits for an operator
}
// #endregion result

// #region http
export async function bookOverHttp(node: string, id: string, input: object): Promise<SagaResult> {
  const answer = await fetch(`${node}/v1/sagas/${encodeURIComponent(id)}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name: "book-trip", input, timeoutMs: 20_000 }),
  });
  if (!answer.ok) throw new Error(await answer.text());
  return (await answer.json()) as SagaResult;
}
// #endregion http

async function open(db: Trips, places: number): Promise<void> {
  committed(await db.entity("flight/le-1").append("Scheduled", { places }, { aggregate: "Flight" }));
  committed(await db.entity("hotel/moon").append("RoomsOpened", { places }, { aggregate: "Hotel" }));
  committed(await db.entity("purse/ann").append("Filled", { amount: 700 }, { aggregate: "Purse" }));
}

const free = async (db: Trips) => [
  (await db.entity("flight/le-1").get("Flight")).state.free,
  (await db.entity("hotel/moon").get("Hotel")).state.free,
  (await db.entity("purse/ann").get("Purse")).state.balance,
];

const [flight, hotel, purse] = ["flight/le-1", "hotel/moon", "purse/ann"] as const;

describe("write-a-saga.md", () => {
  let id = 0;
  const next = () => `trip-${++id}`;
  beforeEach(() => {
    id = 0;
  });

  it("its three ways book the same, each once for its id", async () => {
    await using node = await start();
    await using db: Trips = new Heddle({ port: node.port });
    await open(db, 4);
    for (const way of [
      (trip: string) => bookByHand(db, trip, flight, hotel, purse, 200),
      (trip: string) => book(db, trip, flight, hotel, purse, 200),
      (trip: string) => bookOverHttp(node.http, trip, { flight, hotel, purse, price: 200 }),
    ]) {
      const trip = next();
      for (const duplicate of [false, true]) {
        const result = await way(trip);
        expect(result).toMatchObject({ resultType: "COMMITTED", duplicate });
        expect(answerOf(result)).toBe("It is booked.");
      }
    }
    expect(await free(db)).toEqual([1, 1, 100]);
  });

  it("what one step says no to is undone by the others, and the result says why", async () => {
    await using node = await start();
    await using db: Trips = new Heddle({ port: node.port });
    await open(db, 1);
    const dear = await book(db, next(), flight, hotel, purse, 900);
    expect(dear.steps.map(({ state }) => state)).toEqual(["compensated", "compensated", "refused"]);
    expect(answerOf(dear)).toBe("Nothing is booked: Pay was rejected: TOO_DEAR.");
    expect(answerOf(await bookByHand(db, next(), flight, hotel, purse, 100))).toBe("It is booked.");
    const full = await bookByHand(db, next(), flight, hotel, purse, 100);
    expect(full.steps.map(({ state }) => state)).toEqual(["refused", "refused", "waiting"]);
    expect(answerOf(full)).toBe("Nothing is booked: TakeSeat was rejected: FULL.");
    expect(await free(db)).toEqual([0, 0, 600]);
  });

  it("its commands run, and print what it says", async () => {
    const folder = newFolder();
    await using node = await startTestNode({ domain, data: path.join(folder, "data"), shards: 4, threads: 2 });
    await runPage("write-a-saga.md", folder, node.url);
  });
});
