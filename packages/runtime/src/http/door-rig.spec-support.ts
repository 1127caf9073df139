// What the specs of this folder share: a door behind a real port, a fake gateway, and callers.
//
// The gateway is our own port, so a fake stands in for the shards; the net server, the sockets and HTTP are real.
// `call` holds every answer against the OpenAPI document, so that each spec tests the document too.
import { request as httpRequest, type IncomingHttpHeaders, type OutgoingHttpHeaders } from "node:http";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { text as textOf } from "node:stream/consumers";
import type { HeddleError } from "@heddle/kernel";
import type {
  AppendResult,
  EntityPage,
  ErasureReceipt,
  ListedGroup,
  ListedProjection,
  ListQuery,
  ProjectionRebuilt,
  QueryResult,
  Receipt,
  ReminderPage,
  ReminderQuery,
  ReminderReceipt,
  ReminderRecord,
  SagaPage,
  SagaQuery,
  SagaRecord,
  SagaResult,
  StoredType,
  TransactionRejection,
} from "@heddle/protocol";
import {
  type AppendFields,
  FeedMerge,
  type FeedPort,
  type FeedQuery,
  feedBeginning,
  type GetAtFields,
  type GroupPage,
  type HistoryFields,
  type ImportFields,
  type ListFields,
  listPage,
  type SagaFields,
  type TransactFields,
  type WatchFields,
  type WatchPage,
  type WireEvent,
  type WireListed,
  type WireOperationResult,
  type WireTransaction,
} from "@heddle/protocol/internal";
import { pino } from "pino";
import type { Gateway, StateAtSeq } from "./gateway.ts";
import type { HttpDoor, HttpDoorOptions, NodeFacts, NodeMetrics } from "./index.ts";
import { openHttpDoor } from "./index.ts";
import { openApiDocument } from "./openapi.ts";

export const facts: NodeFacts = {
  context: {
    name: "bank",
    sagas: [{ name: "transfer" }],
    aggregates: [
      {
        name: "Account",
        version: 1,
        events: [
          {
            name: "Credited",
            schemaVersion: 2,
            schema: { type: "object", properties: { amount: { type: "integer", exclusiveMinimum: 0 } } },
          },
          {
            name: "Größe geändert",
            schemaVersion: 1,
            schema: { $ref: "#/$defs/size", $defs: { size: { type: "number" } } },
          },
        ],
        commands: [{ name: "Withdraw" }],
        invariants: ["balance is never negative"],
      },
    ],
  },
  durability: "fsync",
  shardCount: 2,
  nodeName: "node-1",
  version: "1.2.3",
};

export function receipt(given: Partial<Receipt> = {}): Receipt {
  const fields = { seq: 7, firstSeq: 7, count: 1, shard: 1, position: 4096, time: 1_764_000_000_000, duplicate: false };
  return { ok: true, ...fields, ...given };
}

export function event(seq: number, payload: unknown = { amount: seq }): WireEvent {
  return [seq, 1_764_000_000_000 + seq, "Account", "Credited", payload, null, null, 2, seq * 100];
}

export function erasure(given: Partial<ErasureReceipt> = {}): ErasureReceipt {
  const fields = { entity: "account/alice", shard: 1, seq: 8, position: 4096, time: 1_764_000_000_000, from: 1, to: 7 };
  return { ...fields, complete: true, ...given };
}

const refused = {
  entity: "account/bob",
  state: "refused",
  problem: { code: "COMMAND_REJECTED", message: "Deposit was rejected: FROZEN", facts: { reason: "FROZEN" } },
} as const;

export function sagaResult(): SagaResult {
  const undone = {
    entity: "account/alice",
    state: "compensated",
    receipt: receipt(),
    compensation: receipt(),
  } as const;
  return { resultType: "COMPENSATED", saga: "transfer-001", steps: [undone, refused], duplicate: false };
}

