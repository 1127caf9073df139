// The code of docs/how-to/query-your-data.md that asks; query-how-to.e2e.spec.ts runs it.
import { committed, type Heddle } from "@heddle/client";
import type bank from "./booked-bank.ts";

type Db = Heddle<typeof bank>;

// #region ask
/** The richest accounts, for a page of a web site. */
export async function richest(db: Db, least: number, count: number): Promise<{ account: string; balance: number }[]> {
  const { rows } = await db.query<{ account: string; balance: number }>(
    "select account, balance from accounts where balance >= :least order by balance desc, account limit :count",
    { least, count },
    { rowsMax: 100, timeoutMs: 1_000 },
  );
  return [...rows];
}
// #endregion ask

// #region after
/** Pays in, and answers with what the list says then. */
export async function payIn(db: Db, id: string, amount: number): Promise<number> {
  const receipt = committed(await db.entity(id).append("Credited", { amount }, { aggregate: "Account" }));
  const sql = "select balance from accounts where account = ?";
  const { rows } = await db.query<{ balance: number }>(sql, [id], { after: receipt });
  return rows[0]!.balance;
}
// #endregion after
