// Every decoder that meets bytes from outside, each with samples of what it should read. Whoever adds a decoder adds it
// here; the short run (decoders.unit.spec.ts) and the long one (decoders.fuzz.spec.ts) take it from this list.
import { HeddleError } from "@heddle/kernel";
import {
  decodeValue,
  ExportReader,
  ExportWriter,
  encodeErrorReply,
  encodeHello,
  encodeRejectionReply,
  encodeReply,
  encodeValue,
  FrameSplitter,
  helloBodyOffset,
  newAppendView,
  newExecuteView,
  readAppendBody,
  readDeleteBody,
  readExecuteBody,
  readGetAtBody,
  readGetBody,
  readHello,
  readHistoryBody,
  readImportBody,
  readListBody,
  readReply,
  readRestoreBody,
  receiptFrameBytes,
  rejection,
  replyKind,
  TextCache,
  writeAppendBody,
  writeDeleteBody,
  writeExecuteBody,
  writeGetAtBody,
  writeGetBody,
  writeHistoryBody,
  writeImportBody,
  writeListBody,
  writeReceiptFrame,
  writeRestoreBody,
} from "@heddle/protocol/internal";

export interface Decoder {
  readonly name: string;
  /** Reads `bytes` from `from` to `to` and nothing beside. */
  readonly decode: (bytes: Uint8Array, from: number, to: number) => unknown;
  /** What it should be able to read: fuzzing starts from here. */
  readonly samples: readonly Uint8Array[];
}

type Reserve = (bytes: number) => { bytes: Uint8Array; at: number };

function bodyOf(write: (reserve: Reserve) => number): Uint8Array {
  let room = new Uint8Array();
  const used = write((wanted) => {
    room = new Uint8Array(wanted);
    return { bytes: room, at: 0 };
  });
  return room.subarray(0, used);
}

const account = { entity: "account/alice", aggregate: "Account" };
const events = [
  { type: "Credited", payload: { amount: 5, note: "é".repeat(40), at: new Date(1_763_600_000_000) } },
  { type: "Debited", payload: [1, -1, 300, 2 ** 40, 1.5, null, true, Uint8Array.of(1, 2, 3)] },
];
const value = { events, big: 5n, nothing: undefined, nested: [[[[{ a: {} }]]]] };

function receiptFrame(): Uint8Array {
  const frame = new Uint8Array(receiptFrameBytes);
  writeReceiptFrame(frame, 0, 7, 1, 2, 3, 4, 5, false);
  return frame;
}

const replies = [
  receiptFrame(),
  encodeRejectionReply(1, rejection("INVARIANT_VIOLATED", { aggregate: "Account", rule: "r", index: 0 })),
  encodeRejectionReply(1, rejection("COMMAND_REJECTED", { command: "C", reason: "R", details: {} })),
  encodeErrorReply(1, new HeddleError("INVALID_PAYLOAD", { aggregate: "A", type: "T", index: 0, issues: [] })),
  encodeErrorReply(0, new HeddleError("OVERLOADED", { queue: "q", depth: 1, depthMax: 1 })),
  encodeReply(replyKind.value, 3, value),
  encodeReply(replyKind.welcome, 0, { version: 1, node: "n", context: "c", shardCount: 4, durability: "fsync" }),
  encodeReply(replyKind.pong, 0, null),
];

const texts = new TextCache(64);

function exported(count: number): Uint8Array {
  const writer = new ExportWriter();
  const header = { context: "bank", entity: "account/alice", seq: count, exportedAt: "2026-01-01T00:00:00.000Z" };
  const lines = [writer.header(header)];
  for (let seq = 1; seq <= count; seq++) {
    lines.push(writer.event({ seq, time: 7, aggregate: "Account", schemaVersion: 1, ...events[seq - 1]! }));
  }
  return new TextEncoder().encode([...lines, writer.end()].join(""));
}

