// ClockWatch: tells when the wall clock was set. Reminders follow it wherever it goes: set forward, it makes them due at once,
// and what was in between counts as missed; set back, it makes them late by as much.
import type { Clock } from "@heddle/kernel";

/** Less is what a clock is corrected by all the time. */
const jumpMsMin = 5_000;

export class ClockWatch {
  readonly #clock: Clock;
  readonly #report: (level: "warn", message: string, facts: Record<string, unknown>) => void;
  #offset: number;

  constructor(clock: Clock, report: (level: "warn", message: string, facts: Record<string, unknown>) => void) {
    this.#clock = clock;
    this.#report = report;
    this.#offset = clock.now() - clock.monotonic();
  }

  /** To be called every now and then. */
  tick(): void {
    const offset = this.#clock.now() - this.#clock.monotonic();
    const jumpMs = Math.round(offset - this.#offset);
    // Small corrections are followed, so that they never add up to a jump.
    this.#offset = offset;
    if (Math.abs(jumpMs) < jumpMsMin) return;
    const message =
      jumpMs > 0
        ? "the wall clock was set forward: reminders in between are due at once"
        : "the wall clock was set back: reminders wait until it has caught up";
    this.#report("warn", message, { jumpMs });
  }
}
