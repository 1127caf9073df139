// The code of docs/how-to/work-through-events-together.md; groups.e2e.spec.ts runs it.
import { committed, type Heddle } from "@heddle/client";
import type bank from "../../apps/examples/bank/index.ts";

type Db = Heddle<typeof bank>;

// #region worker
/** Bills what goes out of accounts, together with everybody who does the same. */
export async function billMovements(
  db: Db,
  bill: (account: string, amount: number, key: string) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const members = db.subscribe({ group: "billing", kind: "account", types: ["Debited"], signal });
  for await (const { entity, seq, payload } of members) {
    // An event may come twice: the key tells that it is the same.
    await bill(entity, payload.amount, `${entity}:${seq}`);
  } // Asking for the next event says that this one is dealt with.
}
// #endregion worker

// #region once
/** Collects a fee for every debit, once, whatever happens: the append's id makes its repetition harmless. */
export async function collectFees(db: Db, signal: AbortSignal): Promise<void> {
  const members = db.subscribe({ group: "fees", kind: "account", types: ["Debited"], signal });
  for await (const { entity, seq } of members) {
    committed(await db.entity("fees/all").append("Credited", { amount: 1 }, { id: `${entity}:${seq}` }));
  }
}
// #endregion once