export const decoders: readonly Decoder[] = [
  {
    name: "decodeValue",
    decode: (bytes, from, to) => decodeValue(bytes.subarray(from, to)),
    samples: [encodeValue(value).slice(), encodeValue("x".repeat(300)).slice(), encodeValue(events).slice()],
  },
  {
    name: "readAppendBody",
    decode: (bytes, from, to) => {
      const view = newAppendView();
      readAppendBody(bytes, from, to, texts, view);
      return view;
    },
    samples: [
      bodyOf((reserve) => writeAppendBody({ ...account, events: events.slice(0, 1) }, reserve)),
      bodyOf((reserve) =>
        writeAppendBody({ ...account, events, expectedSeq: 7, id: "an id", metadata: { trace: "x" } }, reserve),
      ),
    ],
  },
  {
    name: "readExecuteBody",
    decode: (bytes, from, to) => {
      const view = newExecuteView();
      readExecuteBody(bytes, from, to, texts, view);
      return view;
    },
    samples: [
      bodyOf((reserve) => writeExecuteBody({ ...account, command: "Withdraw", input: value }, reserve)),
      bodyOf((reserve) =>
        writeExecuteBody({ ...account, command: "W", input: 1, id: "i", expectedSeq: 1, metadata: 2 }, reserve),
      ),
    ],
  },
  {
    name: "readGetBody",
    decode: (bytes, from, to) => readGetBody(bytes, from, to, texts),
    samples: [bodyOf((reserve) => writeGetBody(account, reserve))],
  },
  {
    name: "readHistoryBody",
    decode: (bytes, from, to) => readHistoryBody(bytes, from, to, texts),
    samples: [
      bodyOf((reserve) => writeHistoryBody({ ...account, from: 1, limit: 10_000, direction: "backward" }, reserve)),
    ],
  },
  {
    name: "readGetAtBody",
    decode: (bytes, from, to) => readGetAtBody(bytes, from, to, texts),
    samples: [
      bodyOf((reserve) => writeGetAtBody({ ...account, at: { seq: 7 } }, reserve)),
      bodyOf((reserve) => writeGetAtBody({ ...account, at: { time: 2 ** 40 } }, reserve)),
    ],
  },
  {
    name: "readRestoreBody",
    decode: (bytes, from, to) => readRestoreBody(bytes, from, to, texts),
    samples: [
      bodyOf((reserve) => writeRestoreBody({ entity: "account/alice", at: { seq: 7 } }, reserve)),
      bodyOf((reserve) =>
        writeRestoreBody({ entity: "account/alice", at: { time: 7 }, expectedSeq: 9, id: "an id" }, reserve),
      ),
    ],
  },
  {
    name: "readDeleteBody",
    decode: (bytes, from, to) => readDeleteBody(bytes, from, to, texts),
    samples: [bodyOf((reserve) => writeDeleteBody({ entity: "account/alice", provisional: true }, reserve))],
  },
  {
    name: "readImportBody",
    decode: (bytes, from, to) => {
      const view = newAppendView();
      return [readImportBody(bytes, from, to, texts, view), view];
    },
    samples: [
      bodyOf((reserve) => writeImportBody({ ...account, events, time: 2 ** 40, trusted: true, id: "i" }, reserve)),
      bodyOf((reserve) =>
        writeImportBody({ ...account, events, time: 0, trusted: false, expectedSeq: 3, metadata: value }, reserve),
      ),
    ],
  },
  {
    name: "readListBody",
    decode: (bytes, from, to) => readListBody(bytes, from, to, texts),
    samples: [
      bodyOf((reserve) => writeListBody({ prefix: "account/", after: "account/é", limit: 9, erased: true }, reserve)),
    ],
  },
  {
    // Text, not bytes: what is no UTF-8 becomes replacement characters before it comes here.
    name: "ExportReader",
    decode: (bytes, from, to) => {
      const reader = new ExportReader();
      const lines = new TextDecoder().decode(bytes.subarray(from, to)).split("\n");
      const items = lines.map((line) => reader.read(line));
      reader.finish();
      return items;
    },
    samples: [exported(0), exported(2)],
  },
  {
    name: "readHello",
    decode: (bytes, from, to) => readHello(bytes.subarray(from, to)),
    samples: [encodeHello({ version: 1, session: 2 ** 40, client: "c", context: "bank" }).subarray(helloBodyOffset)],
  },
  {
    name: "readReply",
    // Errors compare by what they are, not by where they were made.
    decode: (bytes, from, to) => {
      const reply = readReply(bytes, from, to);
      return reply.kind === "error" ? { ...reply, error: [reply.error.code, reply.error.message] } : reply;
    },
    samples: replies,
  },
  {
    name: "FrameSplitter",
    decode: (bytes, from, to) => {
      const splitter = new FrameSplitter({ frameBytesMax: 4_096, frameBytesMin: 11 });
      const frames: Uint8Array[] = [];
      const visit = (frame: Uint8Array, start: number, end: number) => frames.push(frame.slice(start, end));
      // In three chunks, so that frames cross their borders.
      const third = Math.floor((to - from) / 3);
      splitter.push(bytes.subarray(from, from + third), visit);
      splitter.push(bytes.subarray(from + third, from + 2 * third), visit);
      splitter.push(bytes.subarray(from + 2 * third, to), visit);
      return [frames, splitter.pendingBytes];
    },
    samples: [Uint8Array.from(replies.flatMap((reply) => [...reply])), receiptFrame()],
  },
];
