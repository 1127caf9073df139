// Reads back what was just written, over and over: one client writes, another asks a projection with the receipt.
import { committed, type Heddle } from "@heddle/client";

export interface Pairs {
  readonly entities: number;
  /** Writes to each, one after the other. */
  readonly rounds: number;
}

/** How many answers did not show the write whose receipt the query was given. Of the context of booked-bank.ts. */
export async function staleReads(writer: Heddle, reader: Heddle, { entities, rounds }: Pairs): Promise<number> {
  const sql = "select balance, movements from accounts where account = ?";
  let stale = 0;
  const pairsOf = async (entity: string) => {
    const options = { aggregate: "Account" };
    for (let balance = 1; balance <= rounds; balance++) {
      const after = committed(await writer.entity(entity).append("Credited", { amount: 1 }, options));
      const { rows } = await reader.query(sql, [entity], { after, timeoutMs: 60_000 });
      if (rows[0]?.["balance"] !== balance || rows[0]["movements"] !== balance) stale++;
    }
  };
  await Promise.all(Array.from({ length: entities }, (_, i) => pairsOf(`account/${i}`)));
  return stale;
}
