// From JSON bodies to the fields of transactions and of reads of several entities. Pure; as in request-checks.ts (P7).
import { limits } from "@heddle/kernel";
import type { TransactFields, TransactOperation, TransactRead } from "@heddle/protocol/internal";
import {
  asObject,
  join,
  kindOfValue,
  readFlag,
  readId,
  readSeq,
  readStorable,
  readText,
  refusal,
  unknownField,
} from "./check-values.ts";
import { contentFields, readContentOf } from "./content-checks.ts";
import { readEntityAt } from "./request-checks.ts";

export interface TransactRequest extends TransactFields {
  readonly operations: readonly TransactOperation[];
}

/**
 * `{ operations, id? }`. An operation names its `entity`, perhaps its `aggregate` and an `expectedSeq`, and one of: `type` and
 * `payload`; `events`; `command` and `input`; `read: true`.
 */
export function readTransact(body: unknown, idempotencyKey?: string): TransactRequest {
  const object = asObject(body, "");
  let id = idempotencyKey;
  for (const key in object) {
    if (key === "id") id = readId(object[key], -1, idempotencyKey);
    else if (key !== "operations") throw unknownField(key, -1, "operations, id");
  }
  const operations = readList(object["operations"], "operations", "operation").map(readOperation);
  return { operations, id };
}

/** `{ items: [{ entity, aggregate? }] }`. */
export function readReadMany(body: unknown): readonly (TransactRead & { readonly kind: "read" })[] {
  const object = asObject(body, "");
  for (const key in object) if (key !== "items") throw unknownField(key, -1, "items");
  return readList(object["items"], "items", "entity").map((item, i) => {
    const path = `items.${i}`;
    const fields = asObject(item, path);
    for (const key in fields) {
      if (key !== "entity" && key !== "aggregate") throw refusal(join(path, key), "unknown; known: entity, aggregate");
    }
    return {
      kind: "read",
      entity: readEntityOf(fields, path),
      aggregate: readAggregate(fields, path),
      wantsState: true,
    };
  });
}

function readList(value: unknown, path: string, of: string): readonly unknown[] {
  if (!Array.isArray(value)) throw refusal(path, `wanted an array, found ${kindOfValue(value)}`);
  if (value.length === 0) throw refusal(path, `wanted at least one ${of}, found none`);
  if (value.length <= limits.transactionOperationsMax) return value;
  throw refusal(path, `${value.length} in one call, at most ${limits.transactionOperationsMax} are allowed`);
}

const writeFieldNames: ReadonlySet<string> = new Set(["entity", "aggregate", "expectedSeq", "metadata", "newLife"]);
const readFieldNames: ReadonlySet<string> = new Set(["entity", "aggregate", "expectedSeq", "read"]);
const allFieldNames = [...new Set([...writeFieldNames, ...readFieldNames, ...contentFields])].join(", ");

function readOperation(value: unknown, index: number): TransactOperation {
  const path = `operations.${index}`;
  const object = asObject(value, path);
  const isRead = object["read"] !== undefined;
  for (const key in object) {
    if (key === "id") throw refusal(join(path, key), "an operation has none of its own; the transaction has one");
    const fits = isRead ? readFieldNames.has(key) : writeFieldNames.has(key) || contentFields.has(key);
    if (fits) continue;
    const isKnown = readFieldNames.has(key) || writeFieldNames.has(key) || contentFields.has(key);
    throw refusal(join(path, key), isKnown ? "a read writes nothing" : `unknown; known: ${allFieldNames}`);
  }
  const entity = readEntityOf(object, path);
  const aggregate = readAggregate(object, path);
  const { expectedSeq: seq, metadata, newLife } = object;
  const expectedSeq = seq === undefined ? undefined : readSeq(seq, -1, join(path, "expectedSeq"));
  if (isRead) {
    if (object["read"] !== true) throw refusal(join(path, "read"), "wanted true; leave it out for a write");
    return { kind: "read", entity, aggregate, expectedSeq, wantsState: true };
  }
  const content = readContentOf(object, path);
  const options = {
    expectedSeq,
    metadata: metadata === undefined ? undefined : readStorable(metadata, -1, join(path, "metadata")),
    newLife: newLife === undefined ? undefined : readFlag(newLife, -1, join(path, "newLife")),
  };
  if ("command" in content) return { kind: "execute", entity, aggregate, ...content, ...options };
  return { kind: "append", entity, aggregate, ...content, ...options };
}

function readEntityOf(object: Record<string, unknown>, path: string): string {
  const { entity } = object;
  if (entity === undefined) throw refusal(join(path, "entity"), "missing; wanted kind/name");
  return readEntityAt(entity, join(path, "entity"));
}

function readAggregate({ aggregate }: Record<string, unknown>, path: string): string {
  return aggregate === undefined ? "" : readText(aggregate, -1, join(path, "aggregate"), limits.nameBytesMax);
}
