// Operating errors: typed, with a code, facts, whether a retry can help, and what to do about it.
//
// A class and its fields die on the way to another thread or process, so errors cross as data (`WireError`) and are
// rebuilt from their code. The table below is the one place that knows the codes; docs/reference/errors.md is held
// against it by a test. Rejections of commands are not errors: see protocol's `Rejection`.
import { systemKinds } from "./system-kinds.ts";

/** Of what stands in a transaction: which of its operations is meant, from 0, and its entity. */
interface OfOperation {
  operation?: number;
  entity?: string;
}

/** The facts that each error carries. Adding a code here fails to compile until `errorTable` has it too. */
export interface ErrorFacts {
  // Bad input: nothing changed, and the same call can never succeed.
  INVALID_ENTITY_ID: { found: string; problem: string };
  INVALID_REQUEST: { problem: string; path?: string };
  /** Of the input of a saga, `aggregate` is `$saga` and `type` the saga's name. */
  INVALID_PAYLOAD: OfOperation & {
    aggregate: string;
    type: string;
    index: number;
    issues: readonly PayloadIssue[];
  };
  UNKNOWN_AGGREGATE: OfOperation & { aggregate: string; known: readonly string[] };
  UNKNOWN_KIND: OfOperation & { entity: string; kind: string; known: readonly string[] };
  UNKNOWN_EVENT_TYPE: OfOperation & { aggregate: string; type: string; index: number; known: readonly string[] };
  UNKNOWN_COMMAND: OfOperation & { aggregate: string; command: string; known: readonly string[] };
  UNKNOWN_ROUTE: { method: string; path: string };
  OUT_OF_RANGE: { entity: string; asked: string; available: string };
  UNSUPPORTED_MEDIA_TYPE: { found: string; wanted: string };
  /** `entity` is `$saga/<id>` for a saga, and `aTransaction` for a transaction. */
  ID_REUSED: { entity: string; id: string };
  ID_EXPIRED: { problem: string };
  FRAME_TOO_LARGE: { bytes: number; bytesMax: number; saga?: string };
  BAD_FRAME: { problem: string };
  UNSUPPORTED_VERSION: { found: number; supported: readonly number[] };
  UNKNOWN_CONTEXT: { context: string; known: string };
  // The entity is not in a state that allows it.
  ERASED: { entity: string; seq: number; time: number };
  ENTITY_EXISTS: { entity: string; seq: number };
  ENTITY_HELD: { entity: string; heldMs: number };
  // Across entities.
  UNKNOWN_SAGA: { saga: string; known: readonly string[] };
  NO_SUCH_SAGA: { saga: string };
  SAGA_NOT_STUCK: { saga: string; state: string };
  TRANSACTION_ABORTED: { reason: string };
  TRANSACTION_CONFLICT: { entity: string; attempts: number };
  NO_SUCH_REMINDER: { entity: string; reminder: string };
  // Reading: subscriptions, projections, queries.
  GROUP_MEMBER_LOST: { group: string; member: string; problem: string };
  UNKNOWN_PROJECTION: { projection: string; known: readonly string[] };
  PROJECTION_CHANGED: { projection: string; sink: string; problem: string };
  PROJECTION_LAGS: { projection: string; sink: string; waitedMs: number; state: string };
  NOT_SET_ASIDE: { projection: string; entity: string };
  NO_QUERY_SINK: { wanted: string; known: readonly string[] };
  QUERY_REFUSED: { problem: string };
  QUERY_LIMIT: { limit: string; max: number };
  SINK_UNAVAILABLE: { sink: string; message: string };
  SINK_REFUSED: { sink: string; message: string };
  FEED_GAP: { source: string; shard: number; from: number; found: string };
  // The user's own code failed. The entity is as it was before.
  DOMAIN_FAILED: { where: string; message: string };
  DOMAIN_LOAD_FAILED: { module: string; message: string };
  SCHEMA_MISMATCH: { shard: number; missing: readonly string[] };
  // The node cannot do it now.
  OVERLOADED: { queue: string; depth: number; depthMax: number };
  DISK_FULL: { shard: number; path: string };
  SHARD_STOPPED: { shard: number; reason: string };
  OUTCOME_UNKNOWN: { problem: string };
  TIMEOUT: { afterMs: number; saga?: string };
  CONNECTION_FAILED: { address: string; message: string };
  CANNOT_LISTEN: { address: string; message: string };
  CLOSED: { what: string };
  // The data folder.
  DATA_FOLDER_IN_USE: { folder: string };
  DATA_FOLDER_VERSION: { folder: string; found: number; supported: number };
  DATA_FOLDER_MISMATCH: { folder: string; setting: string; found: string; wanted: string };
  DATA_FOLDER_UNWRITABLE: { folder: string; message: string };
  LOG_DAMAGED: { file: string; offset: number; problem: string };
  PARTITION_DAMAGED: { folder: string; problem: string };
  SLOW_DISK: { folder: string; measuredUs: number; thresholdUs: number };
  // What leaves the data folder and comes back.
  BACKUP_REFUSED: { folder: string; problem: string };
  KEYS_UNAVAILABLE: { file: string; problem: string };
  EXPORT_DAMAGED: { line: number; problem: string };
}

