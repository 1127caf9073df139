// P8: overload slows. The shard holds back what it cannot take, keeps its order, and its memory keeps its bounds.
//
// Method: bounds made small, syncs held, and the shard's own figures. Bounds in front of the shard (credit, sockets) are
// the runtime's. Checkpoints that cannot keep up are in checkpoint.int.spec.ts, full disks in disk-failures.int.spec.ts.
import { defineAggregate, defineContext, event } from "@heddle/domain";
import { isHeddleError } from "@heddle/kernel";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { alice, bank, bob, credit, debit } from "./bank.spec-support.ts";
import { brief, closeAll, failure, openShard, receipt, rejected, value } from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

describe("P8: the mailbox", () => {
  it("P8: while a full group is on its way, frames wait and are handled in order after it; so do reads and bad calls", async () => {
    const under = openShard(bank, { limits: { groupBytesMax: 2_000 } });
    under.disk.holdSyncs();
    const asked = Array.from({ length: 100 }, (_, i) => under.append(credit(alice, i + 1)));
    const read = under.get(alice, "Account");
    const bad = under.append(credit(alice, -1));
    const history = under.history(alice);
    await under.turns();
    const { mailboxDepth, waitingReplies } = under.shard.stats();
    // One lone append is on its way, a full group fills, the rest waits.
    expect(under.disk.syncsWaiting).toBe(1);
    expect(waitingReplies).toBeLessThan(30);
    expect(mailboxDepth).toBe(103 - waitingReplies);
    expect([read.reply, bad.reply, history.reply]).toEqual([undefined, undefined, undefined]);
    for (let groups = 0; asked.at(-1)!.reply === undefined; groups++) {
      expect(groups).toBeLessThan(20);
      expect(under.disk.returnNextSync()).toBe(true);
      await under.turns(1);
    }
    expect((await Promise.all(asked)).map((reply) => receipt(reply).seq)).toEqual(asked.map((_, i) => i + 1));
    expect(value(await read)).toMatchObject({ seq: 100 });
    expect(failure(await bad).code).toBe("INVALID_PAYLOAD");
    expect((value(await history) as unknown[]).length).toBeGreaterThan(50);
    expect(under.shard.stats().mailboxDepth).toBe(0);
    expect(under.shard.stats().groups).toBeGreaterThan(4);
  });

  it("P8: a single turn that brings more than a group holds is cut into groups too", async () => {
    const under = openShard(bank, { limits: { groupBytesMax: 2_000 } });
    under.disk.holdSyncs();
    const asked = under.turn(() => Array.from({ length: 200 }, (_, i) => under.append(credit(alice, i + 1))));
    expect(under.disk.syncsWaiting).toBe(1);
    expect(under.shard.stats().mailboxDepth).toBeGreaterThan(100);
    under.disk.releaseSyncs();
    expect((await Promise.all(asked)).map((reply) => receipt(reply).seq)).toEqual(asked.map((_, i) => i + 1));
  });

  it("P8: replies that wait for a sync are bounded in bytes: a read of a large undurable state counts for its reply", async () => {
    const Large = defineAggregate("Large", {
      version: 1,
      initial: () => ({ text: "" }),
      events: { Written: event(z.object({ text: z.string() }), (_, e) => e) },
    });
    const under = openShard(defineContext("large", { aggregates: [Large] }));
    under.disk.holdSyncs();
    const text = "x".repeat(4 << 20);
    const append = under.append({
      entity: alice,
      aggregate: "Large",
      events: [{ type: "Written", payload: { text } }],
    });
    const reads = Array.from({ length: 12 }, () => under.get(alice, "Large"));
    // Four reads of four megabytes are held; the others wait in the mailbox, unread.
    expect(under.shard.stats()).toMatchObject({ waitingReplies: 5, mailboxDepth: 8 });
    under.disk.releaseSyncs();
    receipt(await append);
    for (const read of reads) expect(value(await read)).toMatchObject({ seq: 1 });
  });

  it("P8: everything that was sent is answered once, whatever it was, under bounds of every size", async () => {
    for (const groupBytesMax of [1, 300, 3_000]) {
      const under = openShard(bank, { limits: { groupBytesMax, checkpointBytes: 5_000 } });
      const asked = [];
      for (let i = 0; i < 300; i++) {
        asked.push(under.append(credit(i % 2 === 0 ? alice : bob, 1)));
        if (i % 3 === 0) asked.push(under.append(debit(alice, 1_000)));
        if (i % 5 === 0) asked.push(under.get(bob, "Account"));
        if (i % 7 === 0) asked.push(under.history(alice, { limit: 3 }));
        if (i % 11 === 0) await under.turns(1);
      }
      const replies = await Promise.all(asked);
      expect(under.replies).toHaveLength(asked.length);
      expect(replies.filter(({ kind }) => kind === "receipt")).toHaveLength(300);
      for (const reply of replies.filter(({ kind }) => kind === "rejected")) rejected(reply);
    }
  });
});

