// Alarm: the one timer of a session. Whoever has something that falls due says by when it must be looked at; everything
// is looked at when it rings, and whatever is still to come says so again. A timer for each call would cost more than
// the call.
import type { Ports } from "./ports.ts";

/** The alarm is not set closer than this, so that many calls that fall due share one. */
const stepMs = 5;

export class Alarm {
  readonly #ports: Ports;
  readonly #ring: () => void;
  #at = Infinity;
  #cancel: (() => void) | undefined;
  /** The monotonic clock as last read: once for all calls of a turn, and once for all replies that came together. */
  now: number;

  constructor(ports: Ports, ring: () => void) {
    this.#ports = ports;
    this.#ring = ring;
    this.now = ports.clock.monotonic();
  }

  readClock(): void {
    this.now = this.#ports.clock.monotonic();
  }

  wakeBy(at: number): void {
    if (at >= this.#at) return;
    this.#cancel?.();
    this.#at = at;
    this.#cancel = this.#ports.timers.after(Math.max(stepMs, at - this.now), () => {
      this.#at = Infinity;
      this.#cancel = undefined;
      this.readClock();
      this.#ring();
    });
  }

  /** No timer is left that would keep the process alive. */
  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#at = Infinity;
  }
}
