// StepPlans: the steps of a saga, checked once at the door, and where their bodies lie.
//
// P7. What a step or its compensation could never do (an unknown aggregate, event or command, a payload of a compensation
//     that its schema refuses) refuses the saga before it begins. Payloads of steps are for their entities to judge: those
//     say no before anything has happened. So does an entity of a kind that the domain module does not declare, whether it
//     exists or not: that is another shard's to know, and a slip is to cost nothing.
// S1. Events carry the schema version of their payloads from the door on, so that a saga that is still under way when the
//     domain module changes is brought to the newest shape like any stored event.
import type { CompiledAggregate, CompiledContext } from "@heddle/domain/internal";
import { describeThrown } from "@heddle/domain/internal";
import { HeddleError, hashEntity, isSystemEntity, parseEntityId } from "@heddle/kernel";
import { InvariantViolation } from "@heddle/kernel/internal";
import {
  type BodyStart,
  decodeValue,
  isSagaStepId,
  newAppendView,
  newExecuteView,
  readAppendBody,
  readExecuteBody,
  readSagaSteps,
  readText,
  readU16,
  requestKind,
  type SagaStepRange,
  sagaStepId,
  type TextCache,
  writeAppendBody,
  writeU16,
  writeU32,
} from "@heddle/protocol/internal";

/** A request body inside the bytes of a saga. */
export interface Act {
  readonly kind: number;
  readonly bytes: Uint8Array;
  readonly from: number;
  readonly to: number;
}

export interface StepPlan {
  readonly entity: string;
  readonly hash: number;
  readonly stage: number;
  /** 0 where the saga's own time-out for steps holds. */
  readonly timeoutMs: number;
  readonly forward: Act;
  readonly back: Act | undefined;
}

export class StepPlanner {
  readonly #domain: CompiledContext;
  readonly #texts: TextCache;
  // Reused from body to body.
  readonly #append = newAppendView({ leavesId: true });
  readonly #execute = newExecuteView({ leavesId: true });

  constructor(domain: CompiledContext, texts: TextCache) {
    this.#domain = domain;
    this.#texts = texts;
  }

