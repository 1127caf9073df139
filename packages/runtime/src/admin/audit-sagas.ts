// AuditSagas: holds the records of sagas against the histories of the entities that they changed.
//
// A saga's record and its steps lie in different slices and shards, so each slice gives numbers: what its sagas say of the ids
// of their steps, and which such ids its entities have. Together they tell which sagas are suspect; these alone are looked at
// a second time, by name. So an audit holds 32 bytes for each step, whatever the steps carry.
//
// A1. A step that is recorded as done, or as done and undone, is in its entity's history under the saga's id for it; so is
//     what undid it.
// A2. A step that an ended saga has recorded as not done is not there; what would undo a step that was not undone is not.
// A3. Beside a running node nothing that ends meanwhile counts as a fault: what a record says was durable before it, so the
//     second look finds it.
// Not promised: that of an entity which was erased and its digests with it, or of a saga whose record was erased, anything is
// known. A folder that was restored to a time has shards of nearly that time only: a saga then may be ahead of its steps.
import { type EntryView, entityOfEntry, entryFlags, idDigestOfErased } from "@heddle/event-log/internal";
import { isHeddleError, isSystemEntity, systemKinds } from "@heddle/kernel";
import { erasedIdName, erasedIdNameOfDigest } from "@heddle/partition/internal";
import { sagaOfEntity, sagaStepId, stepStates, TextCache } from "@heddle/protocol/internal";
import type { SagaFacts } from "@heddle/saga/internal";
import { EntryDecoder } from "@heddle/shard/internal";
import type { AuditProblem } from "./audit-problems.ts";
import { openLogReader } from "./existing-folder.ts";
import { scanInSlices } from "./scan-slices.ts";

export interface SagaCounts {
  readonly ended: number;
  /** Running and compensating ones. */
  readonly unfinished: number;
  readonly stuck: number;
}

/** What one slice knows. Numbers are made of ids by `numberOf`. */
export interface SliceSagas extends SagaCounts {
  /** In threes: the saga, what is claimed of which of its steps (`claimOf`), the step on its entity. */
  readonly claims: Float64Array;
  /** Steps that its entities have, and ids that they had when they were erased. */
  readonly steps: Float64Array;
}

/** Gathers it, entry by entry and at last state by state. */
export class SagaSlice {
  #ended = 0;
  #unfinished = 0;
  #stuck = 0;
  readonly #claims: number[] = [];
  readonly #steps: number[] = [];

  /** The append id of an entity's entry; of an erased one its name in the partition. */
  onId(entity: string, id: string, isErased: boolean): void {
    if (isErased) this.#steps.push(numberOfName(id));
    else if (id.startsWith(stepPrefix)) this.#steps.push(numberOf(entity, id));
  }

  /** The state that a saga's entity has at the end of the log. */
  onSaga(entity: string, facts: SagaFacts): void {
    const { state, entities, outcomes } = facts;
    if (state === "NONE") return;
    if (state === "STUCK") this.#stuck++;
    else if (isEnd(state)) this.#ended++;
    else this.#unfinished++;
    const saga = sagaOfEntity(entity);
    const sagaNumber = numberOf(entity, "");
    const claim = (step: number, direction: "forward" | "back", isThere: boolean): void => {
      const id = sagaStepId(saga, step, direction);
      this.#claims.push(sagaNumber, claimOf(step, direction, isThere), numberOf(entities[step]!, id));
    };
    outcomes.forEach(([place, , , problem], step) => {
      const outcome = stepStates[place];
      const isDone = outcome === "done" || outcome === "compensated" || outcome === "stuck";
      if (isDone) claim(step, "forward", true);
      if (outcome === "compensated") claim(step, "back", true);
      if (!isEnd(state)) return;
      // An id that somebody else has used says nothing about this saga.
      const isAbsent = outcome === "waiting" || (outcome === "refused" && problem?.[0] !== "ID_REUSED");
      if (isAbsent) claim(step, "forward", false);
      if (isAbsent || outcome === "done") claim(step, "back", false);
    });
  }