export function sagaRecord(): SagaRecord {
  const credited = { aggregate: "Account", events: [{ type: "Credited", payload: { amount: 5 } }] };
  const deposit = { aggregate: "Account", command: "Deposit", input: { amount: 5 } };
  const startedAt = 1_764_000_000_000;
  return {
    saga: "transfer-001",
    state: "STUCK",
    name: "transfer",
    startedAt,
    deadline: startedAt + 30_000,
    endedAt: startedAt + 20,
    steps: [
      { entity: "account/alice", state: "stuck", receipt: receipt(), forward: deposit, back: credited, stage: 0 },
      { ...refused, forward: deposit, back: null, stage: 1 },
    ],
    interventions: [{ action: "retry", reason: "open again", by: "ann", time: startedAt + 60_000 }],
  };
}

export const groupEvent = {
  shard: 1,
  position: 96,
  index: 1,
  entity: "account/alice",
  seq: 3,
  time: 1_764_000_000_000,
  aggregate: "Account",
  type: "Credited",
  payload: { amount: 5 },
  metadata: undefined,
  id: undefined,
  schemaVersion: 2,
};

export const listedGroup: ListedGroup = {
  group: "billing",
  kind: "account",
  types: ["Credited"],
  madeAt: 1_764_000_000_000,
  members: [{ member: "m-1", slots: 32, state: "waiting", silentMs: 0 }],
  shards: [{ shard: 0, position: 64, end: 128 }],
  lagBytes: 64,
};

/** Answers from what it was given; counts and keeps what it was asked. */
export class FakeGateway implements Gateway {
  readonly appends: AppendFields[] = [];
  readonly calls: { readonly name: string; readonly fields: unknown }[] = [];
  historyLength = 3;
  payloadOf: (seq: number) => unknown = (seq) => ({ amount: seq });
  onAppend: (fields: AppendFields) => Promise<AppendResult> = async () => receipt();
  onMany: (items: readonly AppendFields[]) => (AppendResult | HeddleError)[] = (items) => items.map(() => receipt());
  onExecute: () => Promise<AppendResult> = async () => receipt();
  onGet: () => Promise<{ state: unknown; seq: number }> = async () => ({ state: { balance: 5 }, seq: 7 });
  onGetAt: (fields: GetAtFields) => Promise<StateAtSeq> = async () => ({ state: { balance: 1 }, seq: 3 });
  onRestore: () => Promise<AppendResult> = async () => receipt({ firstSeq: 8, seq: 10, count: 3 });
  onDelete: () => Promise<ErasureReceipt> = async () => erasure();
  onImport: (fields: ImportFields) => Promise<AppendResult> = async () => receipt();
  onSaga: () => Promise<SagaResult> = async () => sagaResult();
  onSagaShow: () => Promise<SagaRecord> = async () => sagaRecord();
  onSagaOperate: () => Promise<void> = async () => {};
  onTransact: (fields: TransactFields) => Promise<WireTransaction | TransactionRejection> = async (fields) => ({
    results: fields.operations.map(({ kind }): WireOperationResult => {
      return kind === "read" ? [7, { balance: 5 }] : [7, 7, 1, 1, 4096, 1_764_000_000_000];
    }),
    duplicate: false,
  });
  onRemind: () => Promise<ReminderReceipt> = async () => ({ ok: true, name: "monthly", due: 1_764_000_000_000 });
  onQuery = (): Promise<QueryResult> =>
    Promise.resolve({ columns: ["account", "balance"], rows: [{ account: "account/alice", balance: 120 }] });
  onOperateProjection = (): Promise<readonly ProjectionRebuilt[]> =>
    Promise.resolve([{ projection: "accounts", sink: "sqlite", generation: 2 }]);
  onCancelReminder: () => Promise<void> = async () => {};
  entityReminders: readonly ReminderRecord[] = [];
  /** Ids, in order. */
  entities: readonly string[] = [];
  onWatch: (fields: WatchFields, signal: AbortSignal) => Promise<WatchPage> = async (fields, signal) => {
    const events = fields.from === 0 ? [] : this.#page({ ...fields, direction: "forward" });
    if (events.length > 0) return { events, next: events.at(-1)![0] + 1 };
    // As a shard does it: what is not there yet is waited for, and given up when nobody wants it any more.
    if (fields.waitMs > 0 && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
      if (!signal.aborted && this.historyLength >= fields.from) return this.onWatch({ ...fields, waitMs: 0 }, signal);
    }
    return { events: [], next: fields.from === 0 ? this.historyLength + 1 : fields.from };
  };
  /** Has a watch that waits look again. */
  wake: () => void = () => {};
  onHistory: (fields: HistoryFields) => Promise<readonly WireEvent[]> = async (fields) => this.#page(fields);

