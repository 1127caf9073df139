// The binary floor's client: frames of one turn leave in one write, as the SDK's do.
import net from "node:net";
import { type FloorFrame, floorCodec } from "../floor/frames.ts";
import { accountNames } from "./accounts.ts";
import type { CallResult, Target } from "./target.ts";

export async function floorTarget(port: number, connections: number): Promise<Target> {
  const lanes = await Promise.all(Array.from({ length: connections }, () => openLane(port)));
  let lastId = 0;
  return {
    append: (caller, account, events) =>
      lanes[caller % lanes.length]!.send(
        { id: ++lastId, entity: accountNames[account]!, events },
        receiptReader(events.length),
      ),
    appendMany: (items) =>
      lanes[0]!.send(
        { id: ++lastId, items: items.map(({ account, event }) => ({ entity: accountNames[account]!, ...event })) },
        receiptsReader(items.length),
      ),
    state() {
      throw new Error("the floor answers no reads");
    },
    async close() {
      for (const lane of lanes) lane.close();
    },
  };
}

// Made apart from the calls, so that a reader that waits for its answer does not keep the call's events alive.
function receiptReader(count: number): ReadSequences<CallResult> {
  return (reply, at) => receiptOf(reply.readUInt32LE(at), count);
}

function receiptsReader(items: number): ReadSequences<CallResult[]> {
  return (reply, at) => Array.from({ length: items }, (_, i) => receiptOf(reply.readUInt32LE(at + 4 * i), 1));
}

function receiptOf(seq: number, count: number): CallResult {
  return { ok: true, seq, firstSeq: seq - count + 1, count, duplicate: false };
}

/** Makes a result of the sequences that start at an offset. */
type ReadSequences<T> = (reply: Buffer, at: number) => T;

interface Lane {
  send<T>(frame: FloorFrame, read: ReadSequences<T>): Promise<T>;
  close(): void;
}

interface Pending {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
  readonly read: ReadSequences<unknown>;
}

async function openLane(port: number): Promise<Lane> {
  const socket = net.connect({ port, host: "127.0.0.1", noDelay: true });
  await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  const pending = new Map<number, Pending>();
  let queue: Buffer[] = [];
  let rest: Buffer | undefined;
  socket.on("data", (piece: Buffer) => {
    const data = rest === undefined ? piece : Buffer.concat([rest, piece]);
    rest = undefined;
    let at = 0;
    while (at + 8 <= data.length) {
      const end = at + 8 + 4 * data.readUInt32LE(at + 4);
      if (end > data.length) break;
      const id = data.readUInt32LE(at);
      const call = pending.get(id)!;
      pending.delete(id);
      call.resolve(call.read(data, at + 8) as never);
      at = end;
    }
    if (at < data.length) rest = Buffer.from(data.subarray(at));
  });
  socket.on("error", () => {
    // What failed is told to the callers by the close that follows.
  });
  socket.on("close", () => {
    for (const { reject } of pending.values()) reject(new Error("the floor closed the connection"));
    pending.clear();
  });
  const flush = () => {
    socket.write(queue.length === 1 ? queue[0]! : Buffer.concat(queue));
    queue = [];
  };
  return {
    send: (frame, read) =>
      new Promise((resolve, reject) => {
        pending.set(frame.id, { resolve, reject, read });
        const body = floorCodec.pack(frame);
        const framed = Buffer.allocUnsafe(4 + body.length);
        framed.writeUInt32LE(body.length, 0);
        framed.set(body, 4);
        if (queue.push(framed) === 1) setImmediate(flush);
      }),
    close: () => socket.destroy(),
  };
}
