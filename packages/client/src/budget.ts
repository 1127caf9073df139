// Budget: the time of a whole transaction, of which every request gets what is left.
import { HeddleError } from "@heddle/kernel";
import { readTimeout } from "./options.ts";
import type { Ports } from "./ports.ts";
import type { CallOptions } from "./session.ts";

/** Whose time it is. */
interface Client {
  readonly ports: Ports;
  /** Of a call that says nothing else. */
  readonly timeoutMs: number;
}

export class Budget {
  readonly options: CallOptions;
  readonly #ports: Ports;
  readonly #timeoutMs: number;
  readonly #deadline: number;

  constructor({ ports, timeoutMs }: Client, options: CallOptions) {
    options.signal?.throwIfAborted();
    this.options = options;
    this.#ports = ports;
    this.#timeoutMs = readTimeout(options.timeoutMs, timeoutMs);
    this.#deadline = ports.clock.monotonic() + this.#timeoutMs;
  }

  /** Errors: `TIMEOUT`, and the signal's reason. */
  callOptions(): CallOptions {
    const { signal } = this.options;
    signal?.throwIfAborted();
    const leftMs = Math.ceil(this.#deadline - this.#ports.clock.monotonic());
    if (leftMs <= 0) throw this.#timeout();
    return { timeoutMs: leftMs, signal };
  }

  /** Waits for a promise, as long as there is time. Errors: as `callOptions`. */
  wait<T>(promise: Promise<T>): Promise<T> {
    const { signal } = this.options;
    const { clock, timers } = this.#ports;
    const { promise: ended, resolve, reject } = Promise.withResolvers<T>();
    const onAbort = (): void => reject(signal?.reason);
    const cancel = timers.after(Math.max(0, this.#deadline - clock.monotonic()), () => reject(this.#timeout()));
    signal?.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject);
    return ended.finally(() => {
      cancel();
      signal?.removeEventListener("abort", onAbort);
    });
  }

  #timeout(): HeddleError {
    return new HeddleError("TIMEOUT", { afterMs: this.#timeoutMs });
  }

  /** Ends early when the signal is aborted; whoever goes on hears of that from `callOptions`. */
  pause(ms: number): Promise<void> {
    const { signal } = this.options;
    return new Promise((resolve) => {
      const end = (): void => {
        cancel();
        signal?.removeEventListener("abort", end);
        resolve();
      };
      const cancel = this.#ports.timers.after(ms, end);
      signal?.addEventListener("abort", end, { once: true });
    });
  }
}
