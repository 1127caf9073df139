// The binary floor: what this machine can do at best, with no product around it.
//
// A listener thread splits length-prefixed frames and hands them, a turn's worth at a time, to one worker thread. The
// worker decodes each frame, folds its events into a state per entity, appends the frame to one file, and acknowledges
// only after the group's fdatasync. No ids, no rules, no checksums, no index, no recovery: a real store does more, so
// its rate over this one, taken in the same minute on the same machine, says what the semantics cost.
import net from "node:net";
import { Worker } from "node:worker_threads";
import { FloorCounters } from "./counters.ts";
import type { FloorWorkerData } from "./floor-worker.ts";
import { FrameCutter } from "./frames.ts";

export interface Floor {
  readonly port: number;
  readonly counters: FloorCounters;
  close(): Promise<void>;
}

export async function startBinaryFloor(file: string, durability: "fsync" | "os"): Promise<Floor> {
  const counters = new FloorCounters();
  const workerData: FloorWorkerData = { file, durability, counters: counters.shared };
  const worker = new Worker(new URL("./floor-worker.ts", import.meta.url), { workerData });
  const sockets: net.Socket[] = [];
  worker.on("message", (replies: Uint32Array) => deliver(replies, sockets));
  let parts: Uint8Array[] = [];
  let bytes = 0;
  let scheduled = false;
  const flush = () => {
    scheduled = false;
    const packed = new Uint8Array(bytes);
    let at = 0;
    for (const part of parts) {
      packed.set(part, at);
      at += part.length;
    }
    parts = [];
    bytes = 0;
    worker.postMessage(packed, [packed.buffer]);
  };
  const server = net.createServer({ noDelay: true }, (socket) => {
    const index = sockets.push(socket) - 1;
    const cutter = new FrameCutter();
    // A client that is killed resets its connections; the next round has a client of its own.
    socket.on("error", () => {});
    socket.on("data", (piece: Buffer) => {
      cutter.cut(piece, (data, from, to) => {
        const head = Buffer.allocUnsafe(8);
        head.writeUInt32LE(index, 0);
        head.writeUInt32LE(to - from, 4);
        parts.push(head, data.subarray(from, to));
        bytes += 8 + to - from;
      });
      if (bytes === 0 || scheduled) return;
      scheduled = true;
      setImmediate(flush);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    counters,
    async close() {
      server.close();
      for (const socket of sockets) socket.destroy();
      // Nothing native is open in it but a file descriptor, so that it may end at any instruction.
      await worker.terminate();
    },
  };
}

// From the worker: u32 socket | u32 call | u32 sequences | the sequences, again and again.
function deliver(replies: Uint32Array, sockets: readonly net.Socket[]): void {
  const bySocket = new Map<number, number[]>();
  for (let at = 0; at < replies.length; ) {
    const socket = replies[at]!;
    const end = at + 3 + replies[at + 2]!;
    let list = bySocket.get(socket);
    if (list === undefined) {
      list = [];
      bySocket.set(socket, list);
    }
    for (at++; at < end; at++) list.push(replies[at]!);
  }
  for (const [socket, list] of bySocket) sockets[socket]!.write(Buffer.from(Uint32Array.from(list).buffer));
}
