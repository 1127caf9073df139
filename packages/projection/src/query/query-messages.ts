// What a thread and its query process say to each other.
import type { WireError } from "@heddle/kernel/internal";
import type { BoundValues } from "./query-parameters.ts";

/** Given to the process when it is started: JSON, its only argument. */
export interface QueryProcessStart {
  /** The database file. */
  readonly file: string;
  /** Who started it: without it there is nobody to answer. */
  readonly parent: number;
  /** Resident memory at which it ends itself. */
  readonly memoryBytesMax: number;
}

export interface QueryJob {
  readonly id: number;
  readonly sql: string;
  readonly values: BoundValues;
  readonly rowsMax: number;
  /** Of the answer. */
  readonly bytesMax: number;
  /** So long it may run. Whoever asks ends the process then; it ends itself a little later, when there is nobody left to do so. */
  readonly runMs: number;
}

/** Shared by a process and its watch. */
export interface QueryWatchShared {
  /** 1 while a query runs. */
  readonly running: Int32Array;
  /** On the clock of `process.hrtime.bigint()`. */
  readonly deadline: BigInt64Array;
}

export type QueryAnswer =
  | {
      readonly id: number;
      /** Tables and views that were read, in small letters. */
      readonly tables: readonly string[];
      /** msgpack of [column names, rows as arrays]. */
      readonly rows: Uint8Array;
    }
  | { readonly id: number; readonly error: WireError };

/** The signal with which a process ends itself when it takes too much memory: nothing else sends it. */
export const memorySignal = "SIGUSR2";