  /**
   * The plans of a new saga. `bytes` are the saga's own, and get the versions of its events written into them.
   * Errors: `BAD_FRAME`; `INVALID_REQUEST`, `INVALID_ENTITY_ID`, `UNKNOWN_KIND`, `UNKNOWN_AGGREGATE`,
   * `UNKNOWN_EVENT_TYPE`, `UNKNOWN_COMMAND`, `INVALID_PAYLOAD` (of a compensation), `DOMAIN_FAILED`.
   */
  plan(saga: string, bytes: Uint8Array): StepPlan[] {
    const ranges = readSagaSteps(bytes, 0, bytes.length);
    const plans = new Array<StepPlan>(ranges.length);
    for (let index = 0; index < ranges.length; index++) {
      const range = ranges[index]!;
      const forward = this.#act(saga, bytes, range, index, "forward");
      const { entity } = this.#last;
      if (isSystemEntity(entity)) {
        throw invalid(`steps.${index}.entity`, `only Heddle writes to ${entity}`);
      }
      parseEntityId(entity);
      this.#domain.checkKind(entity);
      for (let i = 0; i < index; i++) {
        if (plans[i]!.entity === entity) throw invalid(`steps.${index}.entity`, `two steps on ${entity}`);
      }
      const back = range.backKind === 0 ? undefined : this.#act(saga, bytes, range, index, "back");
      if (this.#last.entity !== entity) throw badFrame(`the compensation of step ${index} is not on ${entity}`);
      plans[index] = planOf(entity, range, forward, back);
    }
    return plans;
  }

  /** The plans of a saga on record. Nothing is checked again; events of older versions are upcast. */
  planStored(bytes: Uint8Array): StepPlan[] {
    return readSagaSteps(bytes, 0, bytes.length).map((range) => {
      const forward = this.#renewed({
        kind: range.forwardKind,
        bytes,
        from: range.forwardFrom,
        to: range.forwardTo,
      });
      const { entity } = this.#last;
      const back =
        range.backKind === 0
          ? undefined
          : this.#renewed({ kind: range.backKind, bytes, from: range.backFrom, to: range.backTo });
      return planOf(entity, range, forward, back);
    });
  }

  /** Of the body that was read last. */
  #last: Readonly<BodyStart> = this.#append;

  #act(saga: string, bytes: Uint8Array, range: SagaStepRange, index: number, direction: "forward" | "back"): Act {
    const isForward = direction === "forward";
    const kind = isForward ? range.forwardKind : range.backKind;
    const from = isForward ? range.forwardFrom : range.backFrom;
    const to = isForward ? range.forwardTo : range.backTo;
    this.#read(kind, bytes, from, to);
    const { idFrom, idTo, expectedSeq } = this.#last;
    if (!isSagaStepId(bytes, idFrom, idTo, saga, index, direction)) {
      throw badFrame(`the id of step ${index} is not ${sagaStepId(saga, index, direction)}, that of its place`);
    }
    if (expectedSeq >= 0) {
      throw invalid(`steps.${index}`, "a step cannot expect a sequence: it is written whenever its turn comes");
    }
    if (kind === requestKind.execute) this.#checkCommand(bytes, to, index, isForward);
    else if (this.#checkEvents(bytes, to, index, isForward)) {
      return this.#upcast({ kind, bytes, from, to });
    }
    return { kind, bytes, from, to };
  }

  #read(kind: number, bytes: Uint8Array, from: number, to: number): void {
    if (kind === requestKind.execute) {
      readExecuteBody(bytes, from, to, this.#texts, this.#execute);
      this.#last = this.#execute;
    } else {
      readAppendBody(bytes, from, to, this.#texts, this.#append);
      this.#last = this.#append;
    }
  }

  #checkCommand(bytes: Uint8Array, to: number, index: number, isForward: boolean): void {
    const { aggregate: name, command: commandName, inputFrom } = this.#execute;
    const aggregate = this.#aggregate(name, () => this.#domain.aggregateOfCommand(commandName));
    const command = aggregate.commands.get(commandName);
    if (command === undefined) {
      const known = [...aggregate.commands.keys()];
      throw new HeddleError("UNKNOWN_COMMAND", { aggregate: aggregate.name, command: commandName, known });
    }
    if (isForward) return;
    const where = `${aggregate.name}.${commandName}`;
    const input = decoded(bytes, inputFrom, to);
    const validated = asDomain(where, () => command.validate(input));
    if (validated.issues === undefined) return;
    const { issues } = validated;
    throw new HeddleError("INVALID_PAYLOAD", { aggregate: aggregate.name, type: commandName, index, issues });
  }

  // Fills in the versions. Returns whether an event has an older one.
  #checkEvents(bytes: Uint8Array, to: number, index: number, isForward: boolean): boolean {
    const view = this.#append;
    const aggregate = this.#aggregate(view.aggregate, () => this.#domain.aggregateOfEvent(view.types[0]!));
    let isOlder = false;
    for (let i = 0; i < view.typeCount; i++) {
      const type = view.types[i]!;
      const event = aggregate.events.get(type);
      if (event === undefined) {
        const known = [...aggregate.events.keys()];
        throw new HeddleError("UNKNOWN_EVENT_TYPE", { aggregate: aggregate.name, type, index, known });
      }
      const at = view.versionOffsets[i]!;
      const version = readU16(bytes, at);
      if (version > event.schemaVersion) {
        const problem = `${aggregate.name}.${type} has version ${version}, the domain module knows ${event.schemaVersion}`;
        throw invalid(`steps.${index}.schemaVsn`, problem);
      }
      if (version === 0) writeU16(bytes, at, event.schemaVersion);
      else if (version < event.schemaVersion) isOlder = true;
    }
    if (!isForward && !isOlder) this.#checkPayloads(aggregate, bytes, to, index);
    return isOlder;
  }

  #checkPayloads(aggregate: CompiledAggregate, bytes: Uint8Array, to: number, index: number): void {
    const view = this.#append;
    const payloads = decoded(bytes, view.payloadsFrom, to);
    if (!Array.isArray(payloads) || payloads.length !== view.eventCount) throw badFrame("payloads that are no list");
    let type = "";
    try {
      for (let i = 0; i < payloads.length; i++) {
        type = view.types[view.typeIndexes === 0 ? 0 : bytes[view.typeIndexes + i]!]!;
        const { issues } = aggregate.events.get(type)!.validate(payloads[i]);
        if (issues !== undefined)
          throw new HeddleError("INVALID_PAYLOAD", { aggregate: aggregate.name, type, index, issues });
      }
    } catch (thrown) {
      throw domainFailure(`the schema of ${aggregate.name}.${type}`, thrown);
    }
  }

  #aggregate(name: string, guess: () => CompiledAggregate | undefined): CompiledAggregate {
    const { aggregates, aggregateNames } = this.#domain;
    const found =
      name !== "" ? aggregates.get(name) : aggregateNames.length === 1 ? aggregates.get(aggregateNames[0]!) : guess();
    if (found !== undefined && !found.system) return found;
    throw new HeddleError("UNKNOWN_AGGREGATE", { aggregate: name, known: aggregateNames });
  }

  // What the domain module cannot bring to its newest shape is sent as it is: its entity says what is wrong with it.
  #renewed(act: Act): Act {
    try {
      return this.#newest(act);
    } catch (thrown) {
      if (!(thrown instanceof HeddleError)) throw thrown;
      return act;
    }
  }

  #newest(act: Act): Act {
    const { kind, bytes, from, to } = act;
    this.#read(kind, bytes, from, to);
    if (kind === requestKind.execute) return act;
    const view = this.#append;
    const aggregate = this.#aggregate(view.aggregate, () => this.#domain.aggregateOfEvent(view.types[0]!));
    for (let i = 0; i < view.typeCount; i++) {
      const newest = aggregate.events.get(view.types[i]!)?.schemaVersion ?? 0;
      if (readU16(bytes, view.versionOffsets[i]!) < newest) return this.#upcast(act);
    }
    return act;
  }

  // The same events in their newest shape, in bytes of their own. `#append` has been read from the act.
  #upcast({ kind, bytes, to }: Act): Act {
    const view = this.#append;
    const { entity } = view;
    const id = readText(bytes, view.idFrom, view.idTo);
    const aggregate = this.#aggregate(view.aggregate, () => this.#domain.aggregateOfEvent(view.types[0]!));
    const payloads = decoded(bytes, view.payloadsFrom, to);
    if (!Array.isArray(payloads) || payloads.length !== view.eventCount) throw badFrame("payloads that are no list");
    const events = payloads.map((payload: unknown, i) => {
      const index = view.typeIndexes === 0 ? 0 : bytes[view.typeIndexes + i]!;
      const event = aggregate.events.get(view.types[index]!)!;
      const version = readU16(bytes, view.versionOffsets[index]!);
      const upcast = asDomain(`the upcasters of ${aggregate.name}.${event.type}`, () => event.upcast(payload, version));
      return { type: event.type, payload: upcast, schemaVersion: event.schemaVersion };
    });
    let made = new Uint8Array();
    const used = writeAppendBody({ entity, aggregate: aggregate.name, events, id }, (wanted) => {
      made = new Uint8Array(wanted);
      return { bytes: made, at: 0 };
    });
    return { kind, bytes: made, from: 0, to: used };
  }
}

