// How a program of a user reads a projection in MongoDB: docs/how-to/project-into-rqlite-and-mongodb.md shows it.
// #region read
import { MongoClient } from "mongodb";

/** What `accounts` has for each row: its columns, and `_id`, the key. */
interface AccountDocument {
  _id: string;
  account: string;
  balance: number;
  movements: number;
}

export async function richest(url: string, least: number, count: number): Promise<AccountDocument[]> {
  const client = new MongoClient(url);
  try {
    const accounts = client.db().collection<AccountDocument>("accounts");
    return await accounts
      .find({ balance: { $gte: least } })
      .sort({ balance: -1 })
      .limit(count)
      .toArray();
  } finally {
    await client.close();
  }
}
// #endregion read
