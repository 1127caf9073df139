// SimulatedPort: the two ends of a way between two threads, as a MessagePort is one. Messages keep their order and take their
// time; what a lost thread had sent may still arrive, and only then its end is noticed.
import type { MessagePort } from "node:worker_threads";
import type { SimulatedTime } from "./simulated-time.ts";
import { Way } from "./simulated-time.ts";

export type Packed = Uint8Array<ArrayBuffer>;

/** Stands between two threads: gives back what arrives in place of a message. For planted bugs. */
export type OnTheWay = (from: number, to: number, message: Packed, forward: (message: Packed) => void) => void;

export interface PortPairOptions {
  readonly time: SimulatedTime;
  readonly delayMs: () => number;
  readonly from: number;
  readonly to: number;
  readonly onTheWay: OnTheWay | undefined;
  readonly onSent: (from: number, to: number, message: Packed) => void;
  /** Runs what arrives at a thread; what it throws is that thread's fault. */
  readonly arriveAt: (thread: number, arrive: () => void) => void;
}

export class SimulatedPort {
  readonly #options: PortPairOptions;
  readonly #way: Way;
  #other!: SimulatedPort;
  #onMessage: (message: Packed) => void = () => {};
  /** What came before anybody listened; the end of the other thread may be behind it. */
  #held: Packed[] | undefined = [];
  #endIsHeld = false;
  #onClose: () => void = () => {};
  #isClosed = false;
  /** The thread at this end is gone: whatever still arrives is for nobody, even if another has taken its place. */
  #isDead = false;

  private constructor(options: PortPairOptions) {
    this.#options = options;
    this.#way = new Way(options.time, options.delayMs);
  }

  /** The end of thread `from`, then the end of thread `to`. */
  static pair(options: PortPairOptions): [SimulatedPort, SimulatedPort] {
    const one = new SimulatedPort(options);
    const other = new SimulatedPort({ ...options, from: options.to, to: options.from });
    one.#other = other;
    other.#other = one;
    return [one, other];
  }

  on(event: "message" | "close", handler: (message: Packed) => void): void {
    if (event === "close") {
      this.#onClose = handler as () => void;
      return;
    }
    this.#onMessage = handler;
    const { time, delayMs, from, arriveAt } = this.#options;
    new Way(time, delayMs).send(() => {
      const held = this.#held ?? [];
      this.#held = undefined;
      if (this.#isDead) return;
      for (const message of held) arriveAt(from, () => this.#onMessage(message));
      if (this.#endIsHeld) arriveAt(from, () => this.#onClose());
    });
  }

  #arrive(message: Packed): void {
    if (this.#held === undefined) this.#onMessage(message);
    else this.#held.push(message);
  }

  #end(): void {
    if (this.#held === undefined || this.#held.length === 0) this.#onClose();
    else this.#endIsHeld = true;
  }

  postMessage(message: Packed): void {
    const { from, to, onTheWay, onSent, arriveAt } = this.#options;
    onSent(from, to, message);
    const forward = (bytes: Packed) =>
      this.#way.send(() => {
        if (!this.#isClosed && !this.#other.#isDead) arriveAt(to, () => this.#other.#arrive(bytes));
      });
    if (onTheWay === undefined) forward(message);
    else onTheWay(from, to, message, forward);
  }

  close(): void {
    this.die(false);
  }

  /** The thread at this end is gone. The other end hears of it, behind what was sent if that still arrives. */
  die(loses: boolean): void {
    this.#isDead = true;
    if (loses) this.#way.cut();
    const { time, delayMs, to, arriveAt } = this.#options;
    const notice = loses ? new Way(time, delayMs) : this.#way;
    notice.send(() => {
      if (this.#isClosed) return;
      this.#isClosed = true;
      this.#other.#isClosed = true;
      if (!this.#other.#isDead) arriveAt(to, () => this.#other.#end());
    });
  }

  /** This end as the code of a thread takes it. */
  get asMessagePort(): MessagePort {
    return this as unknown as MessagePort;
  }
}
