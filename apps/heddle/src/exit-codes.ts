// What the exit code of every command means. docs/reference/cli.md holds the same table.

export const exitCodes = {
  /** Done. */
  ok: 0,
  /** The answer is no: a rejection, a refused line, an audit or doctor that found faults. */
  no: 1,
  /** The command line makes no sense. Nothing was done. */
  usage: 2,
  /** It could not be done: no connection, no such folder, a full disk, … */
  failed: 3,
  /** Of `rehearse`: nothing is broken, but states would be other ones. */
  differs: 4,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];
