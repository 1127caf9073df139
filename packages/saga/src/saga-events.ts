// SagaEvents: the events of sagas as a runner writes them, packed by hand where every saga has one. What is packed is what the
// codec of values would write, and is read with it.
import type { CompiledContext } from "@heddle/domain/internal";
import { systemKinds } from "@heddle/kernel";
import {
  copyBytes,
  decodeValue,
  encodeValue,
  haveProblems,
  packBytes,
  packedBytesHeadBytesMax,
  packedKey,
  packedListHeadBytesMax,
  packedNumberBytesMax,
  packedOutcomesBytesMax,
  packedTextBytesMax,
  packKey,
  packListHead,
  packNumber,
  packOutcomes,
  packText,
} from "@heddle/protocol/internal";
import { OwnEvent, type PayloadPacker } from "@heddle/shard/internal";
import type { CompensationBegan, Ended, Resolved, Retried, Started, StepsSettled } from "./saga-aggregate.ts";

export interface SagaEvents {
  readonly Started: OwnEvent<Started>;
  readonly StepsSettled: OwnEvent<StepsSettled>;
  readonly CompensationBegan: OwnEvent<CompensationBegan>;
  readonly Committed: OwnEvent<Ended>;
  readonly Compensated: OwnEvent<Ended>;
  readonly Stuck: OwnEvent<Ended>;
  readonly Retried: OwnEvent<Retried>;
  readonly Resolved: OwnEvent<Resolved>;
}

export function sagaEventsOf(domain: CompiledContext): SagaEvents {
  const event = <P>(type: keyof SagaEvents, packer = anyPayload as PayloadPacker<P>) =>
    new OwnEvent<P>(domain, systemKinds.saga, type, packer);
  return {
    Started: event<Started>("Started", startedPacker),
    StepsSettled: event<StepsSettled>("StepsSettled"),
    CompensationBegan: event<CompensationBegan>("CompensationBegan"),
    Committed: event<Ended>("Committed", endedPacker),
    Compensated: event<Ended>("Compensated"),
    Stuck: event<Ended>("Stuck"),
    Retried: event<Retried>("Retried"),
    Resolved: event<Resolved>("Resolved"),
  };
}

// Of the payload whose room was asked for last.
let encoded: Uint8Array = new Uint8Array();

const anyPayload: PayloadPacker<unknown> = {
  stored: (payload) => decodeValue(encodeValue(payload)),
  room(payload) {
    encoded = encodeValue(payload);
    return encoded.length;
  },
  pack(_payload, bytes, at) {
    return copyBytes(encoded, 0, encoded.length, bytes, at);
  },
};

const startedKeys = {
  at: packedKey("at", 7),
  deadline: packedKey("deadline"),
  stepTimeoutMs: packedKey("stepTimeoutMs"),
  name: packedKey("name"),
  fingerprint: packedKey("fingerprint"),
  entities: packedKey("entities"),
  steps: packedKey("steps"),
};

const startedFixedBytes = keysBytes(startedKeys) + 4 * packedNumberBytesMax + packedListHeadBytesMax;

const startedPacker: PayloadPacker<Started> = {
  stored: (payload) => payload,
  room({ name, entities, steps }) {
    let room = startedFixedBytes + packedTextBytesMax(name);
    for (let i = 0; i < entities.length; i++) room += packedTextBytesMax(entities[i]!);
    return room + packedBytesHeadBytesMax + steps.length;
  },
  pack({ at, deadline, stepTimeoutMs, name, fingerprint, entities, steps }, bytes, from) {
    let p = packNumber(bytes, packKey(bytes, from, startedKeys.at), at);
    p = packNumber(bytes, packKey(bytes, p, startedKeys.deadline), deadline);
    p = packNumber(bytes, packKey(bytes, p, startedKeys.stepTimeoutMs), stepTimeoutMs);
    p = packText(bytes, packKey(bytes, p, startedKeys.name), name);
    p = packNumber(bytes, packKey(bytes, p, startedKeys.fingerprint), fingerprint);
    p = packListHead(bytes, packKey(bytes, p, startedKeys.entities), entities.length);
    for (let i = 0; i < entities.length; i++) p = packText(bytes, p, entities[i]!);
    return packBytes(bytes, packKey(bytes, p, startedKeys.steps), steps);
  },
};

const endedKeys = { at: packedKey("at", 3), why: packedKey("why"), outcomes: packedKey("outcomes") };

const endedFixedBytes = keysBytes(endedKeys) + packedNumberBytesMax + 1;

/** What went wrong may be anything: only what went well is packed by hand. */
const endedPacker: PayloadPacker<Ended> = {
  stored: (payload) => (wentWell(payload) ? payload : (anyPayload.stored(payload) as Ended)),
  room(payload) {
    if (!wentWell(payload)) return anyPayload.room(payload);
    return endedFixedBytes + packedOutcomesBytesMax(payload.outcomes.length);
  },
  pack(payload, bytes, from) {
    if (!wentWell(payload)) return anyPayload.pack(payload, bytes, from);
    const { at, outcomes } = payload;
    let p = packNumber(bytes, packKey(bytes, from, endedKeys.at), at);
    p = packKey(bytes, p, endedKeys.why);
    bytes[p++] = 0xc0;
    return packOutcomes(outcomes, bytes, packKey(bytes, p, endedKeys.outcomes));
  },
};

function wentWell({ why, outcomes }: Ended): boolean {
  return why === null && !haveProblems(outcomes);
}

function keysBytes(keys: Record<string, Uint8Array>): number {
  return Object.values(keys).reduce((sum, { length }) => sum + length, 0);
}
