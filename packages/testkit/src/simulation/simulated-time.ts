// SimulatedTime: one queue of everything that is still to happen, and the clock that goes from one to the next.
//
// T1. Events happen one at a time, by their time, and those of one time in the order in which they were asked for.
// T2. All that promises lead to is done before the next event: it belongs to the event that began it.
// Not owned: what an event means, and who is alive to take part in it.

interface Event {
  /** Microseconds since the beginning. */
  readonly at: number;
  readonly order: number;
  /** Undefined once it was called off. */
  run: (() => void) | undefined;
}

export class SimulatedTime {
  #nowUs = 0;
  #orders = 0;
  #happened = 0;
  /** A binary heap: the next event is the first. */
  readonly #heap: Event[] = [];

  /** Milliseconds since the beginning, with fractions. */
  get nowMs(): number {
    return this.#nowUs / 1_000;
  }

  get nowUs(): number {
    return this.#nowUs;
  }

  /** Events so far. */
  get happened(): number {
    return this.#happened;
  }

  /** Lets something happen after so many milliseconds; the returned function calls it off. */
  after(delayMs: number, run: () => void): () => void {
    const event: Event = { at: this.#nowUs + Math.max(0, Math.round(delayMs * 1_000)), order: this.#orders++, run };
    this.#push(event);
    return () => {
      event.run = undefined;
    };
  }

  /** Lets time go by until something holds, or nothing is left to happen. What an event throws goes to `onFault`. */
  async runUntil(isOver: () => boolean, onFault: (error: unknown) => void): Promise<void> {
    await turn();
    while (!isOver()) {
      const event = this.#pop();
      if (event === undefined) return;
      if (event.run === undefined) continue;
      this.#nowUs = event.at;
      this.#happened++;
      try {
        event.run();
      } catch (error) {
        onFault(error);
      }
      await turn();
    }
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!isBefore(event, heap[above]!)) break;
      heap[at] = heap[above]!;
      at = above;
    }
    heap[at] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && isBefore(heap[below + 1]!, heap[below]!)) below++;
      if (!isBefore(heap[below]!, last)) break;
      heap[at] = heap[below]!;
      at = below;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** A real turn of the event loop: every microtask, however many follow from it, has run when it comes. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Messages that arrive in the order in which they were sent, each after a delay of its own. */
export class Way {
  readonly #time: SimulatedTime;
  readonly #delayMs: () => number;
  #lastAtUs = 0;
  #isCut = false;

  constructor(time: SimulatedTime, delayMs: () => number) {
    this.#time = time;
    this.#delayMs = delayMs;
  }

  send(arrive: () => void): void {
    const { nowUs } = this.#time;
    // Whole microseconds: rounding must not let a later message pass an earlier one.
    this.#lastAtUs = Math.max(nowUs + Math.round(this.#delayMs() * 1_000), this.#lastAtUs);
    this.#time.after((this.#lastAtUs - nowUs) / 1_000, () => {
      if (!this.#isCut) arrive();
    });
  }

  /** What is on its way never arrives. */
  cut(): void {
    this.#isCut = true;
  }
}
