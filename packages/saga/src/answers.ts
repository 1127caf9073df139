// Answers: what a reply to a step says about its outcome.
//
// A rejection, and an error that no repetition can change, say that nothing was written. Errors that may pass say nothing for
// sure: a shard that stops answers so for what it had decided, and its log may have kept it.
import { HeddleError } from "@heddle/kernel";
import type { SagaProblem } from "@heddle/protocol";
import { encodeValue, type Reply, readProbe, type WireProblem } from "@heddle/protocol/internal";
import type { Answer } from "./progress.ts";

/** Bytes of the facts of a problem that is kept; others are left out. */
const factsBytesMax = 4_096;
const messageCharactersMax = 1_000;

/** To an append or a command. */
export function answerOf(reply: Reply): Answer {
  if (reply.kind === "receipt") return { kind: "done", receipt: reply.receipt };
  if (reply.kind === "rejected") return { kind: "no", problem: problemOf(reply.rejection) };
  if (reply.kind === "error") return { kind: reply.error.retryable ? "again" : "no", problem: problemOf(reply.error) };
  return { kind: "again", problem: unexpected(reply) };
}

/** To a probe. */
export function answerOfProbe(reply: Reply): Answer {
  if (reply.kind === "error") return { kind: reply.error.retryable ? "again" : "no", problem: problemOf(reply.error) };
  if (reply.kind !== "value") return { kind: "again", problem: unexpected(reply) };
  const receipt = readProbe(reply.value);
  return receipt === undefined ? { kind: "absent" } : { kind: "done", receipt };
}

function unexpected(reply: Reply): SagaProblem {
  return problemOf(new HeddleError("BAD_FRAME", { problem: `a reply of kind ${reply.kind} to a step` }));
}

/** A rejection or an error, as far as it is worth being kept with a saga. */
export function problemOf(said: {
  readonly code: string;
  readonly message: string;
  readonly facts: unknown;
}): SagaProblem {
  const { code, message, facts } = said;
  return { code, message: message.slice(0, messageCharactersMax).toWellFormed(), facts: isSmall(facts) ? facts : null };
}

function isSmall(facts: unknown): boolean {
  try {
    return encodeValue(facts).length <= factsBytesMax;
  } catch {
    return false;
  }
}

export function wireProblem(problem: SagaProblem | undefined): WireProblem | null {
  return problem === undefined ? null : [problem.code, problem.message, problem.facts];
}

export function problemOfWire(wire: WireProblem | null): SagaProblem | undefined {
  return wire === null ? undefined : { code: wire[0], message: wire[1], facts: wire[2] };
}
