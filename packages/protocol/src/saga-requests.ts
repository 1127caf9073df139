// The bodies of requests about sagas. What answers them is in saga-replies.ts.
//
//   saga      u16 length, entity ($saga/<id>) | u8 flags (1: named) | u32 time-out | u32 time-out of a step | steps or named
//   steps     u8 count, each: u8 stage | u8 kind of forward | u8 kind of back (0: none) | u32 time-out |
//             u32 length, forward body | [u32 length, back body]
//   named     u8 length, name | input as msgpack, to the end
//   show      u16 length, entity
//   list      u8 which (0 all, 1 unfinished, 2 stuck) | u32 limit | u48 time | u16 length, entity
//   operate   u16 length, entity | u8 action (1 retry, 2 resolve as committed, 3 as compensated) | u16 length, reason |
//             u16 length, by
//
// Kinds are those of requests, append or execute; bodies are theirs, with the id that the step has on its entity. So a node
// passes them on as they are. Time-outs are in ms; 0 leaves them to the node.
import {
  type EntityId,
  HeddleError,
  isHeddleError,
  isSystemEntity,
  limits,
  parseEntityId,
  systemKinds,
} from "@heddle/kernel";
import { utf8Length } from "@heddle/kernel/internal";
import { BodyCursor, writeAppendBody } from "./append-body.ts";
import { badFrame } from "./bad-frame.ts";
import {
  copyBytes,
  holds,
  readText,
  readU16,
  readU32,
  type TextCache,
  writeText,
  writeU16,
  writeU32,
  writeU48,
} from "./bytes.ts";
import { endlessValue } from "./circle.ts";
import { frameOffset, requestKind } from "./frames.ts";
import { giveBackRoom, type PackingRoom, takeRoom } from "./packing-room.ts";
import { encodeValue } from "./payload-codec.ts";
import { writeExecuteBody } from "./requests.ts";
import type { SagaQuery } from "./sagas.ts";

type Reserve = (bytes: number) => { bytes: Uint8Array; at: number };

/** Milliseconds: a day. A saga holds nothing while it waits, but somebody should hear of it. */
export const sagaTimeoutMsMax = 86_400_000;

/** What a step does, or what undoes it: one event, several, or a command. */
export type SagaAct =
  | { readonly type: string; readonly payload: unknown }
  | readonly { readonly type: string; readonly payload: unknown }[]
  | { readonly command: string; readonly input: unknown };

export interface SagaStepFields {
  readonly entity: string;
  /** Empty or left out where the context has one aggregate only. */
  readonly aggregate?: string | undefined;
  readonly forward: SagaAct;
  /** Null where nothing can undo the step: then it is the last stage's only one. */
  readonly back: SagaAct | null;
  /** How long the step may take, in ms. */
  readonly timeoutMs?: number | undefined;
  /** Schema version that the payloads of events have; left out: the node's newest. */
  readonly schemaVsn?: number | undefined;
}

/** The steps of a saga; those of one stage run side by side. */
export type SagaStages = readonly (readonly SagaStepFields[])[];

/** The entity that keeps a saga's progress. Errors: `INVALID_REQUEST` for what is no id of a saga. */
export function sagaEntity(id: string): EntityId {
  const problem = sagaIdProblem(id);
  if (problem !== undefined) throw invalid("saga", problem);
  return `${systemKinds.saga}/${id}` as EntityId;
}

/** The id of a saga whose entity is given. */
export function sagaOfEntity(entity: string): string {
  return entity.slice(systemKinds.saga.length + 1);
}

function sagaIdProblem(id: unknown): string | undefined {
  if (typeof id !== "string" || id === "")
    return `wanted an id such as transfer-001, found ${id === "" ? "none" : typeof id}`;
  const isAscii = isPrintableAscii(id);
  if (!isAscii && /\p{Cc}|\p{Cs}/u.test(id)) return "it holds a control character or half of a surrogate pair";
  const bytes = isAscii ? id.length : utf8Length(id);
  return bytes > limits.sagaIdBytesMax
    ? `it has ${bytes} bytes, at most ${limits.sagaIdBytesMax} are allowed`
    : undefined;
}