  result(): SliceSagas {
    return {
      ended: this.#ended,
      unfinished: this.#unfinished,
      stuck: this.#stuck,
      claims: Float64Array.from(this.#claims),
      steps: Float64Array.from(this.#steps),
    };
  }
}

const stepPrefix = "saga:";

function isEnd(state: SagaFacts["state"]): boolean {
  return state === "COMMITTED" || state === "COMPENSATED";
}

function numberOf(entity: string, id: string): number {
  return numberOfName(erasedIdName(entity, id));
}

/** 48 bits of the digest that stands for an id once its entry is erased, so that both can be found. */
function numberOfName(name: string): number {
  return Number.parseInt(name.slice(-12), 16);
}

function claimOf(step: number, direction: "forward" | "back", isThere: boolean): number {
  return 4 * step + (direction === "back" ? 2 : 0) + (isThere ? 1 : 0);
}

/** A claim that the numbers do not bear out. */
interface Suspect {
  readonly saga: number;
  readonly claim: number;
  readonly step: number;
}

export interface SagaAudit {
  readonly problems: readonly AuditProblem[];
  readonly total: number;
}

/** Holds all slices of a folder against each other. At most `problemsMax` problems are told, and all are counted. */
export async function judgeSagas(
  data: string,
  shardCount: number,
  slices: readonly SliceSagas[],
  problemsMax: number,
): Promise<SagaAudit> {
  const found = sorted(slices.map(({ steps }) => steps));
  const suspects: Suspect[] = [];
  for (const { claims } of slices) {
    for (let i = 0; i < claims.length; i += 3) {
      const isThere = (claims[i + 1]! & 1) === 1;
      if (holds(found, claims[i + 2]!) === isThere) continue;
      suspects.push({ saga: claims[i]!, claim: claims[i + 1]!, step: claims[i + 2]! });
    }
  }
  if (suspects.length === 0) return { problems: [], total: 0 };
  const problems = await lookAgain(data, shardCount, suspects);
  return { problems: problems.slice(0, problemsMax), total: problems.length };
}

function sorted(parts: readonly Float64Array[]): Float64Array {
  const all = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all.sort();
}

function holds(numbers: Float64Array, wanted: number): boolean {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (numbers[middle]! < wanted) low = middle + 1;
    else high = middle;
  }
  return numbers[low] === wanted;
}

interface NamedSaga {
  readonly entity: string;
  readonly shard: number;
}

/** Reads the logs once more, up to the ends that they have now: names the sagas, and finds the steps that came meanwhile. */
async function lookAgain(data: string, shardCount: number, suspects: readonly Suspect[]): Promise<AuditProblem[]> {
  const sagas = new Set(suspects.map(({ saga }) => saga));
  const steps = new Set(suspects.map(({ step }) => step));
  const named = new Map<number, NamedSaga>();
  const there = new Map<number, string>();
  const decoder = new EntryDecoder(new TextCache());
  for (let shard = 0; shard < shardCount; shard++) {
    await eachEntry(data, shard, (entry) => {
      const entity = entityOfEntry(entry);
      if (isSystemEntity(entity)) {
        if (!entity.startsWith(`${systemKinds.saga}/`)) return;
        const number = numberOf(entity, "");
        if (sagas.has(number)) named.set(number, { entity, shard });
        return;
      }
      const number = stepNumberOf(entry, entity, decoder);
      if (number !== undefined && steps.has(number)) there.set(number, entity);
    });
  }
  return suspects.flatMap(({ saga, claim, step }) => {
    const place = named.get(saga);
    const entity = there.get(step);
    const isClaimedThere = (claim & 1) === 1;
    // Damage, which other rules tell of, may keep a record from being found again.
    if (place === undefined || isClaimedThere === (entity !== undefined)) return [];
    const direction = (claim & 2) === 0 ? "forward" : "back";
    const id = JSON.stringify(sagaStepId(sagaOfEntity(place.entity), claim >>> 2, direction));
    const what = `${direction === "forward" ? "step" : "compensation of step"} ${(claim >>> 2) + 1}`;
    return [
      {
        shard: place.shard,
        rule: "saga/steps",
        entity: place.entity,
        found: isClaimedThere ? `no entry with the id ${id}` : `an entry of ${entity} with the id ${id}`,
        wanted: isClaimedThere ? `one, as the record has ${what} done` : `none, as the record has ${what} not done`,
      },
    ];
  });
}

async function eachEntry(data: string, shard: number, visit: (entry: EntryView) => void): Promise<void> {
  const log = openLogReader(data, shard);
  try {
    await scanInSlices(log, { onEntry: visit });
  } catch (error) {
    if (!isHeddleError(error, "LOG_DAMAGED")) throw error;
  } finally {
    log.close();
  }
}

function stepNumberOf(entry: EntryView, entity: string, decoder: EntryDecoder): number | undefined {
  if ((entry.flags & entryFlags.erased) !== 0) {
    const digest = idDigestOfErased(entry);
    return digest === undefined ? undefined : numberOfName(erasedIdNameOfDigest(digest));
  }
  try {
    const { id } = decoder.open(entry);
    return id.startsWith(stepPrefix) ? numberOf(entity, id) : undefined;
  } catch {
    return undefined; // What cannot be taken apart is told by "log/entry-whole".
  }
}