describe("P8: memory", () => {
  it("P8: active entities stay within their bound; one that was let go and is asked for gives the same state", async () => {
    const under = openShard(bank, { limits: { activeEntitiesMax: 50 } });
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 300; i++) receipt(await under.append(credit(`account/user-${i}`, i + 1)));
      // Until a checkpoint has them, entities that changed have to stay.
      expect(under.shard.stats().activeEntities).toBeGreaterThanOrEqual(300);
      await under.checkpoint();
      under.shard.tick();
      expect(under.shard.stats().activeEntities).toBe(50);
    }
    for (let i = 0; i < 300; i++) {
      const expected = { state: { balance: 3 * (i + 1), events: 3 }, seq: 3 };
      expect(await under.state(`account/user-${i}`, "Account")).toEqual(expected);
      // The hand needs a few steps to find one that may go.
      expect(under.shard.stats().activeEntities).toBeLessThanOrEqual(60);
    }
    expect(brief(await under.events("account/user-7"))).toHaveLength(3);
  });

  it("P8: entities that are only asked for, or refused, do not fill memory either", async () => {
    const under = openShard(bank, { limits: { activeEntitiesMax: 50 } });
    for (let i = 0; i < 1_000; i++) {
      rejected(await under.append(debit(`account/poor-${i}`, 1)));
      failure(await under.append(credit(`account/bad-${i}`, -1)));
    }
    expect(under.shard.stats().activeEntities).toBeLessThanOrEqual(60);
    expect(under.shard.stats().sessions).toBe(0);
  });

  it("P8: whoever is in use stays active, whoever was not used for longest goes first", async () => {
    const under = openShard(bank, { limits: { activeEntitiesMax: 20 } });
    for (let i = 0; i < 40; i++) receipt(await under.append(credit(`account/user-${i}`, 1)));
    receipt(await under.append(credit(alice, 1)));
    await under.checkpoint();
    under.shard.tick();
    await under.state(alice, "Account");
    const { partitionReads } = under.shard.stats();
    for (let i = 0; i < 200; i++) {
      await under.state(`account/user-${i % 40}`, "Account");
      const before = under.shard.stats().partitionReads;
      await under.state(alice, "Account");
      expect(under.shard.stats().partitionReads).toBe(before);
    }
    expect(under.shard.stats().partitionReads).toBeGreaterThan(partitionReads);
  });

  it("P8: states are bounded in bytes as well as in number", async () => {
    const Text = defineAggregate("Text", {
      version: 1,
      initial: () => ({ text: "" }),
      events: { Written: event(z.object({ text: z.string() }), (_, e) => e) },
    });
    const under = openShard(defineContext("texts", { aggregates: [Text] }), { limits: { stateBytesMax: 100_000 } });
    const write = (i: number) =>
      under.append({
        entity: `text/${i}`,
        aggregate: "Text",
        events: [{ type: "Written", payload: { text: `${i}`.repeat(5_000) } }],
      });
    for (let i = 10; i < 60; i++) receipt(await write(i));
    await under.checkpoint();
    under.shard.tick();
    expect(under.shard.stats().stateBytes).toBeLessThanOrEqual(100_000);
    expect(under.shard.stats().activeEntities).toBeLessThanOrEqual(10);
    for (let i = 10; i < 60; i++) {
      expect(await under.state(`text/${i}`, "Text")).toEqual({ state: { text: `${i}`.repeat(5_000) }, seq: 1 });
      // One that wakes is weighed when it is awake: the next one makes room.
      expect(under.shard.stats().stateBytes).toBeLessThanOrEqual(100_000 + 41_000);
    }
  });

  it("P8: an entity in use is served without a read of the partition, for appends, reads and rejections alike", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 10)));
    await under.checkpoint();
    const { partitionReads } = under.shard.stats();
    for (let i = 0; i < 100; i++) {
      receipt(await under.append(credit(alice, 1)));
      rejected(await under.append(debit(alice, 1_000)));
      receipt(await under.execute({ entity: alice, aggregate: "Account", command: "Swap", input: { amount: 1 } }));
      await under.state(alice, "Account");
      await under.state(alice, "Notes");
      // The filter in memory says that these ids are new.
      receipt(await under.append({ ...credit(alice, 1), id: `id-${i}` }));
    }
    expect(under.shard.stats().partitionReads).toBe(partitionReads);
  });

  it("P8: windows of sessions have a budget: new sessions are refused beyond it, known ones go on, and time frees it", async () => {
    const under = openShard(bank, { limits: { sessionBytesMax: 20_000 } });
    let refused: unknown;
    let sessions = 0;
    for (let session = 1; session <= 1_000 && refused === undefined; session++) {
      const reply = await under.append(credit(alice, 1), { session, call: 1 });
      if (reply.kind === "error") refused = reply.error;
      else sessions++;
    }
    expect(isHeddleError(refused, "OVERLOADED") && refused.retryable).toBe(true);
    expect(under.shard.stats().sessions).toBe(sessions);
    expect(under.shard.stats().sessionBytes).toBeLessThan(21_000);
    for (let call = 2; call <= 8; call++) receipt(await under.append(credit(alice, 1), { session: 1, call }));
    // Its ring would have to grow now.
    expect(failure(await under.append(credit(alice, 1), { session: 1, call: 9 })).code).toBe("OVERLOADED");
    // Repetitions are answered, and reads.
    expect(receipt(await under.append(credit(alice, 1), { session: 2, call: 1, retry: true })).duplicate).toBe(true);
    await under.state(alice, "Account");

    under.advance(16 * 60_000);
    under.shard.tick();
    expect(under.shard.stats().sessions).toBe(0);
    receipt(await under.append(credit(alice, 1), { session: 2_000, call: 1 }));
    await under.restart();
    expect(under.shard.stats().sessions).toBe(1);
  });
});
