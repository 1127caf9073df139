// Planted bugs: what the checkers of the simulator must find. Each stands between two parts of the node, where the network or
// a disk would be at fault; no code of the product knows of them. They end with the faults: whoever looks at what there is finds
// a node that works.
import {
  frameOffset,
  readTransactionKey,
  readU32,
  requestKind,
  writeRequestHeader,
  writeSettleBody,
  writeU32,
} from "@heddle/protocol/internal";
import { requestBlockHeaderBytes, requestMessageHeaderBytes, visitRequests } from "@heddle/runtime/internal";
import { innerConnectionMin } from "@heddle/shard/internal";
import type { Packed, Planting, Seams } from "@heddle/testkit/internal";

export const bugNames = ["lost-reply", "double-apply", "reordered-step", "torn-write", "lost-hold"] as const;
export type BugName = (typeof bugNames)[number];
type Plant = (planting: Planting) => Seams;

const plants: Record<BugName, Plant> = {
  "lost-reply": lostReply,
  "double-apply": doubleApply,
  "reordered-step": reorderedStep,
  "torn-write": tornWrite,
  "lost-hold": lostHold,
};

export function seamsOf(bug: BugName): Plant {
  return plants[bug];
}

/** An answer vanishes, and nobody is told: one to clients, or one from thread to thread. */
function lostReply({ chance, trace, isOn }: Planting): Seams {
  const vanishes = () => {
    const happens = isOn() && chance.happens(0.02);
    if (happens) trace.note("BUG", "a reply vanishes");
    return happens;
  };
  return {
    replies: (packed) => (vanishes() ? undefined : packed),
    betweenThreads: (_from, _to, message, forward) => {
      if (isRequests(message) || !vanishes()) forward(message);
    },
  };
}

/** A step of a saga is delivered twice, the second time under another id. */
function doubleApply({ chance, trace, isOn }: Planting): Seams {
  let call = forgedCallMin;
  return {
    betweenThreads: (from, _to, message, forward) => {
      forward(message);
      for (const { shard, frame } of requestsOf(message)) {
        const idAt = frame.indexOf("saga:", frameOffset.requestBody);
        if (!isStep(frame) || !isOn() || !chance.happens(0.1)) continue;
        trace.note("BUG", "a step is delivered twice");
        const again = Buffer.from(frame);
        again.write("twice", idAt);
        forward(requestMessage(from, shard, renumbered(again, call++)));
      }
    },
  };
}

/** A message with steps, or with what is to be settled or prepared, is overtaken by those behind it. */
function reorderedStep({ chance, trace, after, isOn }: Planting): Seams {
  return {
    betweenThreads: (_from, _to, message, forward) => {
      const held = requestsOf(message).some(
        ({ frame }) => isStep(frame) || ofTransactions.has(frame[frameOffset.kind]!),
      );
      if (!held || !isOn() || !chance.happens(0.1)) {
        forward(message);
        return;
      }
      const delayMs = chance.between(1, 4_000);
      trace.note("BUG", `a message is held back for ${delayMs} ms, and overtaken`);
      after(delayMs, () => forward(message));
    },
  };
}

/** A disk says that it has synced, and has not. The next sync that is none of these makes good for it, if it comes in time. */
function tornWrite({ chance, trace, isOn }: Planting): Seams {
  return {
    liesAboutSync: (shard) => {
      const lies = isOn() && chance.happens(0.3);
      if (lies) trace.note("BUG", `the disk of shard ${shard} lies about a sync`);
      return lies;
    },
  };
}

/** A shard forgets what it holds for a transaction: it is told that the transaction was given up. */
function lostHold({ chance, trace, isOn }: Planting): Seams {
  let call = forgedCallMin;
  return {
    betweenThreads: (from, _to, message, forward) => {
      forward(message);
      for (const { shard, frame } of requestsOf(message)) {
        if (frame[frameOffset.kind] !== requestKind.hold || !isOn() || !chance.happens(0.2)) continue;
        trace.note("BUG", `shard ${shard} forgets a hold`);
        const body = frameOffset.requestBody;
        const key = readTransactionKey(frame, body, body + transactionKeyBytes);
        let bytes: Uint8Array = new Uint8Array();
        writeSettleBody({ ...key, commits: false, position: 0 }, (wanted) => {
          bytes = new Uint8Array(body + wanted);
          return { bytes, at: body };
        });
        writeU32(bytes, 0, bytes.length - 4);
        writeRequestHeader(bytes, 0, { kind: requestKind.settle, flags: 0, hash: shard, call: call++ });
        forward(requestMessage(from, shard, bytes));
      }
    },
  };
}

// ——— messages between threads

const transactionKeyBytes = 8;
const ofTransactions: ReadonlySet<number> = new Set([requestKind.prepare, requestKind.settle]);
/** From here on: numbers of calls that no thread has made, whose replies are for nobody. */
const forgedCallMin = 2 ** 40;

interface Request {
  readonly shard: number;
  readonly frame: Buffer;
}

function isRequests(message: Packed): boolean {
  return message[0] !== 2;
}

function requestsOf(message: Packed): Request[] {
  const requests: Request[] = [];
  if (!isRequests(message)) return requests;
  visitRequests(message, (_connection, shard, from, to) => {
    requests.push({ shard, frame: Buffer.from(message.buffer, message.byteOffset + from, to - from) });
  });
  return requests;
}

/** An append or command that carries the id of a saga's step; the saga's own history has none. */
function isStep(frame: Buffer): boolean {
  const kind = frame[frameOffset.kind];
  return (kind === requestKind.append || kind === requestKind.execute) && frame.includes("saga:");
}

/** The same request as another call. */
function renumbered(frame: Uint8Array, call: number): Uint8Array {
  const copy = frame.slice();
  const header = { kind: frame[frameOffset.kind]!, flags: 0, hash: readU32(frame, frameOffset.hash), call };
  writeRequestHeader(copy, 0, header);
  return copy;
}

function requestMessage(from: number, shard: number, frame: Uint8Array): Packed {
  const message = new Uint8Array(requestMessageHeaderBytes + requestBlockHeaderBytes + frame.length);
  writeU32(message, requestMessageHeaderBytes, innerConnectionMin + from);
  writeU32(message, requestMessageHeaderBytes + 4, shard);
  message.set(frame, requestMessageHeaderBytes + requestBlockHeaderBytes);
  return message;
}
