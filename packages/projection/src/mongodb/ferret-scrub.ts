// What it takes until no file of FerretDB with SQLite holds a byte of what was deleted (P6).
//
// SQLite leaves deleted documents on free pages, and old pages in its write-ahead log. `compact` with `force` is a VACUUM, which
// writes the file anew. The write-ahead log is emptied into the file by SQLite when it has 1,000 pages, and is begun anew by the
// write behind that: so the database is made large enough for it first. FerretDB has to be started with `journal_size_limit(0)`
// in its FERRETDB_SQLITE_URL: what the log was longer before stays behind otherwise.
import type { MongodbStore } from "./mongodb-store.ts";

const fillerCollection = "heddle_filler";
/** More than 1,000 pages of 4 KiB. */
const fillers = { count: 24, characters: 256 << 10 } as const;
/** A reader may hold the log up the first time. */
const rounds = 2;

export async function scrubFerret(store: MongodbStore): Promise<void> {
  const filler = store.collection(fillerCollection);
  for (let round = 0; round < rounds; round++) {
    const documents = Array.from({ length: fillers.count }, (_, i) => ({
      _id: `filler ${i}`,
      text: "-".repeat(fillers.characters),
    }));
    await filler.insertMany(documents);
    await store.db.command({ compact: fillerCollection, force: true });
    await filler.insertOne({ _id: "last" });
    await store.drop(fillerCollection);
  }
}
