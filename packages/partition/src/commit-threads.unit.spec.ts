// What a thread of lmdb does after it has told of its commit cannot be held up from here: the statuses come from the spec.
import type { RootDatabase } from "lmdb";
import { expect, it } from "vitest";
import { CommitThreads } from "./commit-threads.ts";

type OnStatus = (status: number) => unknown;

function environment() {
  const started: OnStatus[] = [];
  const heard: number[] = [];
  class Native {
    startWriting(_instructions: unknown, onStatus: OnStatus): void {
      started.push(onStatus);
    }
  }
  const env = new Native();
  const threads = new CommitThreads({ env } as unknown as RootDatabase<Uint8Array, Uint8Array>);
  return { env, threads, started, heard, write: () => env.startWriting(8, (status) => heard.push(status)) };
}

it("a commit that is told of has not ended before its thread has, whatever came of it", async () => {
  const { threads, started, heard, write } = environment();
  await threads.ended();
  write();
  write();
  let isOver = false;
  const ended = threads.ended().then(() => {
    isOver = true;
  });
  started[0]!(1);
  started[1]!(1);
  started[1]!(2);
  started[0]!(0);
  await Promise.resolve();
  await Promise.resolve();
  expect(isOver).toBe(false);
  started[1]!(-30_792);
  await ended;
  expect(heard).toEqual([1, 1, 2, 0, -30_792]);
});

it("an lmdb that writes in another way is refused, rather than trusted", () => {
  const root = { env: {} } as unknown as RootDatabase<Uint8Array, Uint8Array>;
  expect(() => new CommitThreads(root)).toThrow("partition/lmdb-writes-through-its-environment");
});
