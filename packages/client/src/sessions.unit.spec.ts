// Goal: questions that wait at the node hold no call up, and are cut off at once when the client closes.
// Method: a scripted node behind the client's ports; time is moved by hand.
// Tested elsewhere: sessions of calls (session.unit.spec.ts).
import { HeddleError, limits } from "@heddle/kernel";
import { requestKind } from "@heddle/protocol/internal";
import { describe, expect, it } from "vitest";
import { LongPoll, pollWaitMs } from "./long-poll.ts";
import { type HeddleOptions, readOptions } from "./options.ts";
import { failure, outcome, ScriptedNode, value } from "./scripted-node.spec-support.ts";
import type { CallOptions } from "./session.ts";
import { Sessions } from "./sessions.ts";

const writeNothing = (_: undefined, reserve: (bytes: number) => unknown): number => {
  reserve(0);
  return 0;
};

function open(options: HeddleOptions = {}) {
  const node = new ScriptedNode();
  const sessions = new Sessions(readOptions(undefined, options), node.ports);
  const wait = (options?: CallOptions) =>
    sessions.waiting().request<number, undefined>(requestKind.watch, 0, writeNothing, undefined, options);
  const call = () => sessions.of(0).request(requestKind.get, 0, writeNothing, undefined, undefined);
  return { node, sessions, wait, call };
}

describe("sessions: waiting calls", () => {
  it("hold no other call up, however many numbers go by", async () => {
    const { node, wait, call } = open();
    const first = wait();
    const rest = Array.from({ length: 999 }, () => wait());
    await node.world.settle();
    const [waiting] = node.connections;
    for (let round = 0; round < 9; round++) {
      const before = waiting!.arrived.length;
      waiting!.say(...waiting!.arrived.slice(round === 0 ? 1 : before - 999).map(({ call }) => value(call, round)));
      await Promise.all(rest);
      rest.splice(0, 999, ...Array.from({ length: 999 }, () => wait()));
      await node.world.settle();
    }
    expect(waiting!.arrived.at(-1)!.call).toBeGreaterThan(limits.sessionCallsMax);
    const called = call();
    await node.world.settle();
    node.connection.say(value(1, "at once"));
    expect(await called).toBe("at once");
    waiting!.say(value(1, "late"));
    expect(await first).toBe("late");
  });

  it("take a connection of their own, and another for each further thousand", async () => {
    const { node, wait, call } = open();
    void call();
    const some = Array.from({ length: 1_001 }, () => wait());
    await node.world.settle();
    expect(node.connections.map(({ arrived }) => arrived.length).sort((a, b) => a - b)).toEqual([1, 1, 1_000]);
    const full = node.connections.find(({ arrived }) => arrived.length === 1_000)!;
    full.receipts();
    await some[0];
    void wait();
    await node.world.settle();
    expect(full.arrived).toHaveLength(1_001);
    expect(node.connections).toHaveLength(3);
  });

  it("S6 end at once with CLOSED when the client closes, and leave no timer", async () => {
    const { node, sessions, wait } = open();
    const sent = outcome(wait());
    await node.world.settle();
    const unsent = outcome(wait());
    const closing = sessions.close(10_000);
    expect(await sent).toMatchObject({ error: { code: "CLOSED" } });
    expect(await unsent).toMatchObject({ error: { code: "CLOSED" } });
    await node.world.settle();
    await closing;
    expect(node.world.timers).toBe(0);
    expect(await outcome(wait())).toMatchObject({ error: { code: "CLOSED" } });
  });

  it("are sent again over the next connection when theirs is lost", async () => {
    const { node, wait } = open();
    const answer = wait();
    await node.world.settle();
    node.connection.end(new Error("reset"));
    await node.world.pass(50);
    expect(node.connections).toHaveLength(2);
    expect(node.connection.arrived.map(({ call }) => call)).toEqual([1]);
    node.connection.say(value(1, 7));
    expect(await answer).toBe(7);
  });
});

describe("long poll", () => {
  const question = { kind: requestKind.watch, hash: 0, body: writeNothing, decode: (value: unknown) => value };

  it("asks again when an answer is overdue, and when the node refuses for longer than a call may take", async () => {
    const { node, sessions } = open({ heartbeatMs: 600_000 });
    const answer = new LongPoll<undefined, unknown>(sessions, question, undefined).ask(undefined);
    await node.world.pass(pollWaitMs + 20_100);
    expect(node.arrived.map(({ call }) => call)).toEqual([1, 2]);
    node.connection.answer = (request) => failure(request.call);
    node.connection.say(failure(2));
    await node.world.pass(60_000);
    expect(node.arrived.at(-1)!.call).toBeGreaterThan(2);
    node.connection.answer = (request) => value(request.call, "there");
    await node.world.pass(2_000);
    expect(await answer).toBe("there");
  });

  it("gives a refusal that does not pass to its caller", async () => {
    const { node, sessions } = open();
    const answer = outcome(new LongPoll<undefined, unknown>(sessions, question, undefined).ask(undefined));
    await node.world.settle();
    node.connection.say(failure(1, new HeddleError("ERASED", { entity: "account/alice", seq: 3, time: 5 })));
    expect(await answer).toMatchObject({ error: { code: "ERASED" } });
  });

  it("gives up when there never was a node, and waits for one that was there", async () => {
    const { node, sessions } = open();
    node.onConnect = "refuse";
    const poll = new LongPoll<undefined, unknown>(sessions, question, undefined);
    const never = outcome(poll.ask(undefined));
    await node.world.pass(6_000);
    expect(await never).toMatchObject({ error: { code: "CONNECTION_FAILED" } });
    node.onConnect = "welcome";
    const first = poll.ask(undefined);
    await node.world.pass(100);
    node.connection.receipts();
    await first;
    node.onConnect = "refuse";
    node.connection.end();
    const second = poll.ask(undefined);
    await node.world.pass(300_000);
    node.onConnect = "welcome";
    await node.world.pass(3_000);
    node.connection.say(value(node.connection.arrived.at(-1)!.call, "back"));
    expect(await second).toBe("back");
  });

  it("ends with the reason of its signal", async () => {
    const { node, sessions } = open();
    const controller = new AbortController();
    const answer = outcome(new LongPoll<undefined, unknown>(sessions, question, controller.signal).ask(undefined));
    await node.world.settle();
    controller.abort(new Error("enough"));
    expect(await answer).toMatchObject({ error: { message: "enough" } });
  });
});
