// WaitingCalls: calls that may wait for long before there is an answer. They end when the node closes, so that it waits for none.
import { HeddleError } from "@heddle/kernel";

export class WaitingCalls {
  readonly #ends = new Set<() => void>();
  #isClosed = false;

  /** The answer, unless the node closes first. Errors: `CLOSED`; whatever the answer rejects with. */
  until<T>(answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const end = () => reject(new HeddleError("CLOSED", { what: "the node" }));
      if (this.#isClosed) end();
      this.#ends.add(end);
      answer.then(resolve, reject).finally(() => this.#ends.delete(end));
    });
  }

  close(): void {
    this.#isClosed = true;
    for (const end of this.#ends) end();
  }
}