/** As nearly all ids are: one pass says so in a fraction of the time of the pattern. */
function isPrintableAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x20 || unit > 0x7e) return false;
  }
  return true;
}

/** The id that a step, or its compensation, has on its entity: f(saga, step, direction). */
export function sagaStepId(saga: string, index: number, direction: "forward" | "back"): string {
  return `${stepIdStart}${saga}${stepIdEnd(index, direction)}`;
}

/** Whether `bytes[from, to)` are that id. */
export function isSagaStepId(
  bytes: Uint8Array,
  from: number,
  to: number,
  saga: string,
  index: number,
  direction: "forward" | "back",
): boolean {
  const end = stepIdEnd(index, direction);
  const sagaFrom = from + stepIdStart.length;
  const sagaTo = to - end.length;
  return (
    sagaFrom < sagaTo &&
    holds(bytes, sagaTo, to, end) &&
    holds(bytes, from, sagaFrom, stepIdStart) &&
    (holds(bytes, sagaFrom, sagaTo, saga) || (!isPrintableAscii(saga) && isText(bytes, sagaFrom, sagaTo, saga)))
  );
}

function isText(bytes: Uint8Array, from: number, to: number, text: string): boolean {
  const wanted = new TextEncoder().encode(text);
  return wanted.length === to - from && wanted.every((byte, i) => byte === bytes[from + i]);
}

const stepIdStart = "saga:";
/** By index. */
const forwardEnds: string[] = [];
const backEnds: string[] = [];

function stepIdEnd(index: number, direction: "forward" | "back"): string {
  const ends = direction === "forward" ? forwardEnds : backEnds;
  ends[index] ??= `:${index}:${direction === "forward" ? "f" : "c"}`;
  return ends[index];
}

/** The entity of the saga whose step or compensation has this append id; undefined for any other id. */
export function sagaOfStepId(id: string): string | undefined {
  if (!id.startsWith(stepIdStart)) return undefined;
  const [, saga] = /^saga:(.+):[0-9]+:[fc]$/su.exec(id) ?? [];
  return saga === undefined || sagaIdProblem(saga) !== undefined ? undefined : `${systemKinds.saga}/${saga}`;
}

// ——— saga

export interface SagaFields {
  readonly entity: string;
  readonly timeoutMs?: number | undefined;
  readonly stepTimeoutMs?: number | undefined;
  /** The steps, stage by stage; or what `encodeSagaSteps` gave; or, of a saga that the domain module defines, `named`. */
  readonly stages?: SagaStages | undefined;
  readonly steps?: Uint8Array | undefined;
  readonly named?: { readonly name: string; readonly input: unknown } | undefined;
}

const sagaFlags = { named: 1 };

/** Errors: `INVALID_REQUEST` for a time-out that is none; of stages, as `encodeSagaSteps`. */
export function writeSagaBody(fields: SagaFields, reserve: Reserve): number {
  const { entity, stages, named } = fields;
  const timeoutMs = checkTimeout("timeoutMs", fields.timeoutMs);
  const stepTimeoutMs = checkTimeout("stepTimeoutMs", fields.stepTimeoutMs);
  const room = stages === undefined ? undefined : packSteps(sagaOfEntity(entity), stages);
  const content = room?.bytes ?? (named === undefined ? fields.steps! : encodeValue(named.input));
  const contentBytes = room?.used ?? content.length;
  if (contentBytes > limits.sagaBytesMax) throw tooLarge(sagaOfEntity(entity), contentBytes);
  const { bytes, at } = reserve(16 + 3 * (entity.length + limits.nameBytesMax) + contentBytes);
  let p = writePrefixed(bytes, at, entity);
  bytes[p] = named === undefined ? 0 : sagaFlags.named;
  writeU32(bytes, p + 1, timeoutMs);
  writeU32(bytes, p + 5, stepTimeoutMs);
  p += 9;
  if (named !== undefined) p = writeSagaName(bytes, p, named.name);
  p = copyBytes(content, 0, contentBytes, bytes, p);
  if (room !== undefined) giveBackRoom(room);
  return p - at;
}

