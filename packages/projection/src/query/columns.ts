// The columns of an answer.
import { queryRefused } from "./read-sql.ts";

/** Rows become objects: two columns of one name would become one. Errors: `QUERY_REFUSED`. */
export function checkColumns(columns: readonly string[]): void {
  const twice = columns.find((name, i) => columns.indexOf(name) !== i);
  if (twice !== undefined) throw queryRefused(`two columns are called ${twice}; name them apart with AS`);
}
