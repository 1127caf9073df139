// The code of docs/how-to/subscribe-to-events.md; subscribe-how-to.e2e.spec.ts runs it.
import type { Heddle } from "@heddle/client";
import type bank from "../../apps/examples/bank/index.ts";

type Db = Heddle<typeof bank>;

// #region entity
/** Tells of every movement of an account, old and new, until the account is empty. */
export async function followAccount(db: Db, id: string, say: (line: string) => void): Promise<void> {
  let balance = 0;
  for await (const { type, payload, seq } of db.entity(id).subscribe("Account")) {
    balance += type === "Credited" ? payload.amount : -payload.amount;
    say(`${seq}: ${type} ${payload.amount}, ${balance} left`);
    if (balance === 0) break; // Leaving the loop ends the subscription.
  }
}
// #endregion entity

// #region resume
/** Goes on where it was, also after the program was started again. `done` remembers the last sequence that was dealt with. */
export async function mailStatements(
  db: Db,
  id: string,
  mail: (line: string) => Promise<void>,
  done: { load(): Promise<number>; save(seq: number): Promise<void> },
  signal: AbortSignal,
): Promise<void> {
  const from = (await done.load()) + 1;
  for await (const { type, payload, seq } of db.entity(id).subscribe("Account", { from, signal })) {
    await mail(`${type} ${payload.amount}`); // The next event is asked for when this one is dealt with.
    await done.save(seq);
  }
}
// #endregion resume

// #region all
/** Adds up what goes in and out of all accounts. `place` remembers the cursor of the last event. */
export async function countTurnover(
  db: Db,
  add: (amount: number) => void,
  place: { load(): Promise<string | undefined>; save(cursor: string): Promise<void> },
  signal: AbortSignal,
): Promise<void> {
  const from = (await place.load()) ?? "beginning";
  for await (const event of db.subscribe({ kind: "account", types: ["Credited", "Debited"], from, signal })) {
    add(event.payload.amount);
    await place.save(event.cursor);
  }
}
// #endregion all
