// What the HTTP side asks of the node that it stands in: a way to the shards, and facts to show.
//
// Implemented and filled in by the node; a test puts a fake behind the same port.
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
import type {
  AppendFields,
  CancelReminderFields,
  DeleteFields,
  ExecuteFields,
  FeedMerge,
  FeedQuery,
  GetAtFields,
  GetFields,
  GroupPage,
  GroupPollFields,
  HistoryFields,
  ImportFields,
  ProjectionOperateFields,
  QueryFields,
  RemindFields,
  RestoreFields,
  SagaFields,
  SagaOperateFields,
  TransactFields,
  WatchFields,
  WatchPage,
  WireEvent,
  WireTransaction,
} from "@heddle/protocol/internal";

/** The way to the shards inside the process. Operating errors reject with `HeddleError`; rejections are values. */
export interface Gateway {
  append(fields: AppendFields): Promise<AppendResult>;
  /** One result for each item, in order. An item that fails does not keep the others from being written. */
  appendMany(items: readonly AppendFields[]): Promise<readonly (AppendResult | HeddleError)[]>;
  execute(fields: ExecuteFields): Promise<AppendResult>;
  get(fields: GetFields): Promise<StateAtSeq>;
  /** `seq` is the one that the moment meant. */
  getAt(fields: GetAtFields): Promise<StateAtSeq>;
  /** May return fewer events than the limit while more exist: only an empty page is the end. */
  history(fields: HistoryFields): Promise<readonly WireEvent[]>;
  /** The next events of an entity. Answers at once when the signal says that nobody waits for it. */
  watch(fields: WatchFields, signal: AbortSignal): Promise<WatchPage>;
  restore(fields: RestoreFields): Promise<AppendResult>;
  delete(fields: DeleteFields): Promise<ErasureReceipt>;
  /** An append with a time of its own. */
  import(fields: ImportFields): Promise<AppendResult>;
  /** Entities of all shards, in the order of their ids' UTF-8 bytes. */
  list(query: ListQuery): Promise<EntityPage>;
  /** Stored events of all shards by aggregate, type and schema version, in this order. */
  types(): Promise<readonly StoredType[]>;
  /** Several entities, at one moment: all of it or nothing. */
  transact(fields: TransactFields): Promise<WireTransaction | TransactionRejection>;
  /** Resolves when the saga has come to a result. */
  saga(fields: SagaFields): Promise<SagaResult>;
  sagaShow(fields: { readonly entity: string }): Promise<SagaRecord>;
  /** Of all shards. */
  sagaList(query: SagaQuery): Promise<SagaPage>;
  /** Resolves when the operation is recorded. */
  sagaOperate(fields: SagaOperateFields): Promise<void>;
  /** In place of a reminder of the same name. */
  remind(fields: RemindFields): Promise<ReminderReceipt>;
  cancelReminder(fields: CancelReminderFields): Promise<void>;
  /** Of one entity. */
  reminders(fields: { readonly entity: string }): Promise<readonly ReminderRecord[]>;
  /** Of all shards, by their time. */
  reminderList(query: ReminderQuery): Promise<ReminderPage>;
  /** The events of all entities, page by page. With "now", they begin at the moment of this call. */
  feed(query: FeedQuery): FeedMerge;
  /** What a member of a consumer group is to do next. */
  groupPoll(fields: GroupPollFields): Promise<GroupPage>;
  groups(): Promise<readonly ListedGroup[]>;
  /** Whether there was such a group. */
  forgetGroup(fields: { readonly group: string }): Promise<boolean>;
  /** Asks the tables of projections. */
  query(fields: QueryFields): Promise<QueryResult>;
  /** Every projection in each of its sinks. */
  projections(): Promise<readonly ListedProjection[]>;
  /** Resolves when the operation has been taken up. */
  operateProjection(fields: ProjectionOperateFields): Promise<readonly ProjectionRebuilt[]>;
}

export interface StateAtSeq {
  readonly state: unknown;
  readonly seq: number;
}

export interface NodeFacts {
  readonly context: CompiledContextInfo;
  readonly durability: string;
  readonly shardCount: number;
  readonly nodeName: string;
  readonly version: string;
}

/** What a domain module declares, as data for `GET /v1/context` and `/openapi.json`. */
export interface CompiledContextInfo {
  readonly name: string;
  readonly aggregates: readonly AggregateInfo[];
  readonly sagas: readonly { readonly name: string }[];
  /** Left out where the domain module declares none. */
  readonly kinds?: readonly string[];
}

export interface AggregateInfo {
  readonly name: string;
  /** Of the fold. */
  readonly version: number;
  readonly events: readonly { readonly name: string; readonly schemaVersion: number; readonly schema?: JsonSchema }[];
  readonly commands: readonly { readonly name: string; readonly schema?: JsonSchema }[];
  readonly invariants: readonly string[];
}

/** JSON Schema, draft 2020-12. Left out where the schema library of the domain module cannot say it. */
export type JsonSchema = Readonly<Record<string, unknown>>;

export interface Readiness {
  readonly ready: boolean;
  /** `reason` says why a shard does not serve; left out when it does. */
  readonly shards: readonly { readonly shard: number; readonly state: string; readonly reason?: string }[];
  /** They do not decide whether the node is ready: it takes writes, and gives states, whatever becomes of query models. */
  readonly projections: readonly ProjectionReadiness[];
  /** Left out where nothing is published. It does not decide either: what NATS has not got is sent when it is back. */
  readonly nats?: { readonly server: string; readonly connected: boolean; readonly problems: readonly string[] };
}

export interface ProjectionReadiness {
  readonly projection: string;
  readonly sink: string;
  readonly state: string;
  /** Why it is not live; left out when it is. */
  readonly reason?: string;
}