export type ErrorCode = keyof ErrorFacts;

/** One thing wrong with a payload: where (`amount`, `lines.0.sku`, or empty for the whole) and what was wanted. */
export interface PayloadIssue {
  readonly path: string;
  readonly message: string;
}

interface ErrorRow<C extends ErrorCode> {
  /** Whether sending the same call again, with the same id, can succeed without anybody changing anything. */
  readonly retryable: boolean;
  /** The HTTP status that carries it. */
  readonly status: number;
  readonly describe: (facts: ErrorFacts[C]) => string;
  /** What to do, as a sentence for the person who reads the message. */
  readonly advice: string;
  /** In its place, where the facts tell of something for which it would not help. */
  readonly adviceOf?: (facts: ErrorFacts[C]) => string | undefined;
}

export const errorTable: { readonly [C in ErrorCode]: ErrorRow<C> } = {
  INVALID_ENTITY_ID: {
    retryable: false,
    status: 400,
    describe: (f) => `${JSON.stringify(f.found)} is not an entity id: ${f.problem}`,
    advice: "Write kind/name, for example account/alice.",
  },
  INVALID_REQUEST: {
    retryable: false,
    status: 400,
    describe: (f) => (f.path === undefined ? f.problem : `${f.path}: ${f.problem}`),
    advice: "See docs/reference for the shape of this call.",
  },
  INVALID_PAYLOAD: {
    retryable: false,
    status: 422,
    describe: (f) =>
      `${whereOf(f)}${payloadOf(f)} does not fit its schema: ${f.issues
        .map((issue) => (issue.path === "" ? issue.message : `${issue.path}: ${issue.message}`))
        .join("; ")}`,
    advice: "Send what the schema of the domain module asks for.",
  },
  UNKNOWN_AGGREGATE: {
    retryable: false,
    status: 404,
    describe: (f) =>
      f.aggregate === ""
        ? `${whereOf(f)}no aggregate was named and it cannot be told from the event type; known: ${f.known.join(", ")}`
        : `${whereOf(f)}there is no aggregate ${JSON.stringify(f.aggregate)}; known: ${f.known.join(", ")}`,
    advice: "Name one of the known aggregates, or add it to the domain module.",
  },
  UNKNOWN_KIND: {
    retryable: false,
    status: 404,
    describe: (f) =>
      `${placeOf(f)}${f.entity} does not exist, and the domain module declares no kind ${JSON.stringify(f.kind)}; ` +
      `known: ${f.known.join(", ")}`,
    advice: "Name an entity of one of the known kinds, or add the kind to the domain module's kinds.",
  },
  UNKNOWN_EVENT_TYPE: {
    retryable: false,
    status: 404,
    describe: (f) => `${whereOf(f)}${f.aggregate} has no event ${JSON.stringify(f.type)}; known: ${f.known.join(", ")}`,
    advice: "Name one of the known events, or add it to the domain module.",
  },
  UNKNOWN_COMMAND: {
    retryable: false,
    status: 404,
    describe: (f) =>
      `${whereOf(f)}${f.aggregate} has no command ${JSON.stringify(f.command)}; known: ${f.known.join(", ")}`,
    advice: "Name one of the known commands, or add it to the domain module.",
  },
  UNKNOWN_ROUTE: {
    retryable: false,
    status: 404,
    describe: (f) => `there is nothing at ${f.method} ${f.path}`,
    advice: "GET /openapi.json lists every route.",
  },
  OUT_OF_RANGE: {
    retryable: false,
    status: 416,
    describe: (f) => `${f.entity} has no ${f.asked}: it has ${f.available}`,
    advice: "Ask for a sequence or a time that the entity has reached.",
  },
  UNSUPPORTED_MEDIA_TYPE: {
    retryable: false,
    status: 415,
    describe: (f) => `the body is ${f.found}, wanted ${f.wanted}`,
    advice: "Set the content-type header.",
  },
  ID_REUSED: {
    retryable: false,
    status: 422,
    describe: (f) => {
      const id = JSON.stringify(f.id);
      if (isSaga(f.entity)) return `the saga ${id} was begun before, with other steps or another input`;
      if (f.entity === aTransaction) return `the transaction ${id} took effect before, with other operations`;
      return `id ${id} was used on ${f.entity} before, with other content`;
    },
    advice: "Give every distinct append an id of its own.",
    adviceOf: (f) => {
      if (isSaga(f.entity)) return "Give every distinct saga an id of its own.";
      return f.entity === aTransaction ? "Give every distinct transaction an id of its own." : undefined;
    },
  },
  ID_EXPIRED: {
    retryable: false,
    status: 410,
    describe: (f) => f.problem,
    advice: "Read the entity's history to learn the outcome; give the append an id to make its retries safe for good.",
  },
  FRAME_TOO_LARGE: {
    retryable: false,
    status: 413,
    describe: (f) => {
      const what = f.saga === undefined ? "one call" : `the saga ${JSON.stringify(f.saga)}`;
      return `${f.bytes} bytes in ${what}, at most ${f.bytesMax} are allowed`;
    },
    advice: "Split the call.",
    adviceOf: (f) =>
      f.saga === undefined ? undefined : "Write what is large to an entity before, and give the saga the id of that.",
  },
  BAD_FRAME: {
    retryable: false,
    status: 400,
    describe: (f) => `what arrived is not a frame of this protocol: ${f.problem}`,
    advice: "Use a client of the same protocol version.",
  },
  UNSUPPORTED_VERSION: {
    retryable: false,
    status: 400,
    describe: (f) => `protocol version ${f.found} is not spoken here; supported: ${f.supported.join(", ")}`,
    advice: "Upgrade the older of client and node.",
  },
  UNKNOWN_CONTEXT: {
    retryable: false,
    status: 404,
    describe: (f) => `this node serves the context ${JSON.stringify(f.known)}, not ${JSON.stringify(f.context)}`,
    advice: "Connect to the node that serves it, or leave the context out.",
  },
  ERASED: {
    retryable: false,
    status: 410,
    describe: (f) => `${f.entity} was erased, at sequence ${f.seq}, ${new Date(f.time).toISOString()}`,
    advice: "What it held is gone for good. An append with newLife: true begins a new history under this id.",
  },
  ENTITY_EXISTS: {
    retryable: false,
    status: 409,
    describe: (f) => `${f.entity} has a history of its own, up to sequence ${f.seq}`,
    advice: "Choose an id that was never written to.",
  },
  ENTITY_HELD: {
    retryable: true,
    status: 503,
    describe: (f) => `${f.entity} has been held by a transaction for ${f.heldMs} ms`,
    advice: "Send again with the same id. If it stays held, the shard that coordinates the transaction is not running.",
  },
  UNKNOWN_SAGA: {
    retryable: false,
    status: 404,
    describe: (f) => `the domain module has no saga ${JSON.stringify(f.saga)}; known: ${f.known.join(", ")}`,
    advice: "Name one of the known sagas, or add it to the domain module.",
  },
  NO_SUCH_SAGA: {
    retryable: false,
    status: 404,
    describe: (f) => `no saga was begun with the id ${JSON.stringify(f.saga)}`,
    advice: "heddle sagas ls lists those that were.",
  },
  SAGA_NOT_STUCK: {
    retryable: false,
    status: 409,
    describe: (f) => `the saga ${JSON.stringify(f.saga)} is not stuck, it is ${f.state}`,
    advice: "Only a stuck saga waits for an operator.",
  },
  TRANSACTION_ABORTED: {
    retryable: true,
    status: 503,
    describe: (f) => `the transaction was given up, and nothing of it took effect: ${f.reason}`,
    advice: "Send it again; the SDK does so by itself.",
  },
  TRANSACTION_CONFLICT: {
    retryable: true,
    status: 503,
    describe: (f) => `after ${f.attempts} attempts, others still change ${f.entity} between its reading and the commit`,
    advice: "Try later, or let a command decide instead of reading first: it is asked while the entity is held.",
  },
  NO_SUCH_REMINDER: {
    retryable: false,
    status: 404,
    describe: (f) => `${f.entity} has no reminder ${JSON.stringify(f.reminder)}`,
    advice: "It may have been delivered or cancelled; list the entity's reminders.",
  },
  GROUP_MEMBER_LOST: {
    retryable: false,
    status: 409,
    describe: (f) => `${f.member} is no member of the group ${JSON.stringify(f.group)} any more: ${f.problem}`,
    advice: "Join again; the group goes on from what was last acknowledged, so some events may come twice.",
  },
  UNKNOWN_PROJECTION: {
    retryable: false,
    status: 404,
    describe: (f) => `there is no projection ${JSON.stringify(f.projection)}; known: ${f.known.join(", ") || "none"}`,
    advice: "Name one of the known projections, or add it to the domain module.",
  },
  PROJECTION_CHANGED: {
    retryable: false,
    status: 409,
    describe: (f) => `the projection ${f.projection} in ${f.sink} is not what the domain module defines: ${f.problem}`,
    advice:
      "Raise its version in the domain module, or run heddle projections rebuild; its rows stay readable meanwhile.",
  },
  PROJECTION_LAGS: {
    retryable: true,
    status: 503,
    describe: (f) =>
      `the projection ${f.projection} in ${f.sink} has not got there after ${f.waitedMs} ms: it is ${f.state}`,
    advice: "Ask again, or without `after`; heddle projections ls tells how far it is behind.",
  },
  NOT_SET_ASIDE: {
    retryable: false,
    status: 404,
    describe: (f) => `the projection ${f.projection} has set no event of ${f.entity} aside`,
    advice: "heddle projections ls tells what is set aside; it may have been retried or skipped.",
  },
  NO_QUERY_SINK: {
    retryable: false,
    status: 409,
    describe: (f) =>
      f.known.length === 0
        ? "this node keeps no projections"
        : `this node keeps its projections in ${f.known.join(" and ")}, and not in ${f.wanted}`,
    advice:
      "Name a sink that it has; or start it with --sink sqlite, or --sink and the http:// address of rqlite, and with a domain module " +
      "that has projections.",
  },
  QUERY_REFUSED: {
    retryable: false,
    status: 400,
    describe: (f) => `the query cannot be run: ${f.problem}`,
    advice: "Send one SELECT with a parameter for each placeholder.",
  },
  QUERY_LIMIT: {
    retryable: false,
    status: 422,
    describe: (f) => `the query went beyond its bound: ${f.limit}, at most ${f.max}`,
    advice: "Ask for less, with LIMIT or an index, or give the query a larger bound.",
  },
  SINK_UNAVAILABLE: {
    retryable: true,
    status: 503,
    describe: (f) => `${f.sink} cannot be reached: ${f.message}`,
    advice: "Nothing is lost: it goes on from where it was as soon as the server is back.",
  },
  SINK_REFUSED: {
    retryable: false,
    status: 502,
    describe: (f) => `${f.sink} refused: ${f.message}`,
    advice: "Look at its address, user and password, its disk, and what else writes to its tables.",
  },
  FEED_GAP: {
    retryable: false,
    status: 500,
    describe: (f) => `${f.source} has no events of shard ${f.shard} from position ${f.from} on, but ${f.found}`,
    advice: "Start a node with its publisher: it compares the stream with its log and sends what is missing.",
  },
  DOMAIN_FAILED: {
    retryable: false,
    status: 500,
    describe: (f) => `the domain module threw in ${f.where}: ${f.message}`,
    advice: "Mend the domain module; the entity is as it was before the call.",
  },
  DOMAIN_LOAD_FAILED: {
    retryable: false,
    status: 500,
    describe: (f) => `the domain module ${f.module} could not be used: ${f.message}`,
    advice: "Mend the module as the message says; its default export must be what defineContext returns.",
  },
  SCHEMA_MISMATCH: {
    retryable: false,
    status: 500,
    describe: (f) => `shard ${f.shard} holds what the domain module cannot read: ${f.missing.join("; ")}`,
    advice:
      "Put the aggregate, event or upcaster back into the domain module; heddle rehearse tells before a deployment.",
  },
  OVERLOADED: {
    retryable: true,
    status: 503,
    describe: (f) => `${f.queue} is full: ${f.depth} of ${f.depthMax}`,
    advice: "Send again after a pause, with the same id; the SDK does so by itself.",
  },
  DISK_FULL: {
    retryable: true,
    status: 507,
    describe: (f) => `no room on the disk for the log of shard ${f.shard} (${f.path})`,
    advice: "Make room; reads go on, and writes go on by themselves when there is room.",
  },
  SHARD_STOPPED: {
    retryable: true,
    status: 503,
    describe: (f) => `shard ${f.shard} is stopped: ${f.reason}`,
    advice: "See the node's log and run heddle doctor on the data folder.",
  },
  OUTCOME_UNKNOWN: {
    retryable: true,
    status: 503,
    describe: (f) => `it is not known whether the call took effect: ${f.problem}`,
    advice: "Send again with the same id: it takes effect once.",
  },
  TIMEOUT: {
    retryable: true,
    status: 504,
    describe: (f) =>
      f.saga === undefined
        ? `no answer within ${f.afterMs} ms; the call may still take effect`
        : `no answer within ${f.afterMs} ms; the saga ${JSON.stringify(f.saga)} goes on if it has begun`,
    advice: "Send again with the same id, or give the call a longer timeout.",
    adviceOf: (f) =>
      f.saga === undefined
        ? undefined
        : "heddle sagas show, or db.showSaga, tells how far it is; the same call again waits for the same end.",
  },
  CONNECTION_FAILED: {
    retryable: true,
    status: 503,
    describe: (f) => `no connection to ${f.address}: ${f.message}`,
    advice: "Is the node running there? heddle serve starts one.",
  },
  CANNOT_LISTEN: {
    retryable: false,
    status: 500,
    describe: (f) => `the node cannot listen on ${f.address}: ${f.message}`,
    advice: "Choose another port with --port, or stop what listens there.",
  },
  CLOSED: {
    retryable: false,
    status: 503,
    describe: (f) => `${f.what} is closed`,
    advice: "Open a new one.",
  },
  DATA_FOLDER_IN_USE: {
    retryable: false,
    status: 500,
    describe: (f) => `another process has ${f.folder} open`,
    advice: "Stop that process, or give this one a data folder of its own.",
  },
  DATA_FOLDER_VERSION: {
    retryable: false,
    status: 500,
    describe: (f) => `${f.folder} has format version ${f.found}, this program knows ${f.supported}`,
    advice: "Use the version of Heddle that wrote it.",
  },
  DATA_FOLDER_MISMATCH: {
    retryable: false,
    status: 500,
    describe: (f) => `${f.folder} was made with ${f.setting} ${f.found}, but ${f.wanted} is asked for`,
    advice: "These settings are fixed when a data folder is made: leave them out, or make a new folder.",
  },
  DATA_FOLDER_UNWRITABLE: {
    retryable: false,
    status: 500,
    describe: (f) => `${f.folder} cannot be used: ${f.message}`,
    advice: "Give the user that runs the node the right to write there.",
  },
  LOG_DAMAGED: {
    retryable: false,
    status: 500,
    describe: (f) => `the log is damaged at ${f.file}, offset ${f.offset}: ${f.problem}`,
    advice: "Nothing was changed. heddle doctor says what can be saved; restore the file from a backup.",
  },
  PARTITION_DAMAGED: {
    retryable: false,
    status: 500,
    describe: (f) => `the partition ${f.folder} cannot be used: ${f.problem}`,
    advice: "The log holds everything: heddle index rebuild makes the partition anew.",
  },
  SLOW_DISK: {
    retryable: false,
    status: 500,
    describe: (f) => `one synced write to ${f.folder} takes ${f.measuredUs} µs, more than ${f.thresholdUs} µs`,
    advice: "Use a faster disk, or raise --sync-threshold-us if this is good enough for you.",
  },
  BACKUP_REFUSED: {
    retryable: false,
    status: 500,
    describe: (f) => `the backup ${f.folder} cannot be used: ${f.problem}`,
    advice: "Nothing was changed. Use another backup, or make one anew in an empty folder.",
  },
  KEYS_UNAVAILABLE: {
    retryable: false,
    status: 500,
    describe: (f) => `the key store ${f.file} cannot be used: ${f.problem}`,
    advice: "Name the key store that the backup was made with (--keys); without it nobody can read the backup.",
  },
  EXPORT_DAMAGED: {
    retryable: false,
    status: 422,
    describe: (f) => `the export cannot be used, line ${f.line}: ${f.problem}`,
    advice:
      "Export again; what stands before that line may have been imported, and importing again goes on from there.",
  },
};