  append(fields: AppendFields): Promise<AppendResult> {
    this.appends.push(fields);
    this.calls.push({ name: "append", fields });
    return this.onAppend(fields);
  }

  async appendMany(items: readonly AppendFields[]): Promise<(AppendResult | HeddleError)[]> {
    this.calls.push({ name: "appendMany", fields: items });
    return this.onMany(items);
  }

  execute(fields: unknown): Promise<AppendResult> {
    this.calls.push({ name: "execute", fields });
    return this.onExecute();
  }

  get(fields: unknown): Promise<{ state: unknown; seq: number }> {
    this.calls.push({ name: "get", fields });
    return this.onGet();
  }

  history(fields: HistoryFields): Promise<readonly WireEvent[]> {
    this.calls.push({ name: "history", fields });
    return this.onHistory(fields);
  }

  /** What each of two shards says to a question. */
  onFeedPage: FeedPort["page"] = async (_shard, { from }) => ({
    events: [],
    next: from === "now" ? feedBeginning : from,
  });

  feed(query: FeedQuery): FeedMerge {
    this.calls.push({ name: "feed", fields: query });
    const port: FeedPort = {
      shardCount: async () => 2,
      ends: async () => [4096, 8192],
      page: (shard, fields, signal) => this.onFeedPage(shard, fields, signal),
    };
    return new FeedMerge(port, query, 1_000);
  }

  watch(fields: WatchFields, signal: AbortSignal): Promise<WatchPage> {
    this.calls.push({ name: "watch", fields });
    return this.onWatch(fields, signal);
  }

  getAt(fields: GetAtFields): Promise<StateAtSeq> {
    this.calls.push({ name: "getAt", fields });
    return this.onGetAt(fields);
  }

  restore(fields: unknown): Promise<AppendResult> {
    this.calls.push({ name: "restore", fields });
    return this.onRestore();
  }

  delete(fields: unknown): Promise<ErasureReceipt> {
    this.calls.push({ name: "delete", fields });
    return this.onDelete();
  }

  import(fields: ImportFields): Promise<AppendResult> {
    this.calls.push({ name: "import", fields });
    return this.onImport(fields);
  }

