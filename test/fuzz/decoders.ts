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
  encodeSagaSteps,
  encodeValue,
  FrameSplitter,
  helloBodyOffset,
  newAppendView,
  newExecuteView,
  newTransactView,
  packContent,
  queryFields,
  readAppendBody,
  readCancelReminderBody,
  readContent,
  readCursor,
  readDeleteBody,
  readExecuteBody,
  readFeedBody,
  readFeedEnds,
  readFeedPage,
  readGetAtBody,
  readGetBody,
  readGroupForgetBody,
  readGroupList,
  readGroupPage,
  readGroupPollBody,
  readHello,
  readHistoryBody,
  readHoldBody,
  readImportBody,
  readListBody,
  readProjectionList,
  readProjectionListBody,
  readProjectionOperateBody,
  readQueryBody,
  readQueryResult,
  readRemindBody,
  readReminderListBody,
  readRemindersBody,
  readReply,
  readRestoreBody,
  readSagaBody,
  readSagaEraseBody,
  readSagaList,
  readSagaListBody,
  readSagaOperateBody,
  readSagaRecord,
  readSagaResult,
  readSagaShowBody,
  readSagaSteps,
  readSettleBody,
  readTransactBody,
  readTransaction,
  readTransactionKey,
  readTransactRead,
  readUnwatchBody,
  readWatchBody,
  readWatchPage,
  receiptFrameBytes,
  rejection,
  replyKind,
  requestKind,
  TextCache,
  writeAppendBody,
  writeCancelReminderBody,
  writeDeleteBody,
  writeExecuteBody,
  writeFeedBody,
  writeGetAtBody,
  writeGetBody,
  writeGroupForgetBody,
  writeGroupPollBody,
  writeHistoryBody,
  writeHoldBody,
  writeImportBody,
  writeListBody,
  writeProjectionListBody,
  writeProjectionOperateBody,
  writeQueryBody,
  writeReceiptFrame,
  writeRemindBody,
  writeReminderListBody,
  writeRemindersBody,
  writeRestoreBody,
  writeSagaBody,
  writeSagaEraseBody,
  writeSagaListBody,
  writeSagaOperateBody,
  writeSagaShowBody,
  writeSettleBody,
  writeTransactBody,
  writeTransactionKey,
  writeUnwatchBody,
  writeWatchBody,
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

const reminder = { name: "monthly", missed: "all", id: "set-1" } as const;

function receiptFrame(): Uint8Array {
  const frame = new Uint8Array(receiptFrameBytes);
  writeReceiptFrame(frame, 0, 7, 1, 2, 3, 4, 5, false);
  return frame;
}

const replies = [
  receiptFrame(),
  encodeRejectionReply(1, rejection("INVARIANT_VIOLATED", { aggregate: "Account", rule: "r", index: 0 })),
  encodeRejectionReply(1, rejection("COMMAND_REJECTED", { command: "C", reason: "R", details: {} })),
  encodeRejectionReply(
    1,
    rejection("TRANSACTION_REJECTED", {
      operation: 1,
      entity: "account/alice",
      rejection: rejection("SEQUENCE_CONFLICT", { expectedSeq: 1, actualSeq: 2 }),
    }),
  ),
  encodeErrorReply(1, new HeddleError("INVALID_PAYLOAD", { aggregate: "A", type: "T", index: 0, issues: [] })),
  encodeErrorReply(0, new HeddleError("OVERLOADED", { queue: "q", depth: 1, depthMax: 1 })),
  encodeReply(replyKind.value, 3, value),
  encodeReply(replyKind.value, 3, [0, true, [["account/alice", [4, [2, 2, 1, 0, 2 ** 40, 7], null, null]]]]),
  encodeReply(replyKind.welcome, 0, { version: 1, node: "n", context: "c", shardCount: 4, durability: "fsync" }),
  encodeReply(replyKind.pong, 0, null),
];

const texts = new TextCache(64);

