// ReminderRunner: sets reminders, and delivers them when they are due. One for each shard, on its thread.
//
// An entity's reminders are an entity of their own, `$reminders/<entity>`, on the same shard. A delivery is a command or an
// append like any other, with an id made of the reminder's name and the time at which it was due. What came of it is written
// to the reminders afterwards, for all that were due together; that moves them on. The record does not wait until the deliveries
// are durable: it stands behind them in the same log, which is lost from its end (OwnShard, O3).
//
// D1. Never early: an occurrence leaves when the wall clock says that its time has come, or later.
// D2. Once: the id is a function of name and due time. Whatever is lost on the way, the same delivery is made again with the
//     same id, until its outcome is on record; the entity takes it once (P4). A record is only asked for while what it tells of
//     has not been dropped.
// D3. None is lost: an occurrence is off the list only with its outcome on record, or as one that the policy passes over.
// D4. What the domain says no to is an outcome. What may pass is tried again with growing pauses, for as long as it takes.
// D5. Bounded (P8): so many deliveries are under way at a time, and so many leave in a second.
// Not promised: an order among reminders of different entities; that one of a second of an entity waits for nobody else's:
// what is due of one entity goes out together, and the next of it when all of that is on record.
import { type CompiledContext, describeThrown } from "@heddle/domain/internal";
import {
  type Clock,
  type EntityId,
  HeddleError,
  hashEntity,
  limits,
  parseEntityId,
  type Random,
  systemKinds,
} from "@heddle/kernel";
import { invariant, TurnoverMap } from "@heddle/kernel/internal";
import type { ReminderReceipt, ReminderRecord } from "@heddle/protocol";
import {
  encodeErrorReply,
  encodeReply,
  frameOffset,
  isCommand,
  type ReminderOutcome,
  type RemindFields,
  type Reply,
  readCancelReminderBody,
  readContent,
  readRemindBody,
  readReminderListBody,
  readRemindersBody,
  replyKind,
  requestKind,
  TextCache,
  type WireListedReminder,
  writeDelivery,
  writeExecuteBody,
  writeGetBody,
} from "@heddle/protocol/internal";
import {
  type AlarmSource,
  aggregateOfAppend,
  aggregateOfCommand,
  appendOwn,
  decideOwn,
  type Frame,
  OwnEvent,
  type OwnShard,
  type ReplySink,
  type ShardAlarms,
  type ShardCalls,
  type WriteBody,
} from "@heddle/shard/internal";
import { deliveredPacker } from "./delivered-event.ts";
import { countPending, firstDueOf, type PendingReminder, readAll, readDue } from "./pending-reminders.ts";
import { release } from "./release.ts";
import type { ReleaseRate } from "./release-rate.ts";
import {
  type Delivered,
  type DeliveredItem,
  type RemindersState,
  remindersAlarm,
  type SetInput,
} from "./reminders-aggregate.ts";
import { checkSchedule, firstDue } from "./schedule.ts";

const kind = systemKinds.reminders;
const prefix = `${kind}/`;

/**
 * Deliveries under way at a time: 50,000 a second with a sync of 20 ms. What is under way lives in memory, and more of it
 * makes nothing faster: a shard takes as many in some ten milliseconds.
 */
const deliveriesMax = 1_024;
/** Occurrences of one entity that go out together. */
const batchMax = 64;
/** Pauses before what failed is tried again, in ms; each is shortened by up to a half at random. */
const pauseMs = { first: 50, growth: 2, max: 10_000 } as const;
/** Lines of a list that one turn makes: a few milliseconds when none of the entities is awake. */
const sliceListed = 200;

export interface ReminderRunnerOptions {
  readonly shard: number;
  readonly domain: CompiledContext;
  readonly calls: ShardCalls;
  /** The shard, which is opened with the runner's handlers; asked later. */
  readonly own: () => OwnShard;
  readonly replies: Pick<ReplySink, "frame">;
  readonly alarms: () => ShardAlarms;
  readonly clock: Clock;
  readonly random: Random;
  readonly rate: ReleaseRate;
  readonly schedule: (task: () => void, delayMs: number) => void;
  readonly report: (level: "info" | "warn" | "error", message: string, facts: Record<string, unknown>) => void;
  readonly crashPoint?: ((name: string) => void) | undefined;
}