  list(query: ListQuery): Promise<EntityPage> {
    this.calls.push({ name: "list", fields: query });
    return listPage(async (_shard, fields) => this.#listed(fields), 1, query);
  }

  async types(): Promise<readonly StoredType[]> {
    this.calls.push({ name: "types", fields: {} });
    return [{ aggregate: "Account", type: "Credited", schemaVersion: 2, count: 600 }];
  }

  saga(fields: SagaFields): Promise<SagaResult> {
    this.calls.push({ name: "saga", fields });
    return this.onSaga();
  }

  sagaShow(fields: unknown): Promise<SagaRecord> {
    this.calls.push({ name: "sagaShow", fields });
    return this.onSagaShow();
  }

  async sagaList(query: SagaQuery): Promise<SagaPage> {
    this.calls.push({ name: "sagaList", fields: query });
    const lines = [{ saga: "transfer-001", state: "STUCK", name: "transfer", startedAt: 1_764_000_000_000 }] as const;
    return Object.assign([...lines], { cursor: undefined });
  }

  async sagaOperate(fields: unknown): Promise<void> {
    this.calls.push({ name: "sagaOperate", fields });
    await this.onSagaOperate();
  }

  transact(fields: TransactFields): Promise<WireTransaction | TransactionRejection> {
    this.calls.push({ name: "transact", fields });
    return this.onTransact(fields);
  }

  remind(fields: unknown): Promise<ReminderReceipt> {
    this.calls.push({ name: "remind", fields });
    return this.onRemind();
  }

  async cancelReminder(fields: unknown): Promise<void> {
    this.calls.push({ name: "cancelReminder", fields });
    await this.onCancelReminder();
  }

  async reminders(fields: unknown): Promise<readonly ReminderRecord[]> {
    this.calls.push({ name: "reminders", fields });
    return this.entityReminders;
  }

  async reminderList(query: ReminderQuery): Promise<ReminderPage> {
    this.calls.push({ name: "reminderList", fields: query });
    const lines = [{ entity: "account/alice", due: 1_764_000_000_000, name: "monthly", pending: 2 }];
    return Object.assign(lines, { cursor: "1764000000000:account/alice" });
  }

  onGroupPoll: () => Promise<GroupPage> = async () => ({
    slots: 5,
    shard: 1,
    page: {
      events: [{ event: groupEvent, behind: { record: 64, skip: 2 } }],
      next: { record: 128, skip: 0 },
    },
  });

  groupPoll(fields: unknown): Promise<GroupPage> {
    this.calls.push({ name: "groupPoll", fields });
    return this.onGroupPoll();
  }

  async groups(): Promise<readonly ListedGroup[]> {
    this.calls.push({ name: "groups", fields: undefined });
    return [listedGroup];
  }

  async forgetGroup(fields: { readonly group: string }): Promise<boolean> {
    this.calls.push({ name: "forgetGroup", fields });
    return fields.group === listedGroup.group;
  }

  query(fields: unknown): Promise<QueryResult> {
    this.calls.push({ name: "query", fields });
    return this.onQuery();
  }

  async projections(): Promise<readonly ListedProjection[]> {
    this.calls.push({ name: "projections", fields: undefined });
    return [listedProjection];
  }

  operateProjection(fields: unknown): Promise<readonly ProjectionRebuilt[]> {
    this.calls.push({ name: "operateProjection", fields });
    return this.onOperateProjection();
  }

  #listed({ prefix, after, limit }: ListFields): WireListed[] {
    const left = this.entities.filter((id) => id.startsWith(prefix) && id > after);
    return left.slice(0, limit).map((id): WireListed => [id, 7, 1_764_000_000_000, "00", false]);
  }

  #page({ from, to = 0, limit, direction }: Omit<HistoryFields, "aggregate">): WireEvent[] {
    const page: WireEvent[] = [];
    const step = direction === "forward" ? 1 : -1;
    let seq = direction === "forward" ? Math.max(from, 1) : Math.min(from || this.historyLength, this.historyLength);
    const [low, high] = direction === "forward" ? [1, to || this.historyLength] : [to || 1, this.historyLength];
    for (; seq >= low && seq <= Math.min(high, this.historyLength) && page.length < limit; seq += step) {
      page.push(event(seq, this.payloadOf(seq)));
    }
    return page;
  }
}

export interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** Parsed, when it is JSON. */
  readonly body: Record<string, unknown>;
}

export interface CallOptions {
  readonly headers?: OutgoingHttpHeaders;
  /** Text is sent as it is; anything else as JSON. */
  readonly body?: unknown;
}

export class Rig implements AsyncDisposable {
  /** May be exchanged for a fresh one at any time. */
  gateway = new FakeGateway();
  readonly logLines: string[] = [];
  door!: HttpDoor;
  port = 0;
  /** Open on the node's side, and handed over. */
  heldSockets = 0;
  #stop: () => void = () => {};

