// Goal: bad bytes hurt no decoder (P7), over more inputs than a run of `npm test` has time for. `npm run test:fuzz`.
// FUZZ_INPUTS sets the inputs for each decoder, FUZZ_SEED repeats a run; both are printed when a run fails.
import fc from "fast-check";
import { describe, it } from "vitest";
import { checkDecoder, damaged } from "./decoder-properties.ts";
import { decoders } from "./decoders.ts";

const inputs = Number(process.env["FUZZ_INPUTS"] ?? 1_000_000);
const seed = Number(process.env["FUZZ_SEED"] ?? Date.now() % 2 ** 31);

describe.for(decoders)("$name", (decoder) => {
  it(`P7 gives a value or a typed error for ${inputs} inputs`, () => {
    fc.assert(
      fc.property(damaged(decoder), (bytes) => checkDecoder(decoder, bytes)),
      { numRuns: inputs, seed },
    );
  });
});
