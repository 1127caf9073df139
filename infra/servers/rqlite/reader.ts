// reader: runs the queries of a stand-in in a process of their own, which can be ended in the middle of a query.
import { DatabaseSync } from "node:sqlite";
import { query, type Shape, type Statement } from "./statements.ts";

export interface ReadJob {
  readonly statements: readonly Statement[];
  readonly shape: Shape;
}

/** The results as JSON text. */
export type ReadDone = string;

const database = new DatabaseSync(process.argv[2]!, { readOnly: true, timeout: 5_000 });
process.on("message", ({ statements, shape }: ReadJob) => {
  process.send!(JSON.stringify(query(database, statements, shape)) satisfies ReadDone);
});
process.once("disconnect", () => process.exit(0));