export interface ReminderStats {
  /** Entities that have reminders. */
  readonly pending: number;
  /** Entities whose reminders are due, and not on record yet. */
  readonly due: number;
  readonly delivered: number;
  /** Deliveries that a rule or an error said no to. */
  readonly refused: number;
  /** Times that occurrences were passed over. */
  readonly missed: number;
  readonly retries: number;
  /** How long the longest due reminder has waited. */
  readonly lagMs: number;
}

/** Its outcome is to come. */
type OpenItem = DeliveredItem & { outcome: ReminderOutcome; code: string };

/** What is under way for one entity. */
interface Flight {
  /** `$reminders/…`. */
  readonly reminders: string;
  readonly entity: string;
  readonly since: number;
  /** Before it is done once more, in ms. */
  readonly pause: number;
  /** The shard's last loss when it began: after another, what came of it has to be asked again. */
  readonly lossBefore: HeddleError | undefined;
  readonly items: DeliveredItem[];
  /** Deliveries without an outcome. */
  left: number;
  deliveries: number;
}

/** Room for a delivery is made in these steps. */
const scratchStepBytes = 4_096;

export class ReminderRunner {
  readonly #options: ReminderRunnerOptions;
  readonly #texts = new TextCache();
  readonly #event: OwnEvent<Delivered>;
  readonly #flights = new TurnoverMap<string, Flight>();
  /** Entities with more that is due than could leave when they were looked at, in order. */
  readonly #waiting = new Set<string>();
  #deliveries = 0;
  #wakeScheduled = false;
  /** The body of the delivery that is being decided; whoever decides keeps nothing of it. */
  #scratch = new Uint8Array(scratchStepBytes);
  #delivered = 0;
  #refused = 0;
  #missed = 0;
  #retries = 0;

  /** For `ShardOptions.alarms`. */
  readonly source: AlarmSource = {
    aggregate: kind,
    alarmOf: remindersAlarm,
    timed: true,
    onAlarm: (reminders, _due, state) => this.#begin(reminders, state as RemindersState),
    room: () => this.#room(),
  };

