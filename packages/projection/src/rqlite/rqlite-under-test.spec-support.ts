// An empty rqlite for the next test.
import { RqliteClient } from "./rqlite-client.ts";

export async function dropAll(url: string): Promise<void> {
  const client = new RqliteClient({ url });
  const [found] = await client.read([["SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'view')"]]);
  const drops = found!.map(([type, name]): [string] => [`DROP ${type} IF EXISTS "${name}"`]);
  if (drops.length > 0) await client.transaction(drops.sort());
}
