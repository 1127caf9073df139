// A cluster of real rqlite nodes on loopback: what specs kill of it, and who leads it.
import { setTimeout as pause } from "node:timers/promises";
import { isHeddleError } from "@heddle/kernel";
import { expect, vi } from "vitest";
import { type RunningServer, startRqlite } from "../../../../infra/servers/index.ts";

const patience = { timeout: 60_000, interval: 50 };

/** Asks again while it is `SINK_UNAVAILABLE`: on a busy machine nodes miss their leader, and elect another, at any time. */
export async function whenLed<T>(ask: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + patience.timeout;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!isHeddleError(error, "SINK_UNAVAILABLE") || performance.now() > deadline) throw error;
      await pause(patience.interval);
    }
  }
}

export class RqliteCluster implements AsyncDisposable {
  readonly nodes: readonly RunningServer[];

  private constructor(nodes: readonly RunningServer[]) {
    this.nodes = nodes;
  }

  /** Three nodes that know each other, and one of which leads. */
  static async start(): Promise<RqliteCluster> {
    const first = await startRqlite({ nodeId: "1" });
    const others = await Promise.all(["2", "3"].map((nodeId) => startRqlite({ nodeId, join: first })));
    const cluster = new RqliteCluster([first, ...others]);
    await cluster.leader();
    return cluster;
  }

  /** The address that names all of them. */
  get url(): string {
    return `http://${this.nodes.map(({ port }) => `127.0.0.1:${port}`).join(",")}`;
  }

  /** Who leads, as soon as all that run agree about it. */
  leader(): Promise<RunningServer> {
    return vi.waitFor(async () => {
      const running = this.nodes.filter((node) => node.running);
      const told = await Promise.all(running.map(leaderAt));
      expect(new Set(told).size).toBe(1);
      const leader = running.find(({ url }) => url === told[0]);
      expect(leader, `one of ${running.map(({ url }) => url)} leads, and not ${told[0]}`).toBeDefined();
      return leader!;
    }, patience);
  }

  async followers(): Promise<readonly RunningServer[]> {
    const leader = await this.leader();
    return this.nodes.filter((node) => node.running && node !== leader);
  }

  async killLeader(): Promise<RunningServer> {
    const leader = await this.leader();
    await leader.kill();
    return leader;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
  }
}

async function leaderAt({ url }: RunningServer): Promise<string> {
  const reply = await fetch(`${url}/nodes?timeout=1s`, { signal: AbortSignal.timeout(2_000) });
  const nodes = Object.values((await reply.json()) as Record<string, { api_addr?: string; leader?: boolean }>);
  expect(nodes).toHaveLength(3);
  return nodes.find((node) => node.leader === true)?.api_addr ?? "nobody";
}