  static async start(
    options: Partial<HttpDoorOptions> = {},
    handOver: (door: HttpDoor, socket: Socket, firstBytes: Buffer) => void = (door, ...bytes) => door.accept(...bytes),
  ): Promise<Rig> {
    const rig = new Rig();
    rig.door = await openHttpDoor({
      gateway: {
        append: (fields) => rig.gateway.append(fields),
        appendMany: (items) => rig.gateway.appendMany(items),
        execute: (fields) => rig.gateway.execute(fields),
        get: (fields) => rig.gateway.get(fields),
        getAt: (fields) => rig.gateway.getAt(fields),
        history: (fields) => rig.gateway.history(fields),
        watch: (fields, signal) => rig.gateway.watch(fields, signal),
        feed: (query) => rig.gateway.feed(query),
        restore: (fields) => rig.gateway.restore(fields),
        delete: (fields) => rig.gateway.delete(fields),
        import: (fields) => rig.gateway.import(fields),
        list: (fields) => rig.gateway.list(fields),
        types: () => rig.gateway.types(),
        saga: (fields) => rig.gateway.saga(fields),
        sagaShow: (fields) => rig.gateway.sagaShow(fields),
        sagaList: (query) => rig.gateway.sagaList(query),
        sagaOperate: (fields) => rig.gateway.sagaOperate(fields),
        remind: (fields) => rig.gateway.remind(fields),
        cancelReminder: (fields) => rig.gateway.cancelReminder(fields),
        reminders: (fields) => rig.gateway.reminders(fields),
        reminderList: (query) => rig.gateway.reminderList(query),
        transact: (fields) => rig.gateway.transact(fields),
        groupPoll: (fields) => rig.gateway.groupPoll(fields),
        groups: () => rig.gateway.groups(),
        forgetGroup: (fields) => rig.gateway.forgetGroup(fields),
        query: (fields) => rig.gateway.query(fields),
        projections: () => rig.gateway.projections(),
        operateProjection: (fields) => rig.gateway.operateProjection(fields),
      },
      facts,
      readiness: () => ({ ready: true, shards: [{ shard: 0, state: "running" }], projections: [] }),
      metrics: async () => nodeMetrics,
      logger: pino({ level: "trace" }, { write: (line: string) => rig.logLines.push(line) }),
      ...options,
    });
    // As the node's listener does: the first bytes are read, and the socket handed over in the same turn.
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", (chunk: Buffer) => {
        rig.heldSockets++;
        socket.once("close", () => rig.heldSockets--);
        handOver(rig.door, socket, chunk);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    rig.port = (server.address() as AddressInfo).port;
    rig.#stop = () => server.close();
    return rig;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get(path: string, options: CallOptions = {}): Promise<Answered> {
    return this.call("GET", path, options);
  }

  post(path: string, body: unknown, options: CallOptions = {}): Promise<Answered> {
    return this.call("POST", path, { ...options, body });
  }

  /** Sends the path as it is written, which fetch would not. */
  async call(method: string, path: string, { headers = {}, body }: CallOptions = {}): Promise<Answered> {
    const payload =
      typeof body === "string" || body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const type = body === undefined ? {} : { "content-type": "application/json" };
    const answered = await new Promise<Answered>((resolve, reject) => {
      const request = httpRequest({ host: "127.0.0.1", port: this.port, method, path, agent: false });
      for (const [name, value] of Object.entries({ ...type, ...headers })) {
        if (value !== undefined) request.setHeader(name, value);
      }
      // Node says the length by itself only for methods that usually have a body.
      if (method === "DELETE" && payload !== undefined) request.setHeader("content-length", Buffer.byteLength(payload));
      request.on("error", reject);
      request.on("response", (response) => {
        const { statusCode = 0, headers } = response;
        textOf(response).then((text) => {
          const isJson = headers["content-type"]?.startsWith("application/json") === true && text !== "";
          resolve({ status: statusCode, headers, text, body: isJson ? JSON.parse(text) : {} });
        }, reject);
      });
      request.end(payload);
    });
    holdAgainstDocument(method, path, answered);
    return answered;
  }

  /** Opens a connection of bytes. */
  async raw(firstText = ""): Promise<RawConnection> {
    const socket = connect(this.port, "127.0.0.1");
    await new Promise<void>((resolve) => socket.once("connect", resolve));
    const connection = new RawConnection(socket);
    socket.write(firstText);
    return connection;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop();
    await this.door.close();
  }
}

/** A connection on which a spec sends what it likes. */
export class RawConnection {
  readonly socket: Socket;
  received = "";
  /** Everything that was received, when the other side has ended the connection. */
  readonly ended: Promise<string>;
  #onData: () => void = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      this.received += chunk.toString("latin1");
      this.#onData();
    });
    this.ended = new Promise((resolve) => socket.once("close", () => resolve(this.received)));
  }

  /** Resolves when what was received holds the text so many times. */
  async receives(text: string, times = 1): Promise<void> {
    while (this.received.split(text).length - 1 < times) {
      await new Promise<void>((resolve) => {
        this.#onData = resolve;
      });
    }
  }
}