function writeSagaName(bytes: Uint8Array, at: number, name: string): number {
  if (typeof name !== "string" || !name.isWellFormed() || utf8Length(name) > limits.nameBytesMax) {
    throw invalid("name", `a name is well-formed text of at most ${limits.nameBytesMax} bytes`);
  }
  bytes[at] = writeText(bytes, at + 1, name);
  return at + 1 + bytes[at]!;
}

export interface SagaView {
  entity: string;
  /** 0 where the caller gave none. */
  timeoutMs: number;
  stepTimeoutMs: number;
  /** Of a saga that the domain module defines; empty otherwise. */
  name: string;
  /** The steps, or the named saga's input, to the end of the body. */
  contentFrom: number;
}

/** Errors: `BAD_FRAME`. The steps are not looked at: see `readSagaSteps`. */
export function readSagaBody(bytes: Uint8Array, from: number, to: number, texts: TextCache): SagaView {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const entity = sagaEntityOf(cursor);
  const flags = cursor.u8();
  const timeoutMs = cursor.u32();
  const stepTimeoutMs = cursor.u32();
  if (Math.max(timeoutMs, stepTimeoutMs) > sagaTimeoutMsMax) throw badFrame("a time-out is longer than a day");
  const isNamed = (flags & sagaFlags.named) !== 0;
  const name = isNamed ? cursor.name() : "";
  if (isNamed && name === "") throw badFrame("a saga is to be run by name, and the name is empty");
  if (cursor.at >= to) throw badFrame("a saga has no content");
  return { entity, timeoutMs, stepTimeoutMs, name, contentFrom: cursor.at };
}

/** Where a step's parts lie. */
export interface SagaStepRange {
  readonly stage: number;
  readonly timeoutMs: number;
  readonly forwardKind: number;
  readonly forwardFrom: number;
  readonly forwardTo: number;
  /** 0 where nothing undoes the step. */
  readonly backKind: number;
  readonly backFrom: number;
  readonly backTo: number;
}

/**
 * Takes the steps of a saga apart. What their bodies hold is not looked at.
 * Errors: `BAD_FRAME` for what is no list of steps in stages, one stage after the other from 0, with at most the last step
 * without a compensation and that one alone in its stage.
 */
export function readSagaSteps(bytes: Uint8Array, from: number, to: number): SagaStepRange[] {
  const count = from < to ? bytes[from]! : 0;
  if (count === 0 || count > limits.sagaStepsMax) {
    throw badFrame(`${count} steps in a saga, wanted 1 to ${limits.sagaStepsMax}`);
  }
  const steps = new Array<SagaStepRange>(count);
  let at = from + 1;
  let stageBefore = -1;
  for (let i = 0; i < count; i++) {
    if (to - at < stepHeadBytes) throw badFrame("it ends in the middle of a step");
    const stage = bytes[at]!;
    const forwardKind = bytes[at + 1]!;
    const backKind = bytes[at + 2]!;
    const timeoutMs = readU32(bytes, at + 3);
    const forwardFrom = at + stepHeadBytes;
    const forwardTo = forwardFrom + readU32(bytes, at + 7);
    const backFrom = backKind === 0 ? forwardTo : forwardTo + 4;
    if (backFrom > to) throw badFrame("it ends in the middle of a step");
    const backTo = backKind === 0 ? forwardTo : backFrom + readU32(bytes, forwardTo);
    if (backTo > to) throw badFrame("it ends in the middle of a step");
    if (!isActKind(forwardKind) || (backKind !== 0 && !isActKind(backKind))) throw badFrame("a step of no known kind");
    if (stage !== stageBefore && stage !== stageBefore + 1)
      throw badFrame("the stages of a saga do not follow each other");
    if (timeoutMs > sagaTimeoutMsMax) throw badFrame("a time-out is longer than a day");
    if (backKind === 0 && (i < count - 1 || stage === stageBefore)) {
      throw badFrame("a step without a compensation stands before or beside others");
    }
    steps[i] = { stage, timeoutMs, forwardKind, forwardFrom, forwardTo, backKind, backFrom, backTo };
    stageBefore = stage;
    at = backTo;
  }
  if (at !== to) throw badFrame("bytes follow the last step");
  return steps;
}

