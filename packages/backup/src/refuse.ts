// Refuse: why a backup is not used, as the error that says so (P7).
import { HeddleError } from "@heddle/kernel";

export function refused(folder: string, problem: string, cause?: unknown): HeddleError<"BACKUP_REFUSED"> {
  return new HeddleError("BACKUP_REFUSED", { folder, problem }, cause === undefined ? {} : { cause });
}

/** Runs what touches the backup's files: what the system says (no room, no right, no file) becomes a refusal. */
export function inBackup<T>(folder: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (isSystemError(cause)) throw refused(folder, cause.message, cause);
    throw cause;
  }
}

/** What the system or SQLite says, as opposed to what this program has thrown or done wrong. */
export function isSystemError(thrown: unknown): thrown is NodeJS.ErrnoException {
  if (!(thrown instanceof Error)) return false;
  const { syscall, code } = thrown as NodeJS.ErrnoException;
  return typeof syscall === "string" || code === "ERR_SQLITE_ERROR";
}
