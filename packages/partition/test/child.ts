// What the tests run in processes of their own: to be killed, to be starved of disk, to write beside a reader.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { isHeddleError } from "@heddle/kernel";
import { type CheckpointWriter, openPartition } from "@heddle/partition/internal";
import { open as openLmdb } from "lmdb";
import type { ChildMessage, ChildTask } from "./child-tasks.ts";
import { entityName, eraseSome, grow, headAt, putIds, putLives, singleEvents } from "./partition-under-test.ts";

const tell = (word: string, facts: Record<string, unknown> = {}): void => {
  process.send!({ word, facts } satisfies ChildMessage);
};

const die = (): void => {
  process.kill(process.pid, "SIGKILL");
};

async function putRound(writer: CheckpointWriter, entities: number, from: number, to: number): Promise<void> {
  for (let i = 0; i < entities; i++) {
    grow(writer, entityName(i), from, to);
    putIds(writer, i, to);
    if (i % 100 === 99) await new Promise((resolve) => setImmediate(resolve));
  }
}

async function main(task: ChildTask): Promise<void> {
  switch (task.kind) {
    case "die-at": {
      let armed = false;
      const partition = openPartition({
        folder: task.folder,
        shard: 3,
        crashPoint: (name) => {
          if (armed && name === task.point) die();
        },
      });
      const first = partition.checkpoint(500);
      await putRound(first, task.entities, 1, 5);
      await first.commit();
      armed = true;
      const second = partition.checkpoint(1_000);
      await putRound(second, task.entities, 6, 10);
      await second.commit();
      return;
    }
    case "hang": {
      const partition = openPartition({ folder: task.folder, shard: 3 });
      const first = partition.checkpoint(500);
      await putRound(first, task.entities, 1, 5);
      await first.commit();
      const second = partition.checkpoint(1_000);
      await putRound(second, task.entities, 6, 10);
      if (task.commits) void second.commit();
      tell("put");
      await once(process, "message");
      return;
    }
    case "die-erasing": {
      let left = Number.POSITIVE_INFINITY;
      const partition = openPartition({
        folder: task.folder,
        shard: 3,
        crashPoint: (name) => {
          if (name === task.at.point && --left === 0) die();
        },
      });
      const first = partition.checkpoint(500);
      putLives(first, task.entities);
      await first.commit();
      left = task.at.times;
      const second = partition.checkpoint(600);
      eraseSome(second, task.entities);
      await second.commit();
      await partition.scrub();
      return;
    }
    case "hold-state": {
      const root = openLmdb({ path: task.folder, noSubdir: false, readOnly: true, maxDbs: 9 });
      const snapshots = root.openDB<Buffer, Buffer>({ name: "snapshots", encoding: "binary", keyEncoding: "binary" });
      const transaction = snapshots.useReadTransaction();
      const seen = (): string => {
        const hash = createHash("sha256");
        for (const { key, value } of snapshots.getRange({ transaction })) hash.update(key).update(value);
        return hash.digest("hex");
      };
      const first = seen();
      tell("held");
      await once(process, "message");
      tell("let go", { isTheSame: seen() === first });
      transaction.done();
      await root.close();
      process.disconnect?.();
      return;
    }
    case "die-while-making": {
      openPartition({
        folder: task.folder,
        shard: 3,
        crashPoint: (name) => {
          if (name === task.point) die();
        },
      });
      return;
    }
    case "write-on": {
      const partition = openPartition({ folder: task.folder, shard: 3 });
      let stop = false;
      process.on("message", () => {
        stop = true;
      });
      let seq = 0;
      while (!stop) {
        seq++;
        const writer = partition.checkpoint(seq * 100);
        for (let i = 0; i < 10; i++) {
          grow(writer, entityName(i), seq, seq);
          if (i === 5) await new Promise((resolve) => setImmediate(resolve));
        }
        await writer.commit();
        if (seq === 1) tell("begun");
      }
      await partition.close({ cleanEnd: seq * 100 });
      tell("stopped", { seq });
      process.disconnect?.();
      return;
    }
    case "fill": {
      const partition = openPartition({ folder: task.folder, shard: 3 });
      for (let seq = 1; ; seq++) {
        const writer = partition.checkpoint(seq * 100);
        const state = new Uint8Array(seq * 4_000).fill(seq);
        writer.putEntity("account/big", headAt(seq), singleEvents(seq, seq), [
          { aggregate: "Account", foldVersion: 1, seq, state },
        ]);
        try {
          await writer.commit();
        } catch (error) {
          const full = isHeddleError(error, "DISK_FULL");
          const snapshot = partition.snapshots("account/big")[0];
          tell("refused", {
            full,
            message: String(error),
            seq,
            covered: partition.coveredPosition,
            head: partition.head("account/big")?.seq,
            snapshot: snapshot?.seq,
            snapshotBytes: snapshot?.state.length,
          });
          const small = partition.checkpoint(seq * 100);
          grow(small, "account/small", 1, 1);
          await small.commit();
          await partition.close();
          tell("went-on", { small: seq });
          process.disconnect?.();
          return;
        }
      }
    }
  }
}

await main(JSON.parse(process.argv[2]!) as ChildTask);