const stepHeadBytes = 11;

function isActKind(kind: number): boolean {
  return kind === requestKind.append || kind === requestKind.execute;
}

/**
 * Encodes the steps of a saga, stage by stage, with the ids that they have on their entities. The bytes are owned.
 *
 * Errors: `INVALID_REQUEST` naming the step: no steps, too many, two on one entity, one on an entity of Heddle's own, a
 * compensation that is missing, none (`null`) where something could still have to be undone; `INVALID_ENTITY_ID`;
 * `FRAME_TOO_LARGE` beyond `limits.sagaBytesMax`.
 */
export function encodeSagaSteps(saga: string, stages: SagaStages): Uint8Array {
  const room = packSteps(saga, stages);
  const steps = room.bytes.slice(0, room.used);
  giveBackRoom(room);
  return steps;
}

/** The room with the steps in it; to be given back. */
function packSteps(saga: string, stages: SagaStages): PackingRoom {
  let count = 0;
  for (let stage = 0; stage < stages.length; stage++) count += stages[stage]!.length;
  if (count === 0) throw invalid("steps", "a saga needs at least one step");
  if (count > limits.sagaStepsMax) {
    throw invalid("steps", `${count} steps, at most ${limits.sagaStepsMax} are allowed`);
  }
  const room = takeRoom();
  room.bytes[room.used++] = count;
  let index = 0;
  for (let stage = 0; stage < stages.length; stage++) {
    const steps = stages[stage]!;
    if (steps.length === 0) throw invalid(`stages.${stage}`, "a stage needs at least one step");
    for (let i = 0; i < steps.length; i++, index++) {
      const step = steps[i]!;
      checkStep(step, index, index === count - 1 && steps.length === 1);
      if (isTaken(step.entity, stages, stage, i)) {
        throw invalid(`steps.${index}.entity`, `two steps on ${step.entity}: put their events into one step`);
      }
      try {
        writeStep(room, saga, step, stage, index);
      } catch (thrown) {
        throw ofStep(thrown, step, index);
      }
    }
  }
  return room;
}

/** Whether a step before this one is on the entity. Most sagas have so few that a set of them would cost more. */
function isTaken(entity: string, stages: SagaStages, stage: number, place: number): boolean {
  for (let s = 0; s <= stage; s++) {
    const steps = stages[s]!;
    const end = s === stage ? place : steps.length;
    for (let i = 0; i < end; i++) if (steps[i]!.entity === entity) return true;
  }
  return false;
}

const stepKeys: ReadonlySet<string> = new Set(["entity", "aggregate", "forward", "back", "timeoutMs", "schemaVsn"]);

function checkStep(step: SagaStepFields, index: number, isAloneAtTheEnd: boolean): void {
  if (typeof step !== "object" || step === null) throw invalid(`steps.${index}`, "wanted a step");
  for (const key in step) {
    if (stepKeys.has(key)) continue;
    const problem =
      key === "expectedSeq"
        ? "a step cannot expect a sequence: it is written whenever its turn comes"
        : `unknown; known: ${[...stepKeys].join(", ")}`;
    throw invalid(`steps.${index}.${key}`, problem);
  }
  const { entity, forward, back, schemaVsn } = step;
  if (typeof entity === "string" && isSystemEntity(entity)) {
    const problem = `only Heddle writes to ${entity}: a saga cannot have itself or another as a step`;
    throw invalid(`steps.${index}.entity`, problem);
  }
  parseEntityId(entity);
  if (!isAct(forward)) throw invalid(`steps.${index}.forward`, wantedAct);
  if (back === undefined) throw invalid(`steps.${index}.back`, `a compensation is missing; ${wantedAct}, or null`);
  if (back !== null && !isAct(back)) throw invalid(`steps.${index}.back`, wantedAct);
  if (back === null && !isAloneAtTheEnd) {
    const problem = "only a step that is alone in the last stage can be without a compensation (null)";
    throw invalid(`steps.${index}.back`, problem);
  }
  if (schemaVsn !== undefined && !hasEvents(forward) && !hasEvents(back)) {
    throw invalid(
      `steps.${index}.schemaVsn`,
      "it is a version of events, and the step has none: a command has no version",
    );
  }
  if (schemaVsn !== undefined && !(Number.isSafeInteger(schemaVsn) && schemaVsn >= 1 && schemaVsn <= 65_535)) {
    const problem = `wanted a whole number from 1 to 65535, found ${String(schemaVsn)}`;
    throw invalid(`steps.${index}.schemaVsn`, problem);
  }
}

