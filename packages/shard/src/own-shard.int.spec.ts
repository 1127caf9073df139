// Goal: what Heddle writes to its own entities on the short way is what a frame would have written: durable before it is answered,
// there after a crash, refused where a frame is refused. Only the way is shorter.
// And what is decided early is what a frame would decide: only the answer comes sooner.
// Method: a kind of Heddle's own over the simulated disk, the same events on both ways. Tested elsewhere: that packers pack what
// they say (saga-events.unit.spec.ts), sagas and reminders on this way (their own specs, the simulator).
import { type AnyAggregate, defineAggregate, event } from "@heddle/domain";
import {
  copyBytes,
  decodeValue,
  encodeValue,
  type Reply,
  requestKind,
  writeAppendBody,
} from "@heddle/protocol/internal";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { alice, bank, credit, debit } from "./bank.spec-support.ts";
import { appendOwn, decideOwn, OwnEvent, type PayloadPacker, whenDurable } from "./own-shard.ts";
import { innerConnectionMin } from "./shard-calls.ts";
import {
  type BesidePorts,
  closeAll,
  failure,
  openShard,
  receipt,
  rejected,
  type ShardUnderTest,
  type ShardUnderTestOptions,
  value,
} from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

interface Moved {
  readonly to: number;
}

const kind = (name: string): AnyAggregate =>
  defineAggregate(name, {
    version: 1,
    initial: () => ({ to: 0, moves: 0 }),
    events: {
      Moved: event(z.object({ to: z.number() }), ({ moves }, { to }) => ({
        // Zero has a sign that msgpack does not keep.
        to: 1 / to < 0 ? -1 : to,
        moves: moves + 1,
      })),
    },
  });

const packer: PayloadPacker<Moved> = {
  stored: (payload) => decodeValue(encodeValue(payload)) as Moved,
  room: () => 16,
  pack(payload, bytes, at) {
    const packed = encodeValue(payload);
    return copyBytes(packed, 0, packed.length, bytes, at);
  },
};

function openWithOwn(options: ShardUnderTestOptions = {}) {
  let ports!: BesidePorts;
  const under = openShard(bank, {
    ...options,
    system: [kind("$saga"), kind("$reminders")],
    beside: (given) => {
      ports = given;
      return {};
    },
  });
  /** On the short way. */
  const own = (
    entity: string,
    to: number,
    expectedSeq = -1,
  ): Promise<Reply> & { readonly reply: Reply | undefined } => {
    let reply: Reply | undefined;
    const moved = new OwnEvent<Moved>(ports.domain, entity.slice(0, entity.indexOf("/")), "Moved", packer);
    const answered = new Promise<Reply>((resolve) => {
      appendOwn(ports.shard(), ports.calls, entity, moved, { to }, expectedSeq, (given) => {
        reply = given;
        resolve(given);
      });
    });
    return Object.defineProperty(answered, "reply", { get: () => reply }) as never;
  };
  /** Decides an append early; undefined when the shard leaves it to a frame. */
  const early = (fields: Parameters<typeof writeAppendBody>[0]): { reply: Reply | undefined } | undefined => {
    let bytes = new Uint8Array();
    const used = writeAppendBody(fields, (wanted) => {
      bytes = new Uint8Array(wanted);
      return { bytes, at: 0 };
    });
    const asked: { reply: Reply | undefined } = { reply: undefined };
    const isDecided = decideOwn(ports.shard(), ports.calls, requestKind.append, bytes, 0, used, (reply) => {
      asked.reply = reply;
    });
    return isDecided ? asked : undefined;
  };
  const durable = (): { reply: Reply | undefined } => {
    const asked: { reply: Reply | undefined } = { reply: undefined };
    whenDurable(ports.shard(), ports.calls, (reply) => {
      asked.reply = reply;
    });
    return asked;
  };
  return { under, own, early, durable };
}

/** In a frame. */
function framed(under: ShardUnderTest, entity: string, to: number) {
  const aggregate = entity.slice(0, entity.indexOf("/"));
  const events = [{ type: "Moved", payload: { to } }];
  return under.append({ entity, aggregate, events }, { session: innerConnectionMin + 1 });
}

