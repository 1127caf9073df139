// When something that was erased counts as gone from the sinks. That tracks take rows out, and sinks overwrite bytes, is shown
// where they are; the whole way in test/e2e and test/crash.
import { HeddleError } from "@heddle/kernel";
import { describe, expect, it } from "vitest";
import { type ErasableTrack, type ScrubbedSink, TrackErasures } from "./track-erasures.ts";

class FakeTrack implements ErasableTrack {
  readonly sink: { readonly name: string };
  positions = [0, 0];
  erasures = 0;
  problem: HeddleError | undefined;

  constructor(sink: string) {
    this.sink = { name: sink };
  }

  passed(shard: number): number {
    return this.positions[shard]!;
  }
}

class FakeSink implements ScrubbedSink {
  readonly name: string;
  scrubs: PromiseWithResolvers<void>[] = [];

  constructor(name: string) {
    this.name = name;
  }

  scrub(): Promise<void> {
    const scrub = Promise.withResolvers<void>();
    this.scrubs.push(scrub);
    return scrub.promise;
  }

  async ended(): Promise<void> {
    this.scrubs.at(-1)!.resolve();
    await settled();
  }

  async failed(error: Error): Promise<void> {
    this.scrubs.at(-1)!.reject(error);
    await settled();
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const away = new HeddleError("SINK_UNAVAILABLE", { sink: "rqlite", message: "no answer" });
const alice = { entity: "account/alice", shard: 0, seq: 4, position: 100 };
const bob = { entity: "account/bob", shard: 1, seq: 9, position: 100 };

function opened(...given: (string | { isAlone: boolean })[]) {
  const names = given.filter((one) => typeof one === "string");
  const isAlone = given.some((one) => typeof one !== "string");
  const sinks = names.map((name) => new FakeSink(name));
  const tracks = names.map((name) => new FakeTrack(name));
  const reports: string[] = [];
  const report = (_level: string, message: string) => void reports.push(message);
  const erasures = new TrackErasures({ shardCount: 2, sinks, tracks: () => tracks, report, isAlone });
  return { erasures, sinks, tracks, reports };
}

describe("P6: what was erased is gone from the sinks", () => {
  it("P6 T1: when every track is past the tombstone and a scrub has ended that began after that", async () => {
    const { erasures, sinks, tracks } = opened("sqlite", "rqlite");
    expect(erasures.gone([alice])).toEqual(["waiting"]);
    tracks[0]!.positions = [101, 0];
    tracks[1]!.positions = [100, 500];
    expect(erasures.gone([alice])).toEqual(["waiting"]);
    expect(sinks.map(({ scrubs }) => scrubs.length)).toEqual([1, 0]);
    await sinks[0]!.ended();
    expect(erasures.gone([alice])).toEqual(["waiting"]);
    tracks[1]!.positions = [101, 500];
    expect(erasures.gone([alice])).toEqual(["waiting"]);
    await sinks[1]!.ended();
    expect(erasures.gone([alice, bob])).toEqual(["gone", "waiting"]);
    tracks[0]!.positions = [101, 101];
    expect(erasures.gone([alice, bob])).toEqual(["gone", "waiting"]);
    await sinks[0]!.ended();
    expect(erasures.gone([alice, bob])).toEqual(["gone", "gone"]);
  });

  it("T1 T2: a scrub that was under way when the track came past counts for nothing; one more does for all", async () => {
    const { erasures, sinks, tracks } = opened("sqlite");
    tracks[0]!.positions = [101, 0];
    erasures.gone([alice]);
    tracks[0]!.positions = [101, 101];
    for (let i = 0; i < 5; i++) expect(erasures.gone([alice, bob])).toEqual(["waiting", "waiting"]);
    expect(sinks[0]!.scrubs).toHaveLength(1);
    await sinks[0]!.ended();
    expect(erasures.gone([alice, bob])).toEqual(["gone", "waiting"]);
    expect(sinks[0]!.scrubs).toHaveLength(2);
    await sinks[0]!.ended();
    expect(erasures.gone([alice, bob])).toEqual(["gone", "gone"]);
  });

  it("a track that does not go on says why, even if another is only slow", () => {
    const { erasures, tracks } = opened("sqlite", "rqlite");
    tracks[1]!.problem = away;
    expect(erasures.gone([alice])).toEqual([away]);
    tracks[1]!.positions = [500, 500];
    expect(erasures.gone([alice])).toEqual(["waiting"]);
  });

  it("a scrub that fails is told, and tried again at a tick and not before", async () => {
    const { erasures, sinks, tracks, reports } = opened("rqlite");
    tracks[0]!.positions = [101, 0];
    erasures.gone([alice]);
    await sinks[0]!.failed(away);
    expect(erasures.gone([alice])).toEqual([away]);
    expect(erasures.gone([alice])).toEqual([away]);
    expect(sinks[0]!.scrubs).toHaveLength(1);
    erasures.tick();
    expect(sinks[0]!.scrubs).toHaveLength(2);
    await sinks[0]!.failed(new Error("socket hang up"));
    expect(erasures.gone([alice])).toMatchObject([{ code: "SINK_UNAVAILABLE", retryable: true }]);
    expect(reports).toHaveLength(1);
    erasures.tick();
    await sinks[0]!.ended();
    expect(erasures.gone([alice])).toEqual(["gone"]);
  });

  it("T3: what was deleted is scrubbed though nobody asks", async () => {
    const { erasures, sinks, tracks } = opened("sqlite");
    erasures.tick();
    expect(sinks[0]!.scrubs).toHaveLength(0);
    tracks[0]!.erasures = 3;
    erasures.tick();
    erasures.tick();
    expect(sinks[0]!.scrubs).toHaveLength(1);
    await sinks[0]!.ended();
    erasures.tick();
    expect(sinks[0]!.scrubs).toHaveLength(1);
  });

  it("T3: where no node asks, also what the process before may have left", async () => {
    const { erasures, sinks } = opened({ isAlone: true }, "sqlite");
    erasures.tick();
    expect(sinks[0]!.scrubs).toHaveLength(1);
    await sinks[0]!.ended();
    erasures.tick();
    expect(sinks[0]!.scrubs).toHaveLength(1);
  });

  it("of projections that the domain module has no more, whose tables were dropped", async () => {
    const { erasures, sinks, tracks } = opened("sqlite");
    tracks.length = 0;
    expect(erasures.gone([alice])).toEqual(["waiting"]);
    await sinks[0]!.ended();
    expect(erasures.gone([alice, bob])).toEqual(["gone", "gone"]);
  });

  it("one that is built anew afterwards is not waited for", async () => {
    const { erasures, sinks, tracks } = opened("sqlite");
    tracks[0]!.positions = [101, 0];
    erasures.gone([alice]);
    await sinks[0]!.ended();
    tracks[0]!.positions = [0, 0];
    expect(erasures.gone([alice])).toEqual(["gone"]);
  });

  it("after a stop no scrub begins, and it ends with the one that runs", async () => {
    const { erasures, sinks, tracks } = opened("sqlite");
    tracks[0]!.positions = [101, 101];
    erasures.gone([alice]);
    const stopped = erasures.stop();
    sinks[0]!.scrubs[0]!.resolve();
    await stopped;
    erasures.tick();
    erasures.gone([bob]);
    expect(sinks[0]!.scrubs).toHaveLength(1);
  });
});