/** A promise to settle by hand. */
export function deferred<T>(): PromiseWithResolvers<T> {
  return Promise.withResolvers<T>();
}

const delay = { meanMs: 1.5, p99Ms: 4, maxMs: 20 };

export const listedProjection: ListedProjection = {
  projection: "accounts",
  sink: "sqlite",
  table: "accounts",
  version: 2,
  state: "rebuilding",
  problem: "its version was raised from 1 to 2",
  shards: [{ shard: 0, position: 4_096, end: 65_536 }],
  lagBytes: 61_440,
  lagMs: 1_500,
  events: 700,
  eventsPerSecond: 12.5,
  setAside: 1,
  failures: [
    {
      entity: "account/bob",
      seq: 3,
      aggregate: "Account",
      type: "Credited",
      message: "x is undefined",
      time: 1_764_000_000_000,
    },
  ],
  waitingForSagas: 0,
  generation: 1,
  rebuild: { reason: "its version is 2", done: 250, total: 1_000, events: 70, eventsPerSecond: 7 },
};

export const nodeMetrics: NodeMetrics = {
  node: {
    uptimeMs: 90_500,
    residentBytes: 123_456_789,
    heapUsedBytes: 23_456_789,
    eventLoopDelay: delay,
    connections: 3,
    bytesInFlight: 77,
  },
  shards: [
    {
      shard: 0,
      state: "running",
      figures: {
        appends: 100,
        events: 600,
        groups: 40,
        syncs: { boundsUs: [100, 250, 1000], counts: [10, 20, 5, 5], sumUs: 12_345 },
        mailboxDepth: 9,
        activeEntities: 33,
        activations: 50,
        stateBytes: 7_000,
        erasuresRunning: 2,
        rejections: { INVARIANT_VIOLATED: 4, SEQUENCE_CONFLICT: 2 },
        errors: { OVERLOADED: 1 },
        logBytes: 1_048_576,
        checkpoint: { position: 65_536, ageMs: 2_500 },
        partitionReads: 12,
        watches: 21,
        sagas: {
          running: 3,
          compensating: 2,
          stuck: 1,
          oldestRunningMs: 61_500,
          oldestCompensatingMs: 2_000,
          oldestStuckMs: 7_200_000,
          started: 90,
          committed: 70,
          compensated: 13,
          becameStuck: 4,
          stepRetries: 21,
        },
        transactions: { committed: 44, refused: 5, aborted: 6, holds: 8, waiters: 14, pending: 15 },
        reminders: { pending: 1_000, due: 17, delivered: 640, refused: 16, missed: 18, retries: 19, lagMs: 1_250 },
        eventLoopDelay: delay,
      },
    },
    { shard: 1, state: 'stopped "hard"\n\\' },
  ],
  projections: {
    projections: [listedProjection],
    queries: { running: 1, waiting: 2, ended: { ok: 30, QUERY_REFUSED: 4 }, sumMs: 12_500 },
  },
};

