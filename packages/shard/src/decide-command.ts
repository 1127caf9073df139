// DecideCommand: what a command makes of a state. Pure, but for what the module's own code does.
import type { CompiledAggregate, Decision } from "@heddle/domain/internal";
import { type EntityId, HeddleError } from "@heddle/kernel";
import { type Rejection, rejection } from "@heddle/protocol/internal";
import { asDomainFailure, type Proposed, validateAll } from "./decide.ts";
import { proposalOfDecision } from "./proposals.ts";

/** Where `decideCommand` leaves the events, validated. */
export interface Decided {
  proposed: Proposed | undefined;
  payloads: unknown[];
}

/**
 * Validates the input, lets the command decide, and validates the events that it decided.
 * Errors: `UNKNOWN_COMMAND`; `INVALID_PAYLOAD` for the input; `DOMAIN_FAILED` when the command throws, or decides what is not
 * valid.
 */
export function decideCommand(
  aggregate: CompiledAggregate,
  name: string,
  input: unknown,
  state: unknown,
  entity: EntityId,
  now: number,
  into: Decided,
): Rejection | undefined {
  const command = aggregate.commands.get(name);
  if (command === undefined) {
    const known = [...aggregate.commands.keys()];
    throw new HeddleError("UNKNOWN_COMMAND", { aggregate: aggregate.name, command: name, known });
  }
  let decision: Decision;
  let proposed: Proposed | undefined;
  try {
    const validated = command.validate(input);
    if (validated.issues !== undefined) {
      const issues = validated.issues;
      throw new HeddleError("INVALID_PAYLOAD", { aggregate: aggregate.name, type: name, index: 0, issues });
    }
    decision = command.decide(state, validated.value, { entity, now });
    // What the module decided is its own object, and looking at it may run its code.
    if (decision.kind === "events") {
      proposed = proposalOfDecision(aggregate, decision.events);
      into.payloads = decision.events.map((event) => event.payload);
    }
  } catch (thrown) {
    throw commandFailure(thrown, aggregate, name);
  }
  if (proposed === undefined || decision.kind === "rejected") {
    const { code: reason, facts: details } = decision as Extract<Decision, { kind: "rejected" }>;
    return rejection("COMMAND_REJECTED", { command: name, reason, details });
  }
  into.proposed = proposed;
  try {
    validateAll(proposed, into.payloads);
  } catch (thrown) {
    // The caller's input was good: that its events are not is the module's fault, not the caller's.
    if (!(thrown instanceof HeddleError) || thrown.code !== "INVALID_PAYLOAD") throw thrown;
    const message = `it decided an event that is not valid: ${thrown.message}`;
    throw new HeddleError("DOMAIN_FAILED", { where: whereIs(aggregate, name), message });
  }
  return undefined;
}

// Apart, so that no closure captures what the way without an error has (decide.ts).
function commandFailure(thrown: unknown, aggregate: CompiledAggregate, name: string) {
  return asDomainFailure(thrown, () => whereIs(aggregate, name));
}

function whereIs(aggregate: CompiledAggregate, command: string): string {
  return `${aggregate.name}.${command}`;
}