const sagaSteps = encodeSagaSteps("x", [
  [{ ...account, forward: events, back: { command: "Undo", input: value } }],
  [{ entity: "account/bob", forward: { type: "Credited", payload: 5 }, back: null, timeoutMs: 9 }],
]);

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
    name: "readWatchBody",
    decode: (bytes, from, to) => readWatchBody(bytes, from, to, texts),
    samples: [bodyOf((reserve) => writeWatchBody({ ...account, from: 8, limit: 100, waitMs: 10_000 }, reserve))],
  },
  {
    name: "readUnwatchBody",
    decode: (bytes, from, to) => readUnwatchBody(bytes, from, to, texts),
    samples: [bodyOf((reserve) => writeUnwatchBody({ call: 7 }, reserve))],
  },
  {
    name: "readWatchPage",
    decode: (bytes, from, to) => readWatchPage(decodeValue(bytes.subarray(from, to))),
    samples: [encodeValue([[[1, 2, "Account", "Credited", { amount: 5 }, null, null, 1, 64]], 2]).slice()],
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
    name: "readRemindBody",
    decode: (bytes, from, to) => {
      const fields = readRemindBody(bytes, from, to, texts);
      return [fields, readContent(fields.content, fields.aggregate, texts)];
    },
    samples: [
      bodyOf((reserve) =>
        writeRemindBody(
          { ...account, ...reminder, schedule: { at: 2 ** 40 }, content: packContent({ events }) },
          reserve,
        ),
      ),
      bodyOf((reserve) =>
        writeRemindBody(
          {
            ...account,
            ...reminder,
            schedule: { cron: "0 8 1 * *", timeZone: "Europe/Berlin" },
            content: packContent({ command: "Bill", input: value }),
          },
          reserve,
        ),
      ),
    ],
  },
  {
    name: "readCancelReminderBody",
    decode: (bytes, from, to) => readCancelReminderBody(bytes, from, to, texts),
    samples: [bodyOf((reserve) => writeCancelReminderBody({ entity: "account/alice", name: "monthly" }, reserve))],
  },
  {
    name: "readRemindersBody",
    decode: (bytes, from, to) => readRemindersBody(bytes, from, to, texts),
    samples: [bodyOf((reserve) => writeRemindersBody({ entity: "account/alice" }, reserve))],
  },
  {
    name: "readReminderListBody",
    decode: (bytes, from, to) => readReminderListBody(bytes, from, to, texts),
    samples: [
      bodyOf((reserve) =>
        writeReminderListBody({ before: 2 ** 41, limit: 7, afterDue: 2 ** 40, afterEntity: "account/é" }, reserve),
      ),
    ],
  },
  {
    name: "readFeedBody",
    decode: (bytes, from, to) => readFeedBody(bytes, from, to, texts),
    samples: [
      bodyOf((reserve) =>
        writeFeedBody(
          {
            from: { record: 2 ** 40, skip: 7 },
            waitMs: 10_000,
            limit: 1_000,
            kind: "account",
            aggregate: "Account",
            types: ["Credited", "Gutgeschrieben für é"],
          },
          reserve,
        ),
      ),
      bodyOf((reserve) =>
        writeFeedBody({ from: "now", waitMs: 0, limit: 1, kind: "", aggregate: "", types: [] }, reserve),
      ),
    ],
  },
  {
    name: "readFeedPage",
    decode: (bytes, from, to) => readFeedPage(decodeValue(bytes.subarray(from, to)), 3),
    samples: [
      encodeValue([
        8192,
        2,
        [[64, 1, 88, "account/alice", "Account", 7, 1_763_600_000_000, "pay-1", value, [[0, "Credited", 1, value]]]],
      ]).slice(),
      encodeValue([0, 0, []]).slice(),
    ],
  },
  {
    name: "readFeedEnds",
    decode: (bytes, from, to) => readFeedEnds(decodeValue(bytes.subarray(from, to))),
    samples: [encodeValue([0, 2 ** 40]).slice()],
  },
  {
    name: "readCursor",
    decode: (bytes, from, to) => readCursor(Buffer.from(bytes.subarray(from, to)).toString("latin1"), 3),
    samples: [Buffer.from("0:8192.3,1:64,2:0")],
  },
  {
    name: "readQueryBody",
    decode: (bytes, from, to) => readQueryBody(bytes, from, to),
    samples: [
      bodyOf((reserve) =>
        writeQueryBody(
          queryFields("select * from accounts where ü = ?", [1, "x", null, true, 2n ** 60n, Uint8Array.of(1)], {
            after: [{ shard: 3, position: 2 ** 40 }],
            sink: "rqlite",
            consistency: "strong",
          }),
          reserve,
        ),
      ),
      bodyOf((reserve) => writeQueryBody(queryFields("select :a", { a: "é" }, {}), reserve)),
    ],
  },
  {
    name: "readQueryResult",
    decode: (bytes, from, to) => readQueryResult(decodeValue(bytes.subarray(from, to))),
    samples: [encodeValue([["a", "__proto__"], [[1, null]]]).slice()],
  },
  {
    name: "readProjectionListBody",
    decode: (bytes, from, to) => readProjectionListBody(bytes, from, to),
    samples: [bodyOf((reserve) => writeProjectionListBody({ projection: "accounts" }, reserve))],
  },
  {
    name: "readProjectionList",
    decode: (bytes, from, to) => readProjectionList(decodeValue(bytes.subarray(from, to))),
    samples: [
      encodeValue([
        { projection: "accounts", sink: "sqlite", state: "live", shards: [], failures: [], generation: 1 },
      ]).slice(),
    ],
  },
  {
    name: "readGroupPollBody",
    decode: (bytes, from, to) => readGroupPollBody(bytes, from, to),
    samples: [
      bodyOf((reserve) =>
        writeGroupPollBody(
          {
            group: "billing",
            member: "m-1",
            act: "join",
            turn: 2 ** 47,
            holds: 0,
            limit: 1_000,
            waitMs: 25_000,
            done: [],
            from: "now",
            kind: "account",
            aggregate: "Account",
            types: ["Credited", "Größe geändert"],
          },
          reserve,
        ),
      ),
      bodyOf((reserve) =>
        writeGroupPollBody(
          {
            group: "billing",
            member: "m-1",
            act: "leave",
            turn: 3,
            holds: 2 ** 32 - 1,
            limit: 0,
            waitMs: 0,
            done: [
              { slot: 31, shard: 65_535, record: 2 ** 47, skip: 2 ** 32 - 1 },
              { slot: 0, shard: 0, record: 0, skip: 0 },
            ],
            from: "beginning",
            kind: "",
            aggregate: "",
            types: [],
          },
          reserve,
        ),
      ),
    ],
  },
  {
    name: "readGroupForgetBody",
    decode: (bytes, from, to) => readGroupForgetBody(bytes, from, to),
    samples: [bodyOf((reserve) => writeGroupForgetBody({ group: "billing.eu-1" }, reserve))],
  },
  {
    name: "readGroupPage",
    decode: (bytes, from, to) => readGroupPage(decodeValue(bytes.subarray(from, to))),
    samples: [
      encodeValue([
        2 ** 32 - 1,
        3,
        64,
        2,
        [[64, 0, 88, "account/é", "Account", 7, 2 ** 40, null, value, [[0, "Credited", 2, value]]]],
      ]).slice(),
      encodeValue([0, 0, 0, 0, []]).slice(),
    ],
  },
  {
    name: "readGroupList",
    decode: (bytes, from, to) => readGroupList(decodeValue(bytes.subarray(from, to))),
    samples: [encodeValue([{ group: "billing", madeAt: 1, members: [], shards: [], lagBytes: 0 }]).slice()],
  },
  {
    name: "readProjectionOperateBody",
    decode: (bytes, from, to) => readProjectionOperateBody(bytes, from, to),
    samples: [
      bodyOf((reserve) =>
        writeProjectionOperateBody(
          { action: "skip", projection: "accounts", sink: "sqlite", entity: "account/é", reason: "twice", by: "ops" },
          reserve,
        ),
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
    name: "readHoldBody",
    decode: (bytes, from, to) => readHoldBody(bytes, from, to),
    samples: [
      bodyOf((reserve) => {
        const operations = [{ kind: requestKind.append, from: 2, to: 7 }];
        const fields = { coordinator: 65_535, number: 2 ** 47, isLast: true, operations };
        return writeHoldBody(
          fields,
          Uint8Array.from({ length: 9 }, (_, i) => i),
          reserve,
        );
      }),
    ],
  },
  {
    name: "readSettleBody",
    decode: (bytes, from, to) => readSettleBody(bytes, from, to),
    samples: [
      bodyOf((reserve) => writeSettleBody({ coordinator: 1, number: 2, commits: true, position: 2 ** 40 }, reserve)),
    ],
  },
  {
    name: "readTransactionKey",
    decode: (bytes, from, to) => readTransactionKey(bytes, from, to),
    samples: [bodyOf((reserve) => writeTransactionKey({ coordinator: 1, number: 2 ** 40 }, reserve))],
  },
  {
    name: "readTransactBody",
    decode: (bytes, from, to) => {
      const view = newTransactView();
      readTransactBody(bytes, from, to, texts, view);
      const reads = view.kinds.flatMap((kind, i) =>
        kind === requestKind.get ? [readTransactRead(bytes, view.froms[i]!, view.tos[i]!, texts)] : [],
      );
      return [view, reads];
    },
    samples: [
      bodyOf((reserve) =>
        writeTransactBody(
          {
            id: "an id",
            operations: [
              { kind: "read", ...account, wantsState: true, expectedSeq: 2 ** 40 },
              { kind: "append", ...account, events, expectedSeq: 7, metadata: value },
              { kind: "execute", ...account, command: "Withdraw", input: value },
            ],
          },
          reserve,
        ),
      ),
      bodyOf((reserve) =>
        writeTransactBody({ operations: [{ kind: "read", ...account, wantsState: false }] }, reserve),
      ),
    ],
  },
  {
    name: "readTransaction",
    decode: (bytes, from, to) => readTransaction(decodeValue(bytes.subarray(from, to))),
    samples: [
      encodeValue({ results: [[1], [2, value], [3, 2, 2, 1, 2 ** 40, 2 ** 40]], duplicate: true }).slice(),
      encodeValue({ results: [], duplicate: false }).slice(),
    ],
  },
  {
    name: "readSagaBody",
    decode: (bytes, from, to) => {
      const view = readSagaBody(bytes, from, to, texts);
      if (view.name !== "") return [view, decodeValue(bytes.subarray(view.contentFrom, to))];
      return [view, readSagaSteps(bytes, view.contentFrom, to)];
    },
    samples: [
      bodyOf((reserve) => writeSagaBody({ entity: "$saga/x", timeoutMs: 5, steps: sagaSteps }, reserve)),
      bodyOf((reserve) => writeSagaBody({ entity: "$saga/é", named: { name: "transfer", input: value } }, reserve)),
    ],
  },
  {
    name: "readSagaShowBody",
    decode: (bytes, from, to) => readSagaShowBody(bytes, from, to, texts),
    samples: [bodyOf((reserve) => writeSagaShowBody({ entity: "$saga/x" }, reserve))],
  },
  {
    name: "readSagaListBody",
    decode: (bytes, from, to) => readSagaListBody(bytes, from, to, texts),
    samples: [
      bodyOf((reserve) =>
        writeSagaListBody({ only: "stuck", limit: 7, after: { time: 2 ** 40, entity: "$saga/é" } }, reserve),
      ),
    ],
  },
  {
    name: "readSagaEraseBody",
    decode: (bytes, from, to) => readSagaEraseBody(bytes, from, to, texts),
    samples: [
      bodyOf((reserve) => writeSagaEraseBody({ entity: "$saga/x", participant: "account/é", gone: true }, reserve)),
    ],
  },
  {
    name: "readSagaOperateBody",
    decode: (bytes, from, to) => readSagaOperateBody(bytes, from, to, texts),
    samples: [
      bodyOf((reserve) =>
        writeSagaOperateBody({ entity: "$saga/x", as: "COMMITTED", reason: "paid", by: "ann" }, reserve),
      ),
    ],
  },
  {
    name: "readSagaResult",
    decode: (bytes, from, to) => readSagaResult(decodeValue(bytes.subarray(from, to)), "x"),
    samples: [
      encodeValue([
        2,
        true,
        [
          ["a/b", [1, [1, 1, 1, 0, 9, 9], null, null]],
          ["a/c", [2, null, null, ["X", "m", value]]],
        ],
      ]).slice(),
    ],
  },
  {
    name: "readSagaList",
    decode: (bytes, from, to) => readSagaList(decodeValue(bytes.subarray(from, to))),
    samples: [encodeValue({ sagas: [{ saga: "x", state: "STUCK", startedAt: 1, place: 2 }], more: true }).slice()],
  },
  {
    name: "readSagaRecord",
    decode: (bytes, from, to) => readSagaRecord(decodeValue(bytes.subarray(from, to))),
    samples: [
      encodeValue({ saga: "x", state: "STUCK", startedAt: 1, deadline: 2, steps: [], interventions: [] }).slice(),
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
