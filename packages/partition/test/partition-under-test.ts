// Fixtures: partitions in temporary folders that are always closed, and child processes that are always ended.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import {
  type CheckpointWriter,
  type DetachedReader,
  type EntityHead,
  openPartition,
  openPartitionReadOnly,
  type Partition,
  type PartitionOptions,
  type SnapshotRecord,
} from "@heddle/partition/internal";
import type { ChildMessage, ChildTask } from "./child-tasks.ts";

const folders: string[] = [];
const opened: { close(): Promise<void> }[] = [];
const children: ChildProcess[] = [];

export function freshFolder(name = "partition-"): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-"));
  folders.push(folder);
  return path.join(folder, name);
}

export function open(folder: string, options: Partial<PartitionOptions> = {}): Partition {
  const partition = openPartition({ folder, shard: 3, ...options });
  opened.push(partition);
  return partition;
}

export function openReader(folder: string): DetachedReader {
  const reader = openPartitionReadOnly({ folder, shard: 3 });
  opened.push(reader);
  return reader;
}

/** For `afterEach`: no environment, process or folder outlives its test. */
export async function cleanUp(): Promise<void> {
  for (const child of children.splice(0)) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  }
  for (const partition of opened.splice(0)) await partition.close();
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
}

export function entityName(index: number): string {
  return `account/${String(index).padStart(6, "0")}`;
}

export function appendIdOf(index: number, seq: number): string {
  return `id-${index}-${seq}`;
}

/** Extents of one event each: sequences `from` to `to`, at positions that only depend on the sequence. */
export function singleEvents(from: number, to: number): Float64Array {
  const quads: number[] = [];
  for (let seq = from; seq <= to; seq++) quads.push(seq, 1, positionOf(seq), checkOf(seq));
  return Float64Array.from(quads);
}

export function positionOf(seq: number): number {
  return seq * 100;
}

export function checkOf(seq: number): number {
  return Math.imul(seq, 0x9e3779b1) >>> 0;
}

/** Any 32 characters from 0 to 255, by the sequence. */
export function chainOf(seq: number): string {
  return String.fromCharCode(...Array.from({ length: 32 }, (_, i) => (seq * 7 + i * 37) & 0xff));
}

export function headAt(seq: number, baseSeq = 0): EntityHead {
  return { seq, position: positionOf(seq), time: 1_700_000_000_000 + seq, chain: chainOf(seq), baseSeq };
}

export function snapshotAt(seq: number, state = `state ${seq}`, aggregate = "Account"): SnapshotRecord {
  return { aggregate, foldVersion: 1, seq, state: new TextEncoder().encode(state) };
}

/** Puts an entity that has grown from one sequence to another. */
export function grow(writer: CheckpointWriter, entity: string, from: number, to: number): void {
  writer.putEntity(entity, headAt(to), singleEvents(from, to), [snapshotAt(to)]);
}

/** Ids that a few of the entities get besides, with one event: so many that they stand in a run. */
export const busyRoundIds = 60;

export function busyIdsOf(index: number, seq: number): string[] {
  if (index % 75 !== 0) return [];
  return Array.from({ length: busyRoundIds }, (_, i) => `busy ${appendIdOf(index, seq)} ${i}`);
}

/** Puts the ids that an entity gets with one event. */
export function putIds(writer: CheckpointWriter, index: number, seq: number): void {
  for (const id of [appendIdOf(index, seq), ...busyIdsOf(index, seq)]) {
    writer.putAppendId(entityName(index), id, positionOf(seq));
  }
}

/** Stands in snapshots and append ids of the entities that {@link eraseSome} erases, and nowhere else. */
export const secret = "zq~what~nobody~may~read~again";

export function isErased(index: number): boolean {
  return index % 3 === 0;
}

/** Puts entities of five events; those that are erased later have secrets, some of them on pages of their own. */
export function putLives(writer: CheckpointWriter, entities: number): void {
  for (let i = 0; i < entities; i++) {
    const entity = entityName(i);
    const state = isErased(i) ? `${secret} ${i} `.repeat(i % 30 === 0 ? 300 : 1) : `plain ${i}`;
    writer.putEntity(entity, headAt(5), singleEvents(1, 5), [snapshotAt(5, state)]);
    for (const { id, position } of idsOfLife(i)) writer.putAppendId(entity, id, position);
  }
}

/** One for each event, and of every second entity so many with the last one that they stand in a run. */
export function idsOfLife(index: number): { readonly id: string; readonly position: number }[] {
  const count = index % 2 === 0 ? 45 : 5;
  return Array.from({ length: count }, (_, i) => ({
    id: isErased(index) ? `${secret} ${index} ${i + 1}` : appendIdOf(index, i + 1),
    position: positionOf(Math.min(i + 1, 5)),
  }));
}

/** Erases every third entity with a tombstone at sequence 6. */
export function eraseSome(writer: CheckpointWriter, entities: number): void {
  writer.putTypeCount("Account", "Credited", 1, entities);
  for (let i = 0; i < entities; i++) {
    if (!isErased(i)) continue;
    writer.forgetHistory(entityName(i), { belowSeq: 6, belowPosition: positionOf(6) });
    writer.putEntity(entityName(i), headAt(6, 6), singleEvents(6, 6), []);
    writer.putErasure(entityName(i), 6, "scrub");
  }
}

/** Whether the secret, or half of it, is in any file of the folder. */
export function holdsSecret(folder: string): boolean {
  const [first, second] = [secret.slice(0, secret.length / 2), secret.slice(secret.length / 2)];
  return fs.readdirSync(folder).some((name) => {
    const bytes = fs.readFileSync(path.join(folder, name));
    return bytes.includes(first) || bytes.includes(second);
  });
}

export interface Child {
  readonly process: ChildProcess;
  /** The next message, in order. Rejects if the child ends without one. */
  next(): Promise<ChildMessage>;
  send(word: string): void;
  /** Exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>;
}

/** Runs a task of child.ts in a process of its own. With `fileBytesMax`, no file of its can grow beyond that. */
export function startChild(task: ChildTask, options: { fileBytesMax?: number } = {}): Child {
  const script = fileURLToPath(new URL("child.ts", import.meta.url));
  const command = [process.execPath, script, JSON.stringify(task)];
  const blocks = Math.floor((options.fileBytesMax ?? 0) / 512);
  const limited = ["sh", "-c", `ulimit -f ${blocks} && exec "$0" "$@"`, ...command];
  const [program, ...args] = options.fileBytesMax === undefined ? command : limited;
  // lmdb reports a failed transaction on stderr by itself.
  const child = spawn(program!, args, { stdio: ["ignore", "inherit", blocks === 0 ? "inherit" : "ignore", "ipc"] });
  children.push(child);
  const arrived: ChildMessage[] = [];
  const waiting: { resolve: (message: ChildMessage) => void; reject: (error: Error) => void }[] = [];
  child.on("message", (message: ChildMessage) => {
    const first = waiting.shift();
    if (first === undefined) arrived.push(message);
    else first.resolve(message);
  });
  const ended = new Promise<number | string>((resolve) => {
    child.on("exit", (code, signal) => {
      resolve(code ?? signal ?? "unknown");
      for (const { reject } of waiting.splice(0)) {
        reject(new Error(`the child ended (${code ?? signal}) in ${JSON.stringify(task)}, a message was expected`));
      }
    });
  });
  return {
    process: child,
    next: () => {
      const first = arrived.shift();
      if (first !== undefined) return Promise.resolve(first);
      return new Promise((resolve, reject) => waiting.push({ resolve, reject }));
    },
    send: (word) => void child.send(word),
    ended,
  };
}