/** What stands for a transaction, which is no entity, in `ID_REUSED`. */
export const aTransaction = "a transaction";

function isSaga(entity: string): boolean {
  return entity.startsWith(`${systemKinds.saga}/`);
}

function whereOf({ operation, entity }: OfOperation): string {
  return entity === undefined ? "" : `${placeOf({ operation })}${entity}: `;
}

function placeOf({ operation }: { readonly operation?: number | undefined }): string {
  return operation === undefined ? "" : `operation ${operation}, `;
}

function payloadOf({ aggregate, type, index, entity }: ErrorFacts["INVALID_PAYLOAD"]): string {
  if (aggregate === systemKinds.saga) return `the input of the saga ${type}`;
  if (entity === undefined) return `payload of ${aggregate}.${type} (number ${index} of the call)`;
  return `payload of ${aggregate}.${type} (number ${index} of the operation)`;
}

/**
 * Every operating error. Switch on `code`; `facts` then has that code's fields:
 * `if (isHeddleError(error, "DISK_FULL")) error.facts.path`.
 */
export class HeddleError<C extends ErrorCode = ErrorCode> extends Error {
  override readonly name = "HeddleError";
  readonly code: C;
  readonly facts: ErrorFacts[C];
  readonly retryable: boolean;
  readonly advice: string;

