// ReadRows: rows as SQL gives them to users, by the projection's types again.
import type { CompiledProjection, Row } from "@heddle/domain/internal";
import { fromSql } from "../sql-values.ts";

export function valueOfRow(projection: CompiledProjection, found: Readonly<Record<string, unknown>>): Row {
  const types = new Map(projection.columns.map(({ name, type }) => [name, type]));
  return Object.fromEntries(Object.entries(found).map(([name, value]) => [name, fromSql(types.get(name)!, value)]));
}