/** The bytes of steps whose acts may lie in bytes of their own: what is kept on record. */
export function bytesOfPlans(bytes: Uint8Array, plans: readonly StepPlan[]): Uint8Array {
  const isWhole = plans.every(({ forward, back }) => forward.bytes === bytes && (back ?? forward).bytes === bytes);
  if (isWhole) return bytes;
  const made: number[] = [plans.length];
  const parts: Uint8Array[] = [];
  const push = (part: Uint8Array) => parts.push(part);
  push(Uint8Array.from(made));
  for (const { stage, timeoutMs, forward, back } of plans) {
    const head = new Uint8Array(11);
    head[0] = stage;
    head[1] = forward.kind;
    head[2] = back?.kind ?? 0;
    writeU32(head, 3, timeoutMs);
    writeU32(head, 7, forward.to - forward.from);
    push(head);
    push(forward.bytes.subarray(forward.from, forward.to));
    if (back === undefined) continue;
    const length = new Uint8Array(4);
    writeU32(length, 0, back.to - back.from);
    push(length);
    push(back.bytes.subarray(back.from, back.to));
  }
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function planOf(entity: string, range: SagaStepRange, forward: Act, back: Act | undefined): StepPlan {
  const hash = hashEntity(entity as Parameters<typeof hashEntity>[0]);
  return { entity, hash, stage: range.stage, timeoutMs: range.timeoutMs, forward, back };
}

/** Errors: `BAD_FRAME` for what cannot be decoded, whatever the decoder throws. */
export function decoded(bytes: Uint8Array, from: number, to: number): unknown {
  try {
    return decodeValue(bytes, from, to);
  } catch (cause) {
    const problem = `a payload cannot be decoded: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw new HeddleError("BAD_FRAME", { problem }, { cause });
  }
}

/** What user code throws becomes `DOMAIN_FAILED`; Heddle's own errors stay as they are. */
export function asDomain<T>(where: string, run: () => T): T {
  try {
    return run();
  } catch (thrown) {
    throw domainFailure(where, thrown);
  }
}

function domainFailure(where: string, thrown: unknown): HeddleError | InvariantViolation {
  if (thrown instanceof HeddleError || thrown instanceof InvariantViolation) return thrown;
  return new HeddleError("DOMAIN_FAILED", { where, message: describeThrown(thrown) }, { cause: thrown });
}

function invalid(path: string, problem: string): HeddleError {
  return new HeddleError("INVALID_REQUEST", { path, problem });
}

function badFrame(problem: string): HeddleError {
  return new HeddleError("BAD_FRAME", { problem });
}
