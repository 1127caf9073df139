// What came of the steps of a saga, packed by hand: for the saga's record, and for the reply to whoever began it. Where a problem
// is among them, which may hold anything, they are values as any others.
import { frameOffset, replyKind } from "./frames.ts";
import {
  packedListHeadBytesMax,
  packedNumberBytesMax,
  packedTextBytesMax,
  packListHead,
  packNumber,
  packText,
} from "./pack-values.ts";
import { encodeReply, framedValue } from "./replies.ts";
import type { WireOutcome, WireReceipt } from "./saga-replies.ts";

/** Whether one of them has a problem, which only the codec of values can write. */
export function haveProblems(outcomes: readonly WireOutcome[]): boolean {
  for (let i = 0; i < outcomes.length; i++) if (outcomes[i]![3] !== null) return true;
  return false;
}

const receiptBytesMax = 1 + 6 * packedNumberBytesMax;
const outcomeBytesMax = 2 + packedNumberBytesMax + 2 * receiptBytesMax;

/** What so many packed outcomes take at most. */
export function packedOutcomesBytesMax(count: number): number {
  return packedListHeadBytesMax + count * outcomeBytesMax;
}

/** Packs outcomes without problems, and returns where the next byte goes. */
export function packOutcomes(outcomes: readonly WireOutcome[], bytes: Uint8Array, at: number): number {
  let p = packListHead(bytes, at, outcomes.length);
  for (let i = 0; i < outcomes.length; i++) p = packOutcome(outcomes[i]!, bytes, p);
  return p;
}

function packOutcome(outcome: WireOutcome, bytes: Uint8Array, at: number): number {
  let p = packListHead(bytes, at, 4);
  p = packNumber(bytes, p, outcome[0]);
  p = packReceipt(outcome[1], bytes, p);
  p = packReceipt(outcome[2], bytes, p);
  bytes[p] = 0xc0;
  return p + 1;
}

function packReceipt(receipt: WireReceipt | null, bytes: Uint8Array, at: number): number {
  if (receipt === null) {
    bytes[at] = 0xc0;
    return at + 1;
  }
  let p = packListHead(bytes, at, 6);
  for (let i = 0; i < 6; i++) p = packNumber(bytes, p, receipt[i]!);
  return p;
}

let lent = new Uint8Array(4_096);

/**
 * The reply to a saga's caller, a `WireSagaResult`: lent until the next one is made. `end` is its place in `sagaEnds`; `entities` are
 * those of the steps.
 */
export function encodeSagaReply(
  call: number,
  end: number,
  duplicate: boolean,
  entities: readonly string[],
  outcomes: readonly WireOutcome[],
): Uint8Array {
  const count = outcomes.length;
  if (haveProblems(outcomes)) {
    const steps = outcomes.map((outcome, i) => [entities[i]!, outcome]);
    return encodeReply(replyKind.value, call, [end, duplicate, steps]);
  }
  let room = frameOffset.replyBody + 8 + packedListHeadBytesMax + packedOutcomesBytesMax(count) + count;
  for (let i = 0; i < count; i++) room += packedTextBytesMax(entities[i]!);
  if (room > lent.length) lent = new Uint8Array(2 * room);
  const bytes = lent;
  let p = packListHead(bytes, frameOffset.replyBody, 3);
  p = packNumber(bytes, p, end);
  bytes[p++] = duplicate ? 0xc3 : 0xc2;
  p = packListHead(bytes, p, count);
  for (let i = 0; i < count; i++) {
    p = packListHead(bytes, p, 2);
    p = packText(bytes, p, entities[i]!);
    p = packOutcome(outcomes[i]!, bytes, p);
  }
  return framedValue(bytes, call, p);
}
