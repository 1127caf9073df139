// LongPoll: a question that the node answers when there is something to tell, asked for as long as it takes.
//
// Nothing is remembered at the node between two questions, so that a reader who is slow, cut off or restarted asks on from
// where it was, and one that does not ask takes nothing of the node.
// Not promised: when an answer comes. A node that is away is waited for, once it has been there.
import { HeddleError } from "@heddle/kernel";
import type { Decode } from "./call.ts";
import type { WriteBody } from "./frame-writer.ts";
import type { Sessions } from "./sessions.ts";

/** So long the node keeps a question before it answers that there is nothing yet. */
export const pollWaitMs = 10_000;
/** For the way there and back, and for a node that is busy or starts again. */
const pollSlackMs = 20_000;

export interface Question<F> {
  readonly kind: number;
  /** An entity's hash, or a shard's number where a shard is asked. */
  readonly hash: number;
  readonly body: WriteBody<F>;
  readonly decode: Decode;
}

export class LongPoll<F, T> {
  readonly #sessions: Sessions;
  readonly #question: Question<F>;
  readonly #signal: AbortSignal | undefined;
  #wasAnswered = false;

  constructor(sessions: Sessions, question: Question<F>, signal: AbortSignal | undefined) {
    this.#sessions = sessions;
    this.#question = question;
    this.#signal = signal;
  }

  /**
   * Asks until there is an answer, which may be that there is nothing yet. A function makes the fields of each attempt anew.
   * Errors: `CLOSED`; `CONNECTION_FAILED` when there never was an answer; the node's refusals; the signal's reason.
   */
  async ask(fields: F | (() => F)): Promise<T> {
    const { kind, hash, body, decode } = this.#question;
    const options = { timeoutMs: pollWaitMs + pollSlackMs, signal: this.#signal };
    for (;;) {
      try {
        const asked = typeof fields === "function" ? (fields as () => F)() : fields;
        const answer = await this.#sessions.waiting().request<T, F>(kind, hash, body, asked, options, decode);
        this.#wasAnswered = true;
        return answer;
      } catch (error) {
        if (!this.#mayAskAgain(error)) throw error;
      }
    }
  }

  // The session has tried again by itself for as long as a call may take.
  #mayAskAgain(error: unknown): boolean {
    if (!(error instanceof HeddleError)) return false;
    switch (error.code) {
      case "TIMEOUT":
      case "OVERLOADED":
      case "SHARD_STOPPED":
      case "OUTCOME_UNKNOWN":
        return true;
      case "CONNECTION_FAILED":
        return this.#wasAnswered;
      default:
        return false;
    }
  }
}
