// What child.ts is told to do, and what it tells.

export type ChildTask =
  /** Commits sequences 1 to 5 of every entity, then writes 6 to 10 and kills itself at a named point of the commit. */
  | { readonly kind: "die-at"; readonly folder: string; readonly entities: number; readonly point: string }
  /** The same, but stops for good after putting (in many turns) or in the midst of the commit, and waits to be killed. */
  | { readonly kind: "hang"; readonly folder: string; readonly entities: number; readonly commits: boolean }
  /** Puts lives, erases some and scrubs, and kills itself when it comes to a named point for so many times. */
  | { readonly kind: "die-erasing"; readonly folder: string; readonly entities: number; readonly at: CrashPlace }
  /** Holds a read transaction until it is told to let go, and says whether what it sees in it stays the same. */
  | { readonly kind: "hold-state"; readonly folder: string }
  /** Kills itself at a named point while the environment is being made. */
  | { readonly kind: "die-while-making"; readonly folder: string; readonly point: string }
  /** Grows ten entities by one event per checkpoint until it is told to stop. */
  | { readonly kind: "write-on"; readonly folder: string }
  /** Grows one entity's snapshot until the disk refuses, and tells what it finds then. */
  | { readonly kind: "fill"; readonly folder: string };

export interface CrashPlace {
  readonly point: string;
  readonly times: number;
}

export interface ChildMessage {
  readonly word: string;
  readonly facts?: Record<string, unknown>;
}