type Schema = Record<string, unknown>;

const document = openApiDocument(facts) as { paths: Record<string, Record<string, Schema>>; components: Schema };

/** Throws when a route that the document names gave an answer that the document does not describe. */
function holdAgainstDocument(method: string, path: string, { status, headers, body, text }: Answered): void {
  const plainPath = path.replace(/[?#].*$/s, "");
  const documented = Object.entries(document.paths).find(([template, methods]) => {
    const pattern = new RegExp(`^${template.replaceAll(".", "\\.").replaceAll(/\{\w+\}/g, "[^/]+")}$`);
    return pattern.test(plainPath) && methods[method.toLowerCase()] !== undefined;
  });
  if (documented === undefined || method === "HEAD") return;
  const operation = documented[1][method.toLowerCase()] as { responses: Record<string, { content?: Schema }> };
  const response = operation.responses[status];
  if (response === undefined) throw new Error(`${method} ${path}: ${status} is not in the document: ${text}`);
  const media = String(headers["content-type"]).split(";")[0]!;
  const described = response.content?.[media] as { schema: Schema } | undefined;
  if (described === undefined) throw new Error(`${method} ${path}: ${media} is not in the document for ${status}`);
  if (media !== "application/json") return;
  const misfit = misfitOf(body, described.schema, "body");
  if (misfit !== undefined) throw new Error(`${method} ${path}: ${misfit}: ${text}`);
}

/** As much of JSON Schema as the document uses for answers. Says what does not fit. */
function misfitOf(value: unknown, schema: Schema, at: string): string | undefined {
  const { $ref, allOf, anyOf, type, properties, required, items } = schema;
  if (typeof $ref === "string") return misfitOf(value, byPointer($ref), at);
  if ("const" in schema && value !== schema["const"]) return `${at} is not ${schema["const"]}`;
  if (Array.isArray(schema["enum"]) && !schema["enum"].includes(value)) return `${at} is ${value}, not in the list`;
  const isOfType = (wanted: unknown) =>
    wanted === typeName(value) || (wanted === "number" && typeof value === "number");
  if (type !== undefined && ![type].flat().some(isOfType)) return `${at} is not ${type}`;
  for (const one of (allOf as Schema[] | undefined) ?? []) {
    const misfit = misfitOf(value, one, at);
    if (misfit !== undefined) return misfit;
  }
  if (Array.isArray(anyOf) && anyOf.every((one: Schema) => misfitOf(value, one, at) !== undefined)) {
    return `${at} fits none of the choices`;
  }
  const fields = value as Record<string, unknown>;
  for (const name of (required as string[] | undefined) ?? []) if (!(name in fields)) return `${at}.${name} is missing`;
  for (const [name, field] of Object.entries(typeName(value) === "object" ? fields : {})) {
    const own = (properties as Record<string, Schema> | undefined)?.[name];
    if (own === undefined && schema["additionalProperties"] === false) return `${at}.${name} is not in the document`;
    const misfit = own === undefined ? undefined : misfitOf(field, own, `${at}.${name}`);
    if (misfit !== undefined) return misfit;
  }
  if (items === undefined || !Array.isArray(value)) return undefined;
  return value.map((item, i) => misfitOf(item, items as Schema, `${at}.${i}`)).find((misfit) => misfit !== undefined);
}

function typeName(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return Number.isInteger(value) ? "integer" : typeof value;
}

function byPointer(pointer: string): Schema {
  const found = pointer
    .slice(2)
    .split("/")
    .reduce<unknown>((at, name) => (at as Schema)[name], document);
  if (found === undefined) throw new Error(`${pointer} points nowhere`);
  return found as Schema;
}
