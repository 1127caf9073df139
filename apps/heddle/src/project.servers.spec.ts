// Goal: heddle project keeps rows in step with what a node publishes to a real NATS, as a process of its own that may be killed.
// What projections promise is tested in packages/projection; the streams in packages/feed/src/nats.
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as pause } from "node:timers/promises";
import { committed, Heddle } from "@heddle/client";
import { startNode } from "@heddle/runtime";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningServer, startNats } from "../../../infra/servers/index.ts";
import { launcher, repository, start, temporaryFolder } from "./run-heddle.spec-support.ts";

const folder = temporaryFolder();
const domain = path.join(repository, "test/e2e/booked-bank.ts");
let nats: RunningServer;

beforeAll(async () => {
  nats = await startNats();
});
afterAll(async () => {
  await nats.stop();
  fs.rmSync(folder, { recursive: true, force: true });
});

function project(data: string) {
  const args = ["project", "--domain", domain, "--nats", nats.url, "--data", data, "--log-level", "warn", "--json"];
  return start(process.execPath, [launcher, ...args]);
}

/** Reads the projector's file until its rows are as they should be. */
async function rowsUntil(data: string, holds: (sum: number) => boolean): Promise<number> {
  const file = path.join(data, "projections", "projections.sqlite");
  for (;;) {
    // As often as it can be, it would take the processor time of those that it waits for.
    await pause(20);
    if (!fs.existsSync(file)) continue;
    try {
      const db = new DatabaseSync(file, { readOnly: true, timeout: 60_000 });
      try {
        const { sum } = db.prepare("SELECT coalesce(sum(balance), 0) AS sum FROM accounts").get() as { sum: number };
        if (holds(sum)) return sum;
      } finally {
        db.close();
      }
    } catch (error) {
      // The view comes with the first generation.
      if (!/no such table|unable to open/.test((error as Error).message)) throw error;
    }
  }
}

describe("heddle project", () => {
  it("waits for streams that are not there yet, and ends with code 0 when it is told to meanwhile", async () => {
    const running = project(path.join(folder, "waiting"));
    await new Promise<void>((resolve) => {
      running.child.stderr!.on("data", (chunk: Buffer) => {
        if (chunk.toString().includes("cannot be reached")) resolve();
      });
    });
    running.child.kill("SIGTERM");
    expect(await running.ended).toMatchObject({ code: 0, out: "" });
  });

  it("P5: keeps rows in step, goes on where it was when it is killed, and ends in order", async () => {
    const node = await startNode({
      domain,
      data: path.join(folder, "node"),
      port: 0,
      shards: 2,
      nats: { url: nats.url },
      sinks: [],
    });
    const data = path.join(folder, "projected");
    try {
      await using db = new Heddle(node.url);
      const entities = Array.from({ length: 40 }, (_, i) => `account/${i}`);
      let sum = 0;
      const write = async (rounds: number) => {
        for (let round = 0; round < rounds; round++) {
          const results = entities.map((entity) =>
            db.entity(entity).append("Credited", { amount: 1 }, { aggregate: "Account" }),
          );
          for (const result of await Promise.all(results)) sum += committed(result).count;
        }
      };
      await write(5);
      let running = project(data);
      const [line] = await running.printed(/\{.*"ready":true.*\}/);
      expect(JSON.parse(line)).toEqual({
        ready: true,
        context: "bank",
        shardCount: 2,
        sinks: ["sqlite"],
        projections: ["accounts", "bookings"],
      });
      for (let kill = 0; kill < 3; kill++) {
        const writing = write(20);
        await rowsUntil(data, (found) => found > 0);
        running.child.kill("SIGKILL");
        await running.ended;
        await writing;
        running = project(data);
      }
      expect(await rowsUntil(data, (found) => found >= sum)).toBe(sum);
      running.child.kill("SIGTERM");
      expect(await running.ended).toMatchObject({ code: 0 });
    } finally {
      await node.close();
    }
  });

  it("P7: refuses a domain module without projections, and a sink that is none", async () => {
    const bank = path.join(repository, "test/e2e/notes.ts");
    const base = ["project", "--nats", nats.url, "--data", path.join(folder, "refused")];
    for (const [args, code, sentence] of [
      [["--domain", bank], 1, "has no projections"],
      [["--domain", domain, "--sink", "postgres://u:secret@x"], 2, "wanted sqlite, the http:// address of rqlite"],
    ] as const) {
      const ended = await start(process.execPath, [launcher, ...base, ...args]).ended;
      expect(ended).toMatchObject({ code, out: "", said: expect.stringContaining(sentence) });
      expect(ended.said).not.toContain("secret");
    }
  });
});
