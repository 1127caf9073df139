// The bank's reminders: a savings account pays interest at a time that is told beforehand. Savings accounts are never frozen, so
// that nothing but a fault is in the way; and the node's clock jumps.
import type { Heddle } from "@heddle/client";
import type { SimulatedWorld } from "@heddle/testkit/internal";
import type { BankBook } from "./bank-book.ts";
import { type Bank, historyEventOf, pairs } from "./bank-domain.ts";

interface SetReminder {
  readonly entity: string;
  readonly due: number;
  /** Somebody was told that it is set. */
  isSet: boolean;
  /** How often its event is there. */
  found: number;
}

const savings = pairs.flat();

export class BankReminders {
  readonly #world: SimulatedWorld<Bank>;
  readonly #book: BankBook;
  readonly #byMarker = new Map<string, SetReminder>();

  constructor(world: SimulatedWorld<Bank>, book: BankBook) {
    this.#world = world;
    this.#book = book;
  }

  async set(client: Heddle<Bank>, name: string): Promise<void> {
    const entity = savings[this.#world.below(savings.length)]!;
    const { payload } = this.#book.change("Credited", 1);
    const due = this.#world.now() + this.#world.below(3_000);
    const reminder: SetReminder = { entity, due, isSet: false, found: 0 };
    this.#byMarker.set(payload.marker, reminder);
    const event = historyEventOf({ type: "Credited", payload });
    // It may happen at any time from now on; that it does is looked at below.
    this.#book.recorder.send(name, "execute", [{ entity, events: [event] }]);
    await this.#book.trying(name, async () => {
      const options = { aggregate: "Account", id: `set ${payload.marker}` } as const;
      const content = { at: due, command: "Deposit", input: payload } as const;
      await client.entity(entity).remind(`interest ${payload.marker}`, content, options);
      reminder.isSet = true;
    });
  }

  /** Waits until the last of them is due, and a while longer. */
  async wait(): Promise<void> {
    const last = Math.max(0, ...[...this.#byMarker.values()].map(({ due }) => due));
    if (last > 0) await this.#world.sleep(Math.max(0, last - this.#world.now()) + 10_000);
  }

  /** An event that is there. */
  found({ payload, time }: { readonly payload: unknown; readonly time: number }): void {
    const { marker } = payload as { readonly marker: string };
    const reminder = this.#byMarker.get(marker);
    if (reminder === undefined) return;
    reminder.found++;
    const { due } = reminder;
    // One that had left in time and waited, for a hold or its shard, has the time of a clock that was set back meanwhile. Whether it
    // waited or left once more, too early, cannot be told from here: for that see the runner's own specs.
    const mayHaveLeft = this.#world.setBacks().some(({ from, to }) => from >= due && to < due);
    if (time < due && !mayHaveLeft) this.#world.violation(`reminder ${marker} was due at ${due} and came at ${time}`);
  }

  /** Each that was set has come, once. */
  async check(db: Heddle<Bank>): Promise<void> {
    for (const [marker, { entity, isSet, found }] of this.#byMarker) {
      if (found > 1) this.#world.violation(`reminder ${marker} of ${entity} came ${found} times`);
      if (isSet && found === 0) this.#world.violation(`reminder ${marker} of ${entity} was set, and never came`);
    }
    for (const entity of savings) {
      const pending = await db.entity(entity).reminders();
      if (pending.length > 0)
        this.#world.violation(`${pending.length} reminders of ${entity} are due, and still pending`);
    }
  }
}