  constructor(code: C, facts: ErrorFacts[C], options?: { cause?: unknown }) {
    const row = errorTable[code];
    const advice = row.adviceOf?.(facts) ?? row.advice;
    super(`${row.describe(facts)}. ${advice}`, options);
    this.code = code;
    this.facts = facts;
    this.retryable = row.retryable;
    this.advice = advice;
  }
}

/**
 * The error, saying of which operation it is: one that the caller counts otherwise, or that nobody has named yet. Errors whose
 * facts have no place for it come back as they are.
 */
export function ofOperation(error: HeddleError, operation: number | undefined, entity: string): HeddleError {
  switch (error.code) {
    case "INVALID_PAYLOAD":
    case "UNKNOWN_AGGREGATE":
    case "UNKNOWN_KIND":
    case "UNKNOWN_EVENT_TYPE":
    case "UNKNOWN_COMMAND": {
      const { operation: _, ...facts } = error.facts as ErrorFacts["UNKNOWN_AGGREGATE"];
      const placed = operation === undefined ? { ...facts, entity } : { ...facts, operation, entity };
      return new HeddleError(error.code as "UNKNOWN_AGGREGATE", placed, { cause: error.cause });
    }
    default:
      return error;
  }
}

/** The operation that an error is of. */
export function operationOf({ facts }: HeddleError): number | undefined {
  const { operation } = facts as OfOperation;
  return Number.isSafeInteger(operation) ? operation : undefined;
}

export function isHeddleError<C extends ErrorCode>(error: unknown, code: C): error is HeddleError<C> {
  return error instanceof HeddleError && error.code === code;
}

/** An error as data, for threads and sockets. */
export interface WireError {
  readonly code: string;
  readonly facts: unknown;
}

export function toWireError(error: HeddleError): WireError {
  return { code: error.code, facts: error.facts };
}

/** Rebuilds an error. A code or facts that this version does not know become `OUTCOME_UNKNOWN`; it never throws. */
export function fromWireError(wire: WireError): HeddleError {
  try {
    if (typeof wire.code === "string" && Object.hasOwn(errorTable, wire.code)) {
      return new HeddleError(wire.code as ErrorCode, wire.facts as ErrorFacts[ErrorCode]);
    }
  } catch {
    // Facts of another shape than the code has: fall through to the answer for unknown codes.
  }
  return new HeddleError("OUTCOME_UNKNOWN", {
    problem: `the node answered with an error this client does not know: ${shown(wire)}`,
  });
}

function shown(wire: unknown): string {
  return JSON.stringify(wire, (_, value) => (typeof value === "bigint" ? String(value) : value));
}