  /** For `ShardOptions.handlers`. */
  readonly handlers: ReadonlyMap<number, (frame: Frame) => void> = new Map([
    [requestKind.remind, (frame: Frame) => this.#remind(frame)],
    [requestKind.cancelReminder, (frame: Frame) => this.#cancel(frame)],
    [requestKind.reminders, (frame: Frame) => this.#reminders(frame)],
    [requestKind.reminderList, (frame: Frame) => this.#list(frame)],
  ]);

  constructor(options: ReminderRunnerOptions) {
    this.#options = options;
    this.#event = new OwnEvent(options.domain, kind, "Delivered", deliveredPacker);
  }

  stats(): ReminderStats {
    const now = this.#options.clock.now();
    const alarms = this.#options.alarms();
    const [longest] = this.#flights.values();
    const oldest = Math.min(longest?.since ?? now, alarms.nextDue(kind), now);
    return {
      pending: alarms.count(kind),
      due: this.#flights.size + this.#waiting.size + alarms.countDue(kind),
      delivered: this.#delivered,
      refused: this.#refused,
      missed: this.#missed,
      retries: this.#retries,
      lagMs: now - oldest,
    };
  }

  // ——— requests

  #remind(frame: Frame): void {
    const fields = readRemindBody(frame.bytes, frame.from + frameOffset.requestBody, frame.to, this.#texts);
    const { name, schedule, missed, content } = fields;
    const owner = parseEntityId(fields.entity);
    checkSchedule(schedule);
    const input: SetInput = { name, schedule, missed, aggregate: this.#checkContent(owner, fields), content };
    const execute = {
      entity: prefix + owner,
      aggregate: kind,
      command: "Set",
      input,
      id: fields.id,
      // The life of the entity before this one may have had reminders.
      newLife: true,
    };
    this.#ask(
      frame,
      requestKind.execute,
      owner,
      (reserve) => writeExecuteBody(execute, reserve),
      (call, reply) => {
        if (reply.kind === "rejected") throw new HeddleError("INVALID_REQUEST", whySetIsRefused(reply, fields));
        invariant(reply.kind === "receipt", "reminders/set-is-answered", { kind: reply.kind });
        // The same that the command decided: it had the time of its event.
        const due = firstDue(schedule, reply.receipt.time)!;
        return encodeReply(replyKind.value, call, { ok: true, name, due } satisfies ReminderReceipt);
      },
    );
  }

  // Held against the domain now, not when nobody is there to read the answer. Returns the aggregate's name.
  #checkContent(owner: EntityId, { aggregate: named, content }: RemindFields): string {
    const { domain } = this.#options;
    const said = readContent(content, named, this.#texts);
    if (said.command !== undefined) {
      const aggregate = aggregateOfCommand(domain, owner, named, said.command);
      const command = aggregate.commands.get(said.command);
      if (command === undefined) {
        const known = [...aggregate.commands.keys()];
        throw new HeddleError("UNKNOWN_COMMAND", { aggregate: aggregate.name, command: said.command, known });
      }
      const { issues } = validating(`${aggregate.name}.${said.command}`, () => command.validate(said.input));
      if (issues === undefined) return aggregate.name;
      throw new HeddleError("INVALID_PAYLOAD", { aggregate: aggregate.name, type: said.command, index: 0, issues });
    }
    const events = said.events!;
    const aggregate = aggregateOfAppend(domain, owner, named, events[0]!.type);
    for (const [index, { type, payload }] of events.entries()) {
      const known = aggregate.events.get(type);
      if (known === undefined) {
        const names = [...aggregate.events.keys()];
        throw new HeddleError("UNKNOWN_EVENT_TYPE", { aggregate: aggregate.name, type, index, known: names });
      }
      const { issues } = validating(`${aggregate.name}.${type}`, () => known.validate(payload));
      if (issues !== undefined)
        throw new HeddleError("INVALID_PAYLOAD", { aggregate: aggregate.name, type, index, issues });
    }
    return aggregate.name;
  }

  #cancel(frame: Frame): void {
    const fields = readCancelReminderBody(frame.bytes, frame.from + frameOffset.requestBody, frame.to, this.#texts);
    const owner = parseEntityId(fields.entity);
    const { name } = fields;
    const execute = { entity: prefix + owner, aggregate: kind, command: "Cancel", input: { name }, newLife: true };
    this.#ask(
      frame,
      requestKind.execute,
      owner,
      (reserve) => writeExecuteBody(execute, reserve),
      (call, reply) => {
        if (reply.kind === "rejected") throw new HeddleError("NO_SUCH_REMINDER", { entity: owner, reminder: name });
        return encodeReply(replyKind.value, call, { ok: true, name });
      },
    );
  }

  #reminders(frame: Frame): void {
    const fields = readRemindersBody(frame.bytes, frame.from + frameOffset.requestBody, frame.to, this.#texts);
    const owner = parseEntityId(fields.entity);
    const get = { entity: prefix + owner, aggregate: kind };
    this.#ask(
      frame,
      requestKind.get,
      owner,
      (reserve) => writeGetBody(get, reserve),
      (call, reply) => {
        invariant(reply.kind === "value", "reminders/get-is-answered", { kind: reply.kind });
        const { pending } = (reply.value as { readonly state: RemindersState }).state;
        return encodeReply(
          replyKind.value,
          call,
          readAll(pending).map((reminder) => this.#recordOf(reminder)),
        );
      },
    );
  }

  // Over turns, because each line may have to wake an entity.
  #list(frame: Frame): void {
    const fields = readReminderListBody(frame.bytes, frame.from + frameOffset.requestBody, frame.to, this.#texts);
    const { connection, call, from, to } = frame;
    const { afterDue, afterEntity, before, limit } = fields;
    const after = afterEntity === "" ? undefined : { due: afterDue, entity: prefix + afterEntity };
    const alarms = this.#options.alarms().list(kind, { to: before, after, limit });
    const lines: WireListedReminder[] = [];
    const goOn = (at: number): void => {
      const end = Math.min(alarms.length, at + sliceListed);
      this.#answer(connection, to - from, call, () => {
        for (const { entity, due } of alarms.slice(at, end)) {
          const state = this.#options.alarms().stateOf(kind, entity) as RemindersState | undefined;
          if (state === undefined) continue;
          const [first] = readDue(state.pending, Number.POSITIVE_INFINITY, 1);
          if (first !== undefined)
            lines.push([entity.slice(prefix.length), due, first.name, countPending(state.pending)]);
        }
        if (end === alarms.length) return encodeReply(replyKind.value, call, lines);
        this.#options.schedule(() => goOn(end), 0);
        return undefined;
      });
    };
    goOn(0);
  }

  #recordOf({ name, due, schedule, missed, aggregate, content, last }: PendingReminder): ReminderRecord {
    return {
      name,
      due,
      ...("cron" in schedule ? { cron: schedule.cron, timeZone: schedule.timeZone } : {}),
      missed,
      content: readContent(content, aggregate, this.#texts),
      ...(last === null ? {} : { last }),
    };
  }

  // Asks the shard, and answers with what `answer` makes of the reply. What it throws is the answer.
  #ask(
    frame: Frame,
    request: number,
    owner: EntityId,
    write: WriteBody,
    answer: (call: number, reply: Reply) => Uint8Array,
  ): void {
    const { connection, call, from, to } = frame;
    this.#options.calls.call(request, hashEntity(owner), write, (reply) => {
      this.#answer(connection, to - from, call, () => {
        if (reply.kind === "error") throw reply.error;
        return answer(call, reply);
      });
    });
  }

  #answer(connection: number, requestBytes: number, call: number, make: () => Uint8Array | undefined): void {
    let frame: Uint8Array | undefined;
    try {
      frame = make();
    } catch (thrown) {
      if (!(thrown instanceof HeddleError)) throw thrown;
      frame = encodeErrorReply(call, thrown);
    }
    if (frame !== undefined) this.#options.replies.frame(connection, requestBytes, frame);
  }

  // ——— delivering

  #room(): number {
    const room = Math.min(this.#options.rate.available(), deliveriesMax - this.#deliveries - this.#waiting.size);
    if (room <= 0) this.#wakeLater();
    return room;
  }

  // What is due of an entity, as far as one batch goes. One that is under way is looked at again when it has ended. `pause` is the
  // one before this is done once more, should the record fail.
  #begin(reminders: string, { pending }: RemindersState, pause: number = pauseMs.first): void {
    if (this.#flights.has(reminders)) return;
    // What is delivered now has the time of the shard's turn, which the wall clock may be ahead of.
    const { now } = this.#options.own();
    const due = readDue(pending, now, batchMax);
    const [first] = due;
    if (first === undefined) {
      // The clock was set back since its alarm came.
      const next = firstDueOf(pending);
      if (next !== undefined) this.#options.alarms().putBack(kind, reminders, next);
      return;
    }
    const entity = reminders.slice(prefix.length);
    const flight: Flight = {
      reminders,
      entity,
      since: first.due,
      lossBefore: this.#options.own().loss,
      pause,
      items: [],
      left: 0,
      deliveries: 0,
    };
    this.#flights.set(reminders, flight);
    for (const reminder of due) this.#release(flight, reminder, now);
    this.#deliveries += flight.deliveries;
    this.#options.rate.take(flight.deliveries);
    if (flight.left === 0) this.#record(flight);
  }

  #release(flight: Flight, reminder: PendingReminder, now: number): void {
    const { name, version, due: from, schedule, missed } = reminder;
    const { kind: what, due, next = -1 } = release(schedule, missed, from, now);
    invariant(due <= now, "D1/never-early", { due, now });
    const item: OpenItem = { name, version, from, due, outcome: "missed", code: "", next };
    if (what === "pass") {
      flight.items.push(item);
      return;
    }
    flight.left++;
    flight.deliveries++;
    this.#deliver(flight, reminder, item, pauseMs.first);
  }

  #deliver(flight: Flight, reminder: PendingReminder, item: OpenItem, pause: number): void {
    const { own, calls } = this.#options;
    const { name, aggregate, content } = reminder;
    const { due } = item;
    const request = isCommand(content) ? requestKind.execute : requestKind.append;
    const id = `reminder:${name}:${due}`;
    const delivery = { entity: flight.entity, aggregate, id, reminder: name, due, content };
    const hears = (reply: Reply): void => {
      const isPassing =
        reply.kind === "error" &&
        this.#mayPass(flight, reply.error, pause, () => this.#deliverAgain(flight, reminder, item, longer(pause)));
      if (!isPassing) this.#settle(flight, item, reply);
    };
    const bytes = writeDelivery(delivery, this.#reserve);
    if (!decideOwn(own(), calls, request, this.#scratch, 0, bytes, hears)) {
      calls.call(request, hashEntity(flight.entity as EntityId), (reserve) => writeDelivery(delivery, reserve), hears);
    }
  }

  #deliverAgain(flight: Flight, reminder: PendingReminder, item: OpenItem, pause: number): void {
    if (item.due <= this.#options.own().now) this.#deliver(flight, reminder, item, pause);
    // The clock was set back since: it is not due any more.
    else this.#doAgain(flight);
  }

  readonly #reserve = (bytes: number) => {
    if (bytes > this.#scratch.length) {
      this.#scratch = new Uint8Array(Math.ceil(bytes / scratchStepBytes) * scratchStepBytes);
    }
    return { bytes: this.#scratch, at: 0 };
  };

  #settle(flight: Flight, item: OpenItem, reply: Reply): void {
    if (!this.#isUnderWay(flight)) return;
    this.#options.crashPoint?.("reminder:delivered");
    if (reply.kind === "receipt") item.outcome = "delivered";
    else {
      item.outcome = "refused";
      item.code = codeOf(reply);
    }
    flight.items.push(item);
    if (--flight.left === 0) this.#record(flight);
  }

  // What came of a batch goes on record; then the entity's next reminder counts.
  #record(flight: Flight): void {
    const { reminders, items, pause } = flight;
    const { own, calls, crashPoint, shard, report } = this.#options;
    const { loss } = own();
    if (loss !== undefined && loss !== flight.lossBefore) {
      // Some of what was heard may be gone. The same ids are asked again; by nobody else, for its alarm may have come meanwhile.
      this.#tryLater(flight, pause, () => this.#doAgain(flight));
      return;
    }
    appendOwn(own(), calls, reminders, this.#event, { items }, -1, (reply) => {
      if (reply.kind === "error" && this.#mayPass(flight, reply.error, pause, () => this.#doAgain(flight))) return;
      if (!this.#isUnderWay(flight)) return;
      crashPoint?.("reminder:recorded");
      this.#count(items);
      this.#end(flight);
      if (reply.kind === "receipt") this.#lookAgain(reminders);
      // Erased meanwhile: there is nothing to go on with.
      else if (codeOf(reply) !== "ERASED") {
        const facts = { shard, entity: flight.entity, code: codeOf(reply) };
        report("error", "what came of reminders could not be recorded; the next start does it", facts);
      }
    });
  }

  // Whether the deliveries are still there, only the entities can say.
  #doAgain(flight: Flight): void {
    const { reminders, pause } = flight;
    this.#end(flight);
    const state = this.#options.alarms().stateOf(kind, reminders) as RemindersState | undefined;
    if (state !== undefined) this.#begin(reminders, state, longer(pause));
  }

  #count(items: readonly DeliveredItem[]): void {
    for (const { outcome, from, due } of items) {
      if (outcome === "delivered") this.#delivered++;
      else if (outcome === "refused") this.#refused++;
      if (outcome === "missed" || due !== from) this.#missed++;
    }
  }

  // Whether an error is one that may pass; then it is tried again after a pause, or by the next start.
  #mayPass(flight: Flight, error: HeddleError, pause: number, retry: () => void): boolean {
    if (!error.retryable || !this.#isUnderWay(flight)) return error.retryable;
    if (error.code === "SHARD_STOPPED") {
      // This shard's own. Whoever opens it again finds what was due.
      this.#end(flight);
      return true;
    }
    this.#tryLater(flight, pause, retry);
    return true;
  }

  #tryLater(flight: Flight, pause: number, retry: () => void): void {
    this.#retries++;
    const shortened = pause * (1 - (this.#options.random.safeInteger() % 1_000) / 2_000);
    this.#options.schedule(() => {
      if (this.#isUnderWay(flight)) retry();
    }, Math.ceil(shortened));
  }

  #isUnderWay(flight: Flight): boolean {
    return this.#flights.get(flight.reminders) === flight;
  }

  #end(flight: Flight): void {
    const wasFull = this.#deliveries >= deliveriesMax;
    this.#flights.delete(flight.reminders);
    this.#deliveries -= flight.deliveries;
    if (this.#deliveries < deliveriesMax / 2) this.#wake();
    else if (wasFull) this.#wakeLater();
  }

  // Its alarm may have come while it was under way.
  #lookAgain(reminders: string): void {
    const state = this.#options.alarms().stateOf(kind, reminders) as RemindersState | undefined;
    const due = state === undefined ? undefined : firstDueOf(state.pending);
    if (due === undefined || due > this.#options.clock.now()) return;
    this.#waiting.add(reminders);
    this.#wakeLater();
  }

  // ——— room

  #wake(): void {
    // Those who wait take up room for newcomers, and none of their own.
    if (!this.#mayBegin()) {
      this.#wakeLater();
      return;
    }
    for (const reminders of this.#waiting) {
      if (!this.#mayBegin()) break;
      this.#waiting.delete(reminders);
      const state = this.#options.alarms().stateOf(kind, reminders) as RemindersState | undefined;
      if (state !== undefined) this.#begin(reminders, state);
    }
    if (this.#waiting.size > 0) this.#wakeLater();
    this.#options.alarms().ring(kind);
  }

  #mayBegin(): boolean {
    return this.#deliveries < deliveriesMax && this.#options.rate.available() > 0;
  }

  // As soon as the rate lets it. While there is no room, nothing is waited for: what ends makes some, and wakes.
  #wakeLater(): void {
    if (this.#wakeScheduled || this.#deliveries >= deliveriesMax) return;
    this.#wakeScheduled = true;
    this.#options.schedule(() => {
      this.#wakeScheduled = false;
      this.#wake();
    }, this.#options.rate.waitMs());
  }
}

function longer(pause: number): number {
  return Math.min(pause * pauseMs.growth, pauseMs.max);
}

function codeOf(reply: Reply): string {
  if (reply.kind === "error") return reply.error.code;
  return reply.kind === "rejected" ? reply.rejection.code : reply.kind;
}

function whySetIsRefused(
  reply: Extract<Reply, { kind: "rejected" }>,
  { name, entity, schedule }: RemindFields,
): { path: string; problem: string } {
  const { facts } = reply.rejection as { readonly facts: { readonly reason?: string } };
  if (facts.reason === "TOO_MANY") {
    return {
      path: "name",
      problem: `${entity} has ${limits.remindersPerEntityMax} reminders, which is the most; ${name} would be one more`,
    };
  }
  const { cron } = schedule as { readonly cron: string };
  return { path: "cron", problem: `${JSON.stringify(cron)} names a time that never comes` };
}

// Errors: `DOMAIN_FAILED` when the schema throws.
function validating<T>(where: string, validate: () => T): T {
  try {
    return validate();
  } catch (thrown) {
    if (thrown instanceof HeddleError) throw thrown;
    throw new HeddleError("DOMAIN_FAILED", { where, message: describeThrown(thrown) }, { cause: thrown });
  }
}
