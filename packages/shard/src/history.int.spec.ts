// History: pages of one entity's events, from the partition, a running checkpoint, and memory, as one.
import { defineAggregate, defineContext, event } from "@heddle/domain";
import { limits } from "@heddle/kernel";
import type { HistoryFields, WireEvent } from "@heddle/protocol/internal";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { alice, bank, bob, credit, note } from "./bank.spec-support.ts";
import {
  brief,
  closeAll,
  failure,
  openShard,
  receipt,
  type ShardUnderTest,
  value,
} from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

async function page(under: ShardUnderTest, entity: string, options: Partial<HistoryFields>): Promise<WireEvent[]> {
  return value(await under.history(entity, options)) as WireEvent[];
}

describe("history", () => {
  it("tells each event with everything that belongs to it", async () => {
    const under = openShard(bank);
    const { time, position } = receipt(
      await under.append({ ...credit(alice, 5, 6), id: "order-7", metadata: { trace: "t" } }),
    );
    expect(await under.events(alice)).toEqual([
      [1, time, "Account", "Credited", { amount: 5 }, { trace: "t" }, "order-7", 1, position],
      [2, time, "Account", "Credited", { amount: 6 }, { trace: "t" }, "order-7", 1, position],
    ]);
    expect(await under.events("account/nobody")).toEqual([]);
  });

  it("gives every window of sequences in both directions, wherever the entries lie", async () => {
    const under = openShard(bank);
    // Entries of one to three events: some in the partition, some in a checkpoint that has not committed, some in memory.
    const grow = async () => {
      for (let i = 1; i <= 6; i++)
        receipt(
          await under.append(i % 2 === 0 ? note(alice, ...["a", "b", "c"].slice(0, 1 + (i % 3))) : credit(alice, i)),
        );
    };
    await grow();
    await under.checkpoint();
    await grow();
    under.shard.requestCheckpoint();
    const during = [under.append(credit(alice, 50)), under.append(credit(alice, 51, 52))];
    for (const asked of during) receipt(await asked);
    const check = async () => {
      const all = await under.events(alice);
      expect(all.map(([seq]) => seq)).toEqual(all.map((_, i) => i + 1));
      for (let from = 1; from <= all.length + 2; from++) {
        for (const limit of [1, 2, 5, 100]) {
          const forward = await page(under, alice, { from, limit });
          expect(forward).toEqual(all.slice(from - 1, from - 1 + limit));
          const backward = await page(under, alice, { from, limit, direction: "backward" });
          expect(backward).toEqual(all.slice(0, from).toReversed().slice(0, limit));
        }
      }
      expect(await page(under, alice, { limit: 4, direction: "backward" })).toEqual(all.slice(-4).toReversed());
      return all;
    };
    const before = await check();
    await under.until(() => under.shard.stats().checkpoints === 2);
    expect(await check()).toEqual(before);
    await under.restart();
    expect(await check()).toEqual(before);
  });

  it("of one aggregate passes over the others' events", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1, 2)));
    receipt(await under.append(note(alice, "a")));
    receipt(await under.append(credit(alice, 3)));
    expect(brief(await page(under, alice, { aggregate: "Notes" }))).toEqual([[3, "Noted", { text: "a" }]]);
    expect(brief(await page(under, alice, { aggregate: "Account", direction: "backward", limit: 2 }))).toEqual([
      [4, "Credited", { amount: 3 }],
      [2, "Credited", { amount: 2 }],
    ]);
  });

  it("P8: looks for few events among many in turns of their own, so that other calls come in between", async () => {
    const under = openShard(bank);
    receipt(await under.append(note(alice, "the first")));
    for (let i = 0; i < 8; i++) {
      const asked = under.turn(() => Array.from({ length: 1_000 }, () => under.append(credit(alice, 1))));
      for (const reply of asked) receipt(await reply);
    }
    receipt(await under.append(note(alice, "the last")));
    for (const direction of ["forward", "backward"] as const) {
      const order: string[] = [];
      const history = page(under, alice, { aggregate: "Notes", direction }).then((events) => {
        order.push("history");
        return events;
      });
      const other = under.append(credit(bob, 1)).then(() => order.push("append"));
      const events = await history;
      await other;
      expect(order).toEqual(["append", "history"]);
      const texts = events.map(([, , , , payload]) => (payload as { text: string }).text);
      expect(texts).toEqual(direction === "forward" ? ["the first", "the last"] : ["the last", "the first"]);
    }
  });

  it("P8: goes on over a checkpoint, a passivation and a recovery in between its turns", async () => {
    const under = openShard(bank, { limits: { activeEntitiesMax: 1 } });
    for (let i = 0; i < 6; i++) {
      const asked = under.turn(() => Array.from({ length: 1_000 }, () => under.append(credit(alice, 1))));
      for (const reply of asked) receipt(await reply);
    }
    receipt(await under.append(note(alice, "the last")));
    for (const disturb of [
      () => under.shard.requestCheckpoint(),
      () => void under.get(bob, "Account"),
      () => {
        under.disk.failNextSync();
        void under.append(credit(bob, 1));
      },
    ]) {
      const history = under.history(alice, { aggregate: "Notes" });
      disturb();
      await under.turns(2);
      expect(brief(value(await history) as WireEvent[])).toEqual([[6_001, "Noted", { text: "the last" }]]);
    }
    const cut = under.history(alice, { aggregate: "Notes" });
    const closing = under.shard.close();
    expect(failure(await cut).code).toBe("SHARD_STOPPED");
    await closing;
  });
});

