// StateDifferences: where two states are not the same, field by field.
//
// Both are plain data as it comes out of a snapshot: objects, lists, text, numbers, dates and bytes.
import { toSayable } from "./sayable-value.ts";

export interface FieldDifference {
  /** Fields and list places from the state down, such as `lines[2].price`; empty for the whole state. */
  readonly path: string;
  /** As JSON, shortened where it is long; left out where there is nothing. */
  readonly present?: string;
  readonly next?: string;
}

export interface StateDifference {
  /** The first of them, in the order of the fields. */
  readonly fields: readonly FieldDifference[];
  readonly fieldTotal: number;
}

/** Undefined for states that are the same. The order of an object's fields does not count. */
export function differencesOf(present: unknown, next: unknown, fieldsMax: number): StateDifference | undefined {
  const walk = new Walk(fieldsMax);
  walk.compare("", present, next);
  return walk.total === 0 ? undefined : { fields: walk.fields, fieldTotal: walk.total };
}

class Walk {
  readonly fields: FieldDifference[] = [];
  readonly #fieldsMax: number;
  total = 0;

  constructor(fieldsMax: number) {
    this.#fieldsMax = fieldsMax;
  }

  compare(path: string, present: unknown, next: unknown): void {
    if (Object.is(present, next)) return;
    if (Array.isArray(present) && Array.isArray(next)) {
      for (let i = 0; i < Math.max(present.length, next.length); i++) {
        this.#compareMember(`${path}[${i}]`, present, next, i);
      }
    } else if (isRecord(present) && isRecord(next)) {
      for (const key of new Set([...Object.keys(present), ...Object.keys(next)])) {
        this.#compareMember(memberPath(path, key), present, next, key);
      }
    } else if (!isSameLeaf(present, next)) this.#add({ path, present: toSayable(present), next: toSayable(next) });
  }

  #compareMember(path: string, present: object, next: object, key: string | number): void {
    const has = { present: Object.hasOwn(present, key), next: Object.hasOwn(next, key) };
    const before = (present as Readonly<Record<string, unknown>>)[key];
    const after = (next as Readonly<Record<string, unknown>>)[key];
    if (has.present && has.next) this.compare(path, before, after);
    else if (has.present) this.#add({ path, present: toSayable(before) });
    else this.#add({ path, next: toSayable(after) });
  }

  #add(field: FieldDifference): void {
    this.total++;
    if (this.fields.length < this.#fieldsMax) this.fields.push(field);
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function isSameLeaf(a: unknown, b: unknown): boolean {
  if (a instanceof Date && b instanceof Date) return Object.is(a.getTime(), b.getTime());
  return a instanceof Uint8Array && b instanceof Uint8Array && Buffer.compare(a, b) === 0;
}

function memberPath(path: string, key: string): string {
  if (!/^[A-Za-z_$][\w$]*$/.test(key)) return `${path}[${JSON.stringify(key)}]`;
  return path === "" ? key : `${path}.${key}`;
}