function hasEvents(act: SagaAct | null): boolean {
  return act !== null && !("command" in act);
}

const wantedAct = "wanted an event { type, payload }, a list of events, or { command, input }";

function isAct(act: unknown): act is SagaAct {
  if (typeof act !== "object" || act === null) return false;
  if (Array.isArray(act)) return act.length > 0 && act.every((event) => isEvent(event));
  return isEvent(act) || typeof (act as { readonly command?: unknown }).command === "string";
}

function isEvent(event: unknown): boolean {
  return typeof event === "object" && event !== null && typeof (event as { readonly type?: unknown }).type === "string";
}

function writeStep(room: PackingRoom, saga: string, step: SagaStepFields, stage: number, index: number): void {
  room.grow(stepHeadBytes);
  const head = room.used;
  room.used += stepHeadBytes;
  const forwardKind = writeAct(room, step, step.forward, sagaStepId(saga, index, "forward"), head + 7);
  let backKind = 0;
  if (step.back !== null) {
    room.grow(4);
    const lengthAt = room.used;
    room.used += 4;
    backKind = writeAct(room, step, step.back, sagaStepId(saga, index, "back"), lengthAt);
  }
  const { bytes } = room;
  bytes[head] = stage;
  bytes[head + 1] = forwardKind;
  bytes[head + 2] = backKind;
  const timeoutMs = step.timeoutMs === undefined ? 0 : checkTimeout(`steps.${index}.timeoutMs`, step.timeoutMs);
  writeU32(bytes, head + 3, timeoutMs);
  if (room.used > limits.sagaBytesMax) throw tooLarge(saga, room.used);
}

// What a part of the step cannot be says where in the step; the step says which it is.
function ofStep(thrown: unknown, { entity, forward, back }: SagaStepFields, index: number): unknown {
  const path = `steps.${index}`;
  if (!isHeddleError(thrown, "INVALID_REQUEST")) return endlessValue(thrown, { entity, forward, back }, path);
  const { path: inside, problem } = thrown.facts;
  if (inside?.startsWith(path) === true) return thrown;
  return new HeddleError(
    "INVALID_REQUEST",
    { path: inside === undefined ? path : `${path}.${inside}`, problem },
    { cause: thrown },
  );
}

// Returns the kind of request.
function writeAct(room: PackingRoom, step: SagaStepFields, act: SagaAct, id: string, lengthAt: number): number {
  const { entity, aggregate = "", schemaVsn } = step;
  let kind: number = requestKind.append;
  let used: number;
  if ("command" in act) {
    kind = requestKind.execute;
    used = writeExecuteBody({ entity, aggregate, command: act.command, input: act.input, id }, room.reserve);
  } else {
    const given = "type" in act ? [act] : act;
    const events = schemaVsn === undefined ? given : given.map((event) => ({ ...event, schemaVersion: schemaVsn }));
    used = writeAppendBody({ entity, aggregate, events, id }, room.reserve);
  }
  writeU32(room.bytes, lengthAt, used);
  room.used += used;
  return kind;
}

// ——— show, list, operate

/** u16 length, entity. */
export function writeSagaShowBody({ entity }: { readonly entity: string }, reserve: Reserve): number {
  const { bytes, at } = reserve(2 + 3 * entity.length);
  return writePrefixed(bytes, at, entity) - at;
}

export function readSagaShowBody(bytes: Uint8Array, from: number, to: number, texts: TextCache): { entity: string } {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const entity = sagaEntityOf(cursor);
  checkEnd(cursor, to);
  return { entity };
}