const count = (under: ShardUnderTest) => under.logEntries().length;

describe("Heddle's own events on the short way", () => {
  it("stand in the history, the state and the list of types as those that came in a frame", async () => {
    const { under, own } = openWithOwn();
    for (const to of [7, 8, 9]) {
      const [a, b] = [receipt(await own("$saga/a", to)), receipt(await framed(under, "$saga/b", to))];
      expect({ ...a, position: 0, time: 0 }).toEqual({ ...b, position: 0, time: 0 });
    }
    const facts = async (entity: string) =>
      (await under.events(entity)).map(([seq, , aggregate, type, payload, metadata, id, version]) => {
        return { seq, aggregate, type, payload, metadata, id, version };
      });
    for (const when of ["in memory", "after a checkpoint", "after a restart", "from the log alone"]) {
      expect(await facts("$saga/a"), when).toEqual(await facts("$saga/b"));
      expect(await under.state("$saga/a", "$saga"), when).toEqual({ state: { to: 9, moves: 3 }, seq: 3 });
      if (when === "in memory") await under.checkpoint();
      else if (when === "after a checkpoint") await under.restart();
      else if (when === "after a restart") {
        await under.crash("nothing");
        under.startWithEmptyPartition();
      }
    }
  });

  it("P5: are folded as they will be read, whatever msgpack does not keep of them", async () => {
    const { under, own } = openWithOwn();
    // What is not durable cannot have been read again.
    under.disk.holdSyncs();
    void own("$saga/a", -0);
    const asked = under.get("$saga/a", "$saga");
    await under.turns();
    under.disk.releaseSyncs();
    expect(value(await asked)).toMatchObject({ state: { to: 0, moves: 1 } });
    await under.crash("nothing");
    under.start();
    expect(await under.state("$saga/a", "$saga")).toMatchObject({ state: { to: 0, moves: 1 } });
  });

  it("P2: are answered when they are durable, and not before", async () => {
    const { under, own } = openWithOwn();
    under.disk.holdSyncs();
    const asked = [own("$saga/a", 1), own("$saga/a", 2)];
    await under.turns();
    expect(asked.map(({ reply }) => reply)).toEqual([undefined, undefined]);
    under.disk.releaseSyncs();
    expect([receipt(await asked[0]!).seq, receipt(await asked[1]!).seq]).toEqual([1, 2]);
  });

  it("P5: are gone with a group that was never written, and there with one that was", async () => {
    for (const survival of ["nothing", "everything"] as const) {
      const { under, own } = openWithOwn();
      receipt(await own("$saga/a", 1));
      under.disk.holdSyncs();
      void own("$saga/a", 2);
      await under.turns();
      await under.crash(survival);
      under.start();
      const moves = survival === "nothing" ? 1 : 2;
      expect(await under.state("$saga/a", "$saga")).toEqual({ state: { to: moves, moves }, seq: moves });
    }
  });

  it("P2: are answered with an error when their group fails, and can be written again", async () => {
    const { under, own } = openWithOwn();
    under.disk.failNextSync();
    expect(failure(await own("$saga/a", 1, 0))).toMatchObject({ retryable: true });
    await under.until(() => under.shard.state === "open");
    const { seq } = await under.state("$saga/a", "$saga");
    expect(receipt(await own("$saga/a", 2, seq)).seq).toBe(seq + 1);
  });

  it("are refused as a frame is: another sequence than expected, reminders of nobody, an erased entity", async () => {
    const { under, own } = openWithOwn();
    receipt(await own("$saga/a", 1, 0));
    expect(rejected(await own("$saga/a", 2, 0))).toMatchObject({ code: "SEQUENCE_CONFLICT" });
    await under.erase("$saga/a", { session: innerConnectionMin + 1 });
    expect(failure(await own("$saga/a", 2))).toMatchObject({ code: "ERASED" });
    expect(failure(await own(`$reminders/${alice}`, 1))).toMatchObject({ code: "INVALID_REQUEST" });
    receipt(await under.append(credit(alice, 1)));
    receipt(await own(`$reminders/${alice}`, 1));
    await under.erase(alice);
    await under.until(() => under.shard.stats().erasures === 0);
    const after = count(under);
    expect(failure(await own(`$reminders/${alice}`, 2))).toMatchObject({ code: "ERASED" });
    expect(count(under), "a refusal leaves no trace").toBe(after);
  });

  it("wait as frames do while the shard cannot take them, and come after those that wait already", async () => {
    const { under, own } = openWithOwn({ limits: { groupBytesMax: 1 } });
    under.disk.holdSyncs();
    // The first is on its way to the disk, the second fills a group: the third has to wait.
    const asked = under.turn(() => [framed(under, "$saga/a", 1)]);
    asked.push(...under.turn(() => [framed(under, "$saga/a", 2), framed(under, "$saga/a", 3)]));
    const last = own("$saga/a", 4);
    await under.turns();
    expect(last.reply).toBeUndefined();
    under.disk.releaseSyncs();
    expect(receipt(await last).seq).toBe(4);
    expect(await under.state("$saga/a", "$saga")).toEqual({ state: { to: 4, moves: 4 }, seq: 4 });
  });

  it("are answered with SHARD_STOPPED by a shard that closes", async () => {
    const { under, own } = openWithOwn();
    receipt(await own("$saga/a", 1));
    const closing = under.shard.close();
    expect(failure(await own("$saga/a", 2))).toMatchObject({ code: "SHARD_STOPPED" });
    await closing;
  });
});

