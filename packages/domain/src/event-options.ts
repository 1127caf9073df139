// The type of an event's options: which upcasters there must be, and what the last one gives.
//
// Only the compiler sees this. What a module in plain JavaScript says is checked by upcasters.ts.
// Not promised: that each step gives what the next one takes.

/**
 * What `event` takes besides schema and fold. TypeScript reads `version` first; it does not look into the steps
 * before it knows how many there have to be.
 */
export type EventOptions<TVersion extends number, TPayload> = { readonly version?: TVersion } & NoInfer<
  TVersion extends 1
    ? { readonly upcast?: { readonly [from: number]: never } }
    : { readonly upcast: Upcasts<OlderVersions<TVersion>, TPayload> }
>;

/**
 * Upcasters by the version that they start from: `{ 1: (v1) => v2, 2: (v2) => v3 }` for version 3. Their arguments are
 * what their author says was stored, because nobody else knows; only what the last one gives is held against the schema.
 */
type Upcasts<TOlder extends readonly number[], TPayload> = number extends TOlder["length"]
  ? { readonly [from: number]: (payload: never) => unknown }
  : { readonly [V in TOlder[number]]: (payload: never) => V extends TOlder["length"] ? Widened<TPayload> : unknown };

/** `[1, 2]` for 3. From 100 on the steps are not told apart at compile time, only when the module is loaded. */
type OlderVersions<TVersion extends number, TOlder extends readonly number[] = []> = number extends TVersion
  ? readonly number[]
  : [...TOlder, 0]["length"] extends TVersion
    ? TOlder
    : TOlder["length"] extends 100
      ? readonly number[]
      : OlderVersions<TVersion, [...TOlder, [...TOlder, 0]["length"] & number]>;

/**
 * A type with words and numbers in place of particular ones, and lists in place of tuples. A function whose parameters
 * are annotated is read without its context, so that TypeScript takes the `"EUR"` in what it returns for any string.
 */
type Widened<T> = T extends string
  ? string
  : T extends number
    ? number
    : T extends boolean
      ? boolean
      : T extends readonly (infer TItem)[]
        ? readonly Widened<TItem>[]
        : T extends (...args: never[]) => unknown
          ? T
          : T extends object
            ? { readonly [K in keyof T]: Widened<T[K]> }
            : T;
