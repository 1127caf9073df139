// Table: one of the environment's, and how a value is read from it.
import type { Database } from "lmdb";
import { openValue } from "./value-writer.ts";
import type { VarintReader } from "./varint.ts";

export type Table = Database<Uint8Array, Uint8Array>;

/** Reads one value. It is decoded straight from lmdb's buffer, which the next read overwrites. Its `length` is the value's. */
export function getValue<T>(table: Table, key: Uint8Array, decode: (value: VarintReader) => T): T | undefined {
  const value = table.getBinaryFast(key);
  return value === undefined ? undefined : decode(openValue(key, value, value.length));
}
