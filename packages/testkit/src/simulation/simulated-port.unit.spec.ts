// Goal: messages between threads keep their order, and a lost thread is heard of once, behind what still arrives.
import { describe, expect, it } from "vitest";
import { type Packed, SimulatedPort } from "./simulated-port.ts";
import { SimulatedTime } from "./simulated-time.ts";

interface Heard {
  readonly at: string;
  readonly what: number | "closed";
}

function twoThreads() {
  const time = new SimulatedTime();
  const heard: Heard[] = [];
  const [one, other] = SimulatedPort.pair({
    time,
    delayMs: () => 1,
    from: 1,
    to: 2,
    onTheWay: undefined,
    onSent: () => {},
    arriveAt: (_thread, arrive) => arrive(),
  });
  for (const [at, port] of [
    ["one", one],
    ["other", other],
  ] as const) {
    port.on("message", (message) => heard.push({ at, what: message[0]! }));
    port.on("close", () => heard.push({ at, what: "closed" }));
  }
  const run = () =>
    time.runUntil(
      () => false,
      (error) => {
        throw error;
      },
    );
  return { time, one, other, heard, run };
}

const message = (byte: number): Packed => Uint8Array.of(byte);

describe("a simulated port", () => {
  it("brings messages to the other end, in order", async () => {
    const { one, other, heard, run } = twoThreads();
    one.postMessage(message(1));
    other.postMessage(message(7));
    one.postMessage(message(2));
    await run();
    expect(heard).toEqual([
      { at: "other", what: 1 },
      { at: "one", what: 7 },
      { at: "other", what: 2 },
    ]);
  });

  it("tells the other end of a lost thread, behind what that had sent", async () => {
    const { one, heard, run } = twoThreads();
    one.postMessage(message(1));
    one.die(false);
    await run();
    expect(heard).toEqual([
      { at: "other", what: 1 },
      { at: "other", what: "closed" },
    ]);
  });

  it("may lose what a lost thread had sent, but not that it is lost", async () => {
    const { one, heard, run } = twoThreads();
    one.postMessage(message(1));
    one.die(true);
    await run();
    expect(heard).toEqual([{ at: "other", what: "closed" }]);
  });

  it("brings nothing to an end whose thread is gone", async () => {
    const { one, other, heard, run } = twoThreads();
    other.postMessage(message(7));
    one.die(true);
    other.die(true);
    await run();
    expect(heard).toEqual([]);
  });
});
