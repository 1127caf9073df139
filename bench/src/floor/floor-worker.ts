// The binary floor's worker thread: decode, fold, append to one file, sync a group while the next one fills.
import fs from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { FloorCounters } from "./counters.ts";
import { type FloorFrame, FloorStates, floorCodec, floorFold } from "./frames.ts";

export interface FloorWorkerData {
  readonly file: string;
  readonly durability: "fsync" | "os";
  readonly counters: SharedArrayBuffer;
}

/** A group never grows to this: the callers of a scenario have no more than this unanswered. */
const groupBytesMax = 32 << 20;

const { file, durability, counters: shared } = workerData as FloorWorkerData;
const port = parentPort!;
const counters = new FloorCounters(shared);
const descriptor = fs.openSync(file, "w");
const states = new FloorStates();
const pair = [Buffer.allocUnsafe(groupBytesMax), Buffer.allocUnsafe(groupBytesMax)] as const;
let active: 0 | 1 = 0;
let filled = 0;
let filledEvents = 0;
let waiting: Uint32Array<ArrayBuffer>[] = [];
let syncing = false;

port.on("message", (packed: Uint8Array) => {
  const data = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength);
  const acks: number[] = [];
  for (let at = 0; at < data.length; ) {
    const socket = data.readUInt32LE(at);
    const from = at + 8;
    const to = from + data.readUInt32LE(at + 4);
    take(floorCodec.unpack(data.subarray(from, to)) as FloorFrame, socket, acks);
    data.copy(pair[active], filled, from, to);
    filled += to - from;
    at = to;
  }
  waiting.push(Uint32Array.from(acks));
  commit();
});

function take(frame: FloorFrame, socket: number, acks: number[]): void {
  if ("events" in frame) {
    const state = states.of(frame.entity);
    for (const event of frame.events) {
      floorFold[event.type](state, event.payload);
      state.seq++;
    }
    filledEvents += frame.events.length;
    acks.push(socket, frame.id, 1, state.seq);
    return;
  }
  acks.push(socket, frame.id, frame.items.length);
  for (const item of frame.items) {
    const state = states.of(item.entity);
    floorFold[item.type](state, item.payload);
    acks.push(++state.seq);
  }
  filledEvents += frame.items.length;
}

function commit(): void {
  if (syncing || filled === 0) return;
  syncing = true;
  const bytes = filled;
  const events = filledEvents;
  const acks = waiting;
  fs.writeSync(descriptor, pair[active], 0, bytes);
  active = active === 0 ? 1 : 0;
  filled = 0;
  filledEvents = 0;
  waiting = [];
  const durable = (error: Error | null) => {
    if (error !== null) throw error;
    syncing = false;
    counters.countGroup(events, bytes);
    for (const ack of acks) port.postMessage(ack, [ack.buffer]);
    commit();
  };
  if (durability === "fsync") fs.fdatasync(descriptor, durable);
  else setImmediate(durable, null);
}
