// erasure-check: proving later, from the files alone, that an erased entity is gone (P6).

export { type ErasureCheck, erasureChecks, type Leftover } from "./checks.ts";
export { readReceipt } from "./receipt.ts";
export { type ErasureProof, type VerifyErasureOptions, verifyErasure } from "./verify-erasure.ts";
