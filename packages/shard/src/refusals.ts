// Refusals: answers that say no because of an entity's state. That state may not be durable yet, and must not be heard of
// before it is (P2).
import { encodeErrorReply, encodeRejectionReply, type Rejection, rejection } from "@heddle/protocol/internal";
import { asDomainFailure } from "./decide.ts";
import type { Entity } from "./entity.ts";
import type { Frame } from "./frame.ts";
import type { OpenGroups } from "./open-groups.ts";
import type { Parts } from "./parts.ts";
import { erased } from "./time-travel.ts";

/** Errors: `DOMAIN_FAILED` for facts that cannot be sent, which only a command's own can be. */
export function sayRejection(parts: Parts, groups: OpenGroups, frame: Frame, entity: Entity, value: Rejection): void {
  let made: Uint8Array;
  try {
    made = encodeRejectionReply(frame.call, value);
  } catch (thrown) {
    throw asDomainFailure(thrown, () => `the facts of the rejection ${value.message}`);
  }
  parts.counters.countRejection(value.code);
  groups.say(frame, groups.isUndurable(entity), made);
}

export function saySequenceConflict(
  parts: Parts,
  groups: OpenGroups,
  frame: Frame,
  entity: Entity,
  expectedSeq: number,
): void {
  sayRejection(parts, groups, frame, entity, rejection("SEQUENCE_CONFLICT", { expectedSeq, actualSeq: entity.seq }));
}

/** Answers `ERASED`. */
export function sayErased(parts: Parts, groups: OpenGroups, frame: Frame, entity: Entity): void {
  parts.counters.countError("ERASED");
  groups.say(frame, groups.isUndurable(entity), encodeErrorReply(frame.call, erased(entity)));
}
