// backup: copies of a data folder that forget with it.
//
// Owns the folder of a backup, the key store, and the way from a data folder into one and back. A backup has the log of
// every shard up to a position, payloads encrypted with a key for each entity; the keys are in the key store only.
// Promises P6 (what is erased cannot be read from any backup), P2 and P5 (what a run holds was durable; a run or restore
// that is cut off leaves nothing that looks whole), P7 (what cannot be used is refused with the reason).
// Not promised: anything once the key store is lost, or kept in copies: see docs/how-to/back-up-and-restore.md.

// Making one
export {
  type BackUpOptions,
  type BackUpResult,
  type BackupProgress,
  backUp,
} from "./back-up.ts";
// Looking at one
export { readBackup } from "./backup-folder.ts";
// Keys
export { boundIdOf, openKeysOf } from "./bound-keys.ts";
// Taking one out
export type { Until } from "./cut.ts";
export { type EntityEventsOptions, entityEvents } from "./entity-events.ts";
export { KeyStore } from "./key-store.ts";
export type { Life } from "./life.ts";
export type { Manifest } from "./manifest.ts";
export { type RestoreOptions, type RestoreResult, restoreBackup } from "./restore.ts";
export { type VerifyOptions, type VerifyResult, verifyBackup } from "./verify.ts";