describe("what is decided early", () => {
  it("is answered before it is durable, refusals too, and is there once whoever asks for that is told so", async () => {
    const { under, early, durable } = openWithOwn();
    under.disk.holdSyncs();
    const asked = [early(credit(alice, 5))!, early(debit(alice, 9))!, early(debit(alice, 2))!];
    const told = durable();
    await under.turns();
    expect(receipt(asked[0]!.reply!).seq).toBe(1);
    expect(rejected(asked[1]!.reply!).code).toBe("INVARIANT_VIOLATED");
    expect(receipt(asked[2]!.reply!).seq).toBe(2);
    expect(told.reply).toBeUndefined();
    under.disk.releaseSyncs();
    await under.until(() => told.reply !== undefined);
    expect(told.reply!.kind).toBe("receipt");
    await under.crash("nothing");
    under.start();
    expect(await under.state(alice, "Account")).toMatchObject({ state: { balance: 3 }, seq: 2 });
  });

  it("is lost with its group: whoever waits for the disk is told so, and the shard says that it has a loss", async () => {
    const { under, early, durable } = openWithOwn();
    receipt(await under.append(credit(alice, 5)));
    expect(under.shard.loss).toBeUndefined();
    under.disk.failNextWrite();
    const asked = early(debit(alice, 2))!;
    const told = durable();
    await under.until(() => under.shard.loss !== undefined && under.shard.state === "open");
    expect(receipt(asked.reply!).seq).toBe(2);
    expect(failure(told.reply!).retryable).toBe(true);
    expect(await under.state(alice, "Account")).toMatchObject({ state: { balance: 5 }, seq: 1 });
    expect(durable().reply, "in a turn of its own").toBeUndefined();
  });

  it("has the fingerprint of a frame: the same again is a duplicate, and something else by its id is refused", async () => {
    const { under, early } = openWithOwn();
    const first = { ...credit(alice, 5), id: "once" };
    receipt(await under.append(first));
    const again = early(first)!;
    const other = early({ ...credit(alice, 6), id: "once" })!;
    await under.turns();
    expect(receipt(again.reply!)).toMatchObject({ seq: 1, duplicate: true });
    expect(failure(other.reply!).code).toBe("ID_REUSED");
  });

  it("is left to a frame while the shard waits, and when it closes", async () => {
    const { under, early } = openWithOwn({ limits: { groupBytesMax: 1 } });
    under.disk.holdSyncs();
    under.turn(() => [under.append(credit(alice, 1))]);
    const waiting = under.turn(() => [under.append(credit(alice, 1)), under.append(credit(alice, 1))]);
    expect(early(credit(alice, 1))).toBeUndefined();
    under.disk.releaseSyncs();
    for (const one of waiting) receipt(await one);
    const closing = under.shard.close();
    expect(early(credit(alice, 1))).toBeUndefined();
    await closing;
  });
});
