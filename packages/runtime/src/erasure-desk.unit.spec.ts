// The way of an erasure's questions from a shard thread to the readers and back, with both ends in one thread.
import { HeddleError, systemRandom } from "@heddle/kernel";
import type { TombstonePlace } from "@heddle/shard/internal";
import { describe, expect, it } from "vitest";
import { ErasureDesk } from "./erasure-desk.ts";
import { type ErasureAsk, isErasureAsk, toWireState } from "./erasure-messages.ts";
import { type CopyingReaders, ReaderErasures } from "./reader-erasures.ts";
import type { FromThread, ToThread } from "./thread-messages.ts";

const alice: TombstonePlace = { entity: "account/alice", shard: 0, seq: 4, position: 100 };
const bob: TombstonePlace = { entity: "account/bob", shard: 0, seq: 9, position: 200 };
const away = new HeddleError("SINK_UNAVAILABLE", { sink: "nats", message: "connection refused" });
const both: CopyingReaders = { publisher: true, projections: true };

class FakeReader {
  readonly asked: ErasureAsk[] = [];
  answer: (ask: ErasureAsk) => unknown = (ask) =>
    ask.erasure.what === "gone" ? ask.erasure.tombstones.map(() => "gone") : undefined;

  async ask(question: ErasureAsk): Promise<unknown> {
    expect(isErasureAsk(structuredClone(question))).toBe(true);
    this.asked.push(structuredClone(question));
    return structuredClone(this.answer(question));
  }
}

/** A shard thread and the main thread, with messages that are copied on the way. */
function node(readers = both) {
  const publisher = new FakeReader();
  const projections = new FakeReader();
  const desk = new ErasureDesk({
    publisher: readers.publisher ? publisher : undefined,
    projections: readers.projections ? projections : undefined,
  });
  const back: { tell(message: ToThread): void } = {
    tell: (message) => {
      if (message.kind === "erasure-answer") erasures.onAnswer(structuredClone(message));
    },
  };
  const say = (message: FromThread) => queueMicrotask(() => desk.onQuestion(structuredClone(message), back));
  const erasures = new ReaderErasures({ readers, random: systemRandom, say });
  return { erasures, publisher, projections };
}

describe("P6: shards ask the readers of a node", () => {
  it("the publisher is told of entries, projections are not; both are asked what is left", async () => {
    const { erasures, publisher, projections } = node();
    await erasures.bury(alice, Float64Array.of(64, 128));
    expect(publisher.asked).toEqual([
      { erasure: { what: "bury", tombstone: alice, positions: Float64Array.of(64, 128) } },
    ]);
    expect(projections.asked).toEqual([]);
    expect(await erasures.gone([alice, bob])).toEqual(["gone", "gone"]);
    expect(projections.asked).toEqual([{ erasure: { what: "gone", tombstones: [alice, bob] } }]);
  });

  it("one that still has something decides, and an error is told before anything else", async () => {
    const { erasures, publisher, projections } = node();
    publisher.answer = () => ["gone", toWireState(away)];
    projections.answer = () => ["waiting", "waiting"];
    const [ofAlice, ofBob] = await erasures.gone([alice, bob]);
    expect(ofAlice).toBe("waiting");
    expect(ofBob).toMatchObject({ code: "SINK_UNAVAILABLE", retryable: true, message: away.message });
  });

  it("without a publisher nobody is told of entries", async () => {
    const { erasures, publisher, projections } = node({ publisher: false, projections: true });
    await erasures.bury(alice, Float64Array.of(64));
    expect([...publisher.asked, ...projections.asked]).toEqual([]);
    projections.answer = () => ["waiting"];
    expect(await erasures.gone([alice])).toEqual(["waiting"]);
  });

  it("a thread that is lost, or fails, is an error for the one who asked, and for nobody else", async () => {
    const { erasures, publisher } = node();
    const lost = new HeddleError("OUTCOME_UNKNOWN", { problem: "the feed thread was lost before it answered" });
    publisher.answer = () => {
      throw lost;
    };
    await expect(erasures.bury(alice, Float64Array.of(64))).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN" });
    await expect(erasures.gone([alice])).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN", retryable: true });
    publisher.answer = () => ["gone"];
    expect(await erasures.gone([alice])).toEqual(["gone"]);
  });

  it("an answer that nobody waits for is dropped", () => {
    const { erasures } = node();
    erasures.onAnswer({ id: -1, states: ["gone"] });
  });
});
