// Trace: what happened in a simulation, one line an event, and the hash by which two runs are compared.
import { createHash } from "node:crypto";
import { crc32 } from "@heddle/kernel/internal";
import {
  decodeValue,
  frameOffset,
  readU16,
  readU32,
  readU48,
  replyKind,
  requestCall,
  requestFlags,
  requestKind,
} from "@heddle/protocol/internal";
import { replyMessageHeaderBytes, visitReplies, visitRequests } from "@heddle/runtime/internal";
import type { SimulatedTime } from "./simulated-time.ts";

export class Trace {
  readonly lines: string[] = [];
  readonly #time: SimulatedTime;

  constructor(time: SimulatedTime) {
    this.#time = time;
  }

  note(where: string, what: string): void {
    this.lines.push(`${this.#time.nowMs.toFixed(3).padStart(12)}  ${where.padEnd(14)} ${what}`);
  }

  /** SHA-256 of all lines, as hex. */
  hash(): string {
    const hash = createHash("sha256");
    for (const line of this.lines) hash.update(`${line}\n`);
    return hash.digest("hex");
  }
}

const shortBytesMax = 32;

const requestNames = namesOf(requestKind);
const replyNames = namesOf(replyKind);

/** Kinds of requests that are about one entity, and say so first. */
const ofAnEntity: ReadonlySet<number> = new Set([
  requestKind.append,
  requestKind.execute,
  requestKind.get,
  requestKind.history,
  requestKind.getAt,
  requestKind.restore,
  requestKind.delete,
  requestKind.import,
  requestKind.watch,
  requestKind.probe,
]);

/** A request in a line: kind, call, entity, and a checksum of its body. */
export function requestText(frame: Uint8Array): string {
  const kind = frame[frameOffset.kind]!;
  const body = frameOffset.requestBody;
  const isRetry = (frame[frameOffset.flags]! & requestFlags.retry) !== 0;
  const entity = ofAnEntity.has(kind) ? ` ${textOf(frame, body + 2, body + 2 + readU16(frame, body))}` : "";
  const name = requestNames.get(kind) ?? `kind ${kind}`;
  return `${name} #${requestCall(frame)}${isRetry ? " again" : ""}${entity} (${checksumOf(frame, body, frame.length)})`;
}

/** Reply frames that lie one behind the other, a line each. */
export function repliesText(frames: Uint8Array): string[] {
  const lines: string[] = [];
  for (let at = 0; at < frames.length; ) {
    const end = at + 4 + readU32(frames, at);
    const name = replyNames.get(frames[at + frameOffset.kind]!) ?? "reply";
    const call = readU48(frames, at + frameOffset.replyCall);
    const body = at + frameOffset.replyBody;
    // What answers a short question says more than its checksum.
    const isShort = frames[at + frameOffset.kind] !== replyKind.receipt && end - body <= shortBytesMax;
    const said = isShort ? JSON.stringify(decodeValue(frames.subarray(body, end))) : checksumOf(frames, body, end);
    lines.push(`${name} to #${call} (${said})`);
    at = end;
  }
  return lines;
}

/** What one thread sends to another. */
export function requestsText(packed: Uint8Array): string[] {
  const lines: string[] = [];
  if (packed[0] === 2) {
    visitReplies(packed.subarray(replyMessageHeaderBytes), (_connection, _calls, _bytes, from, to) => {
      lines.push(...repliesText(packed.subarray(replyMessageHeaderBytes).subarray(from, to)));
    });
  } else {
    visitRequests(packed, (_connection, shard, from, to) => {
      lines.push(`${requestText(packed.subarray(from, to))}, to shard ${shard}`);
    });
  }
  return lines;
}

function checksumOf(bytes: Uint8Array, from: number, to: number): string {
  return crc32(bytes, from, to).toString(16).padStart(8, "0");
}

function textOf(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString();
}

function namesOf(kinds: Readonly<Record<string, number>>): Map<number, string> {
  return new Map(Object.entries(kinds).map(([name, kind]) => [kind, name]));
}