const listKinds = ["all", "unfinished", "stuck"] as const;

/** A list is asked of one shard: its frame carries the shard's number in place of an entity's hash. */
export interface SagaListFields {
  readonly only: NonNullable<SagaQuery["only"]>;
  readonly limit: number;
  /** Only what comes behind this place; time 0 and an empty entity for the first page. */
  readonly after: SagaPlace;
}

/**
 * The place of a saga in a list. All sagas are in the order of their ids, with the time 0; unfinished ones in that of the times
 * at which they began, and behind them the stuck ones, with the time 2^48 - 1.
 */
export interface SagaPlace {
  readonly time: number;
  readonly entity: string;
}

export function writeSagaListBody(fields: SagaListFields, reserve: Reserve): number {
  const { only, limit, after } = fields;
  checkListLimit(limit);
  const { bytes, at } = reserve(16 + 3 * after.entity.length);
  bytes[at] = Math.max(0, listKinds.indexOf(only));
  writeU32(bytes, at + 1, limit);
  writeU48(bytes, at + 5, after.time);
  return writePrefixed(bytes, at + 11, after.entity) - at;
}

export function readSagaListBody(bytes: Uint8Array, from: number, to: number, texts: TextCache): SagaListFields {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const only = listKinds[cursor.u8()];
  if (only === undefined) throw badFrame("a list of sagas of no known kind");
  const fields = { only, limit: cursor.u32(), after: { time: cursor.u48(), entity: cursor.entity() } };
  checkEnd(cursor, to);
  checkListLimit(fields.limit);
  return fields;
}

export function checkListLimit(limit: number): void {
  if (Number.isSafeInteger(limit) && limit >= 1 && limit <= limits.listEntitiesMax) return;
  throw invalid("limit", `wanted a whole number from 1 to ${limits.listEntitiesMax}, found ${String(limit)}`);
}

export interface SagaOperateFields {
  readonly entity: string;
  /** What a resolution declares; undefined for a retry. */
  readonly as: "COMMITTED" | "COMPENSATED" | undefined;
  readonly reason: string;
  readonly by: string;
}

/** UTF-8 bytes of a reason, and of a name. */
const operatorTextBytesMax = 4_096;

/** Errors: `INVALID_REQUEST` for a reason that is empty or too long. */
export function writeSagaOperateBody(fields: SagaOperateFields, reserve: Reserve): number {
  const { entity, as, reason, by } = fields;
  checkOperatorText("reason", reason, 1);
  checkOperatorText("by", by, 0);
  if (as !== undefined && as !== "COMMITTED" && as !== "COMPENSATED") {
    throw invalid("as", `wanted COMMITTED or COMPENSATED, found ${JSON.stringify(as)}`);
  }
  const { bytes, at } = reserve(8 + 3 * (entity.length + reason.length + by.length));
  let p = writePrefixed(bytes, at, entity);
  bytes[p++] = as === undefined ? 1 : as === "COMMITTED" ? 2 : 3;
  p = writePrefixed(bytes, p, reason);
  return writePrefixed(bytes, p, by) - at;
}

export function readSagaOperateBody(bytes: Uint8Array, from: number, to: number, texts: TextCache): SagaOperateFields {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const entity = sagaEntityOf(cursor);
  const action = cursor.u8();
  if (action < 1 || action > 3) throw badFrame(`no operation on a saga: ${action}`);
  const as = action === 1 ? undefined : action === 2 ? ("COMMITTED" as const) : ("COMPENSATED" as const);
  const fields = { entity, as, reason: cursor.entity(), by: cursor.entity() };
  checkEnd(cursor, to);
  checkOperatorText("reason", fields.reason, 1);
  checkOperatorText("by", fields.by, 0);
  return fields;
}

function checkOperatorText(path: string, text: unknown, least: number): void {
  const isText = typeof text === "string" && text.isWellFormed();
  if (isText && text.trim().length >= least && utf8Length(text) <= operatorTextBytesMax) return;
  const wanted = least === 0 ? "text" : "a reason, for those who come after";
  throw invalid(path, `wanted ${wanted}, at most ${operatorTextBytesMax} bytes`);
}

