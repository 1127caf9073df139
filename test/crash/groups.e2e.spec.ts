// Goal: a consumer group loses no event and leaves none out, whoever is killed.
// Method: a node and the members are processes of their own. A member is killed with SIGKILL, another joins, and the node is
// killed and started again, while 1,000 entities are written to.
// Tested elsewhere: any order of such things (packages/feed, group-coordinator.model.unit.spec.ts).
import { type ChildProcess, fork } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { committed, Heddle } from "@heddle/client";
import { describe, expect, it } from "vitest";
import type bank from "../../apps/examples/bank/index.ts";
import { freePort } from "../../infra/servers/index.ts";
import { newFolder } from "../support/node.ts";
import type { Taken } from "./group-member.ts";
import { NodeProcess } from "./node-process.ts";

const entities = 1_000;
const rounds = 6;

function startMember(port: number, onTaken: (taken: Taken) => void): ChildProcess {
  const member = fork(fileURLToPath(new URL("./group-member.ts", import.meta.url)), [String(port)], {
    execArgv: [],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  member.on("message", onTaken);
  return member;
}

describe("a consumer group whose members and node are killed", () => {
  it("gives every event at least once, those of an entity in order, and shares evenly afterwards", async () => {
    const folder = newFolder();
    const port = await freePort();
    const start = () => new NodeProcess({ data: path.join(folder, "data"), port, shards: 3 });
    let node = start();
    expect(await node.settled).toBe("ready");
    const db = new Heddle<typeof bank>({ port });
    const taken: Taken[] = [];
    const names = new Set<string>();
    const waiting = new Set<() => void>();
    const onTaken = (one: Taken) => {
      taken.push(one);
      names.add(`${one.entity}:${one.seq}`);
      for (const look of waiting) look();
    };
    const seen = async (count: number) => {
      await new Promise<void>((resolve) => {
        const look = () => {
          if (names.size < count) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      });
    };
    const members = [1, 2, 3].map(() => startMember(port, onTaken));
    try {
      const writing = (async () => {
        for (let round = 1; round <= rounds; round++) {
          const items = Array.from({ length: entities }, (_, i) => {
            return { entity: `account/${i}`, aggregate: "Account", type: "Credited", payload: { amount: 1 } } as const;
          });
          for (const result of await db.appendMany(items, { timeoutMs: 120_000 })) {
            if (!result.ok && result.code === "FAILED") throw result.error;
            committed(result);
          }
          // Each round is under way while something happens.
          await seen(round * entities * 0.5);
        }
      })();
      await seen(entities / 2);
      members[0]!.kill("SIGKILL");
      members.push(startMember(port, onTaken));
      await seen(2 * entities);
      node.kill();
      await node.exited;
      node = start();
      expect(await node.settled).toBe("ready");
      await writing;
      await seen(rounds * entities);
      for (;;) {
        const [group] = await db.groups();
        const slots = group!.members.map(({ slots }) => slots).sort();
        if (group!.lagBytes === 0 && slots.join() === "10,11,11") break;
        await new Promise((resolve) => setImmediate(resolve));
      }
      const last = new Map<string, number>();
      for (const { entity, seq } of taken.toSorted((a, b) => (BigInt(a.atNs) < BigInt(b.atNs) ? -1 : 1))) {
        const before = last.get(entity) ?? 0;
        // Again, or the next; never one that leaves another out.
        if (seq > before + 1) throw new Error(`${entity} ${seq} was given before ${before + 1}`);
        last.set(entity, Math.max(before, seq));
      }
      expect([...last.values()].filter((seq) => seq === rounds)).toHaveLength(entities);
    } finally {
      for (const member of members) member.kill("SIGKILL");
      await db.close({ timeoutMs: 1_000 });
      node.kill();
      await node.exited;
      fs.rmSync(folder, { recursive: true, force: true });
    }
  });
});