describe("P8: pages of large events", () => {
  const Text = defineAggregate("Text", {
    version: 1,
    initial: () => ({ bytes: 0 }),
    events: { Written: event(z.object({ text: z.string() }), (s, e) => ({ bytes: s.bytes + e.text.length })) },
  });
  const context = defineContext("texts", { aggregates: [Text] });
  const entity = "text/1";
  const write = (under: ShardUnderTest, texts: readonly string[], metadata?: unknown) =>
    under.append({
      entity,
      aggregate: "Text",
      events: texts.map((text) => ({ type: "Written", payload: { text } })),
      metadata,
    });

  async function pages(under: ShardUnderTest, direction: "forward" | "backward"): Promise<WireEvent[][]> {
    const found: WireEvent[][] = [];
    for (let from = 0; ; ) {
      const next = await page(under, entity, { from, direction });
      if (next.length === 0) return found;
      found.push(next);
      from = next.at(-1)![0] + (direction === "forward" ? 1 : -1);
      if (from === 0) return found;
    }
  }

  it("P8: a page stays within a frame, whatever the sizes, and together they are everything, in order", async () => {
    const under = openShard(context);
    const megabytes = [3, 3, 15, 1, 0, 12, 3, 0, 0, 15];
    for (const size of megabytes) receipt(await write(under, ["x".repeat(size << 20)]));
    for (const direction of ["forward", "backward"] as const) {
      const found = await pages(under, direction);
      const seqs = found.flat().map(([seq]) => seq);
      expect(seqs).toEqual(direction === "forward" ? megabytes.map((_, i) => i + 1) : megabytes.map((_, i) => 10 - i));
      expect(found.length).toBeGreaterThan(4);
    }
  });

  it("P8: an entry of many large events is given out in parts", async () => {
    const under = openShard(context);
    const texts = Array.from({ length: 15 }, (_, i) => `${i % 10}`.repeat(1 << 20));
    receipt(await write(under, texts));
    for (const direction of ["forward", "backward"] as const) {
      const found = await pages(under, direction);
      expect(found.length).toBeGreaterThan(2);
      const got = found.flat().map(([, , , , payload]) => (payload as { text: string }).text);
      expect(got).toEqual(direction === "forward" ? texts : texts.toReversed());
    }
  });

  it("P8: metadata that every event of a page repeats do not make it longer than a frame", async () => {
    const under = openShard(context);
    const metadata = { blob: "m".repeat(1 << 20) };
    receipt(
      await write(
        under,
        Array.from({ length: 50 }, (_, i) => `${i}`),
        metadata,
      ),
    );
    const found = await pages(under, "forward");
    expect(found.flat()).toHaveLength(50);
    expect(found.every((one) => one.length <= 5)).toBe(true);
    expect(found.flat().every((one) => (one[5] as { blob: string }).blob.length === 1 << 20)).toBe(true);
  });

  it("P8: the longest append that is taken can be read back", async () => {
    const under = openShard(context);
    const id = "i".repeat(limits.appendIdBytesMax);
    let length = limits.frameBytesMax - 4_096;
    for (;;) {
      const text = "x".repeat(length);
      const reply = await under.append({
        entity,
        aggregate: "Text",
        events: [{ type: "Written", payload: { text } }],
        id,
      });
      if (reply.kind === "receipt") break;
      expect(failure(reply).code).toBe("FRAME_TOO_LARGE");
      length -= 8;
    }
    const [longest] = await under.events(entity);
    expect((longest![4] as { text: string }).text.length).toBe(length);
  });

  it("P7: a state longer than a frame is refused with a typed error instead of a frame that nobody can take", async () => {
    const Growing = defineAggregate("Growing", {
      version: 1,
      initial: (): { texts: readonly string[] } => ({ texts: [] }),
      events: { Written: event(z.object({ text: z.string() }), (s, e) => ({ texts: [...s.texts, e.text] })) },
    });
    const under = openShard(defineContext("growing", { aggregates: [Growing] }));
    for (let i = 0; i < 3; i++) {
      const events = [{ type: "Written", payload: { text: "x".repeat(6 << 20) } }];
      receipt(await under.append({ entity, aggregate: "Growing", events }));
    }
    const error = failure(await under.get(entity, "Growing"));
    expect(error).toMatchObject({ code: "FRAME_TOO_LARGE", facts: { bytesMax: limits.frameBytesMax } });
  });
});