// ——— shared

/** Which saga a request frame begins or operates on; undefined for another. Says what a call was about, is no part of its way. */
export function sagaOfRequest(bytes: Uint8Array, from: number): string | undefined {
  const kind = bytes[from + frameOffset.kind];
  if (kind !== requestKind.saga && kind !== requestKind.sagaOperate) return undefined;
  const at = from + frameOffset.requestBody;
  return sagaOfEntity(readText(bytes, at + 2, at + 2 + readU16(bytes, at)));
}

function sagaEntityOf(cursor: BodyCursor): string {
  const entity = cursor.rareEntity();
  if (!entity.startsWith(`${systemKinds.saga}/`)) throw badFrame(`${JSON.stringify(entity.slice(0, 80))} is no saga`);
  const problem = sagaIdProblem(sagaOfEntity(entity));
  if (problem !== undefined) throw badFrame(`a saga's id: ${problem}`);
  return entity;
}

function checkTimeout(path: string, value: number | undefined): number {
  if (value === undefined) return 0;
  if (Number.isSafeInteger(value) && value >= 1 && value <= sagaTimeoutMsMax) return value;
  throw invalid(path, `wanted a whole number from 1 to ${sagaTimeoutMsMax} ms, found ${String(value)}`);
}

function writePrefixed(bytes: Uint8Array, at: number, text: string): number {
  const length = writeText(bytes, at + 2, text);
  writeU16(bytes, at, length);
  return at + 2 + length;
}

function checkEnd(cursor: BodyCursor, to: number): void {
  if (cursor.at !== to) throw badFrame("bytes follow the last field");
}

function invalid(path: string, problem: string): HeddleError {
  return new HeddleError("INVALID_REQUEST", { path, problem });
}

function tooLarge(saga: string, bytes: number): HeddleError {
  return new HeddleError("FRAME_TOO_LARGE", { bytes, bytesMax: limits.sagaBytesMax, saga });
}

// ——— erase

export interface SagaEraseFields {
  readonly entity: string;
  /** One of the saga's entities, which is being erased. */
  readonly participant: string;
  /** Whether to answer only when nothing is left of the record; else when that is sure to come. */
  readonly gone: boolean;
}

/** u16 length, the saga's entity | u16 length, participant | u8: 1 for an answer when nothing is left. */
export function writeSagaEraseBody({ entity, participant, gone }: SagaEraseFields, reserve: Reserve): number {
  const { bytes, at } = reserve(8 + 3 * (entity.length + participant.length));
  const p = writePrefixed(bytes, writePrefixed(bytes, at, entity), participant);
  bytes[p] = gone ? 1 : 0;
  return p + 1 - at;
}

export function readSagaEraseBody(bytes: Uint8Array, from: number, to: number, texts: TextCache): SagaEraseFields {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const fields = { entity: sagaEntityOf(cursor), participant: cursor.entity(), gone: cursor.u8() === 1 };
  checkEnd(cursor, to);
  return fields;
}

// ——— probe

/** u16 length, entity | u8 length, append id. */
export function writeProbeBody(fields: { readonly entity: string; readonly id: string }, reserve: Reserve): number {
  const { bytes, at } = reserve(8 + 3 * (fields.entity.length + fields.id.length));
  const p = writePrefixed(bytes, at, fields.entity);
  bytes[p] = writeText(bytes, p + 1, fields.id);
  return p + 1 + bytes[p]! - at;
}

export function readProbeBody(
  bytes: Uint8Array,
  from: number,
  to: number,
  texts: TextCache,
): { readonly entity: string; readonly id: string } {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const fields = { entity: cursor.entity(), id: cursor.name() };
  checkEnd(cursor, to);
  if (fields.id === "") throw badFrame("a probe without an id");
  return fields;
}

// ——— the body inside a step

/** The entity of a step's append or execute body, without taking the body apart. The bounds have been checked. */
export function entityOfStep(bytes: Uint8Array, from: number): string {
  return readText(bytes, from + 2, from + 2 + readU16(bytes, from));
}
