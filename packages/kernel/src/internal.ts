// For sibling packages and tests.

export { crc32, crc32Polynomial } from "./crc32.ts";
export { aTransaction, fromWireError, ofOperation, operationOf, toWireError, type WireError } from "./errors.ts";
export { shardOfHash } from "./hash.ts";
export { HashSlots } from "./hash-slots.ts";
export { isKind, utf8Length } from "./ids.ts";
export * from "./index.ts";
export { InvariantViolation, invariant } from "./invariant.ts";
export { finalised, secretHash, secretSeed } from "./secret-hash.ts";
export { type ReadonlyTurnoverMap, TurnoverMap } from "./turnover-map.ts";
