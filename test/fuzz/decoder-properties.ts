// What has to hold of every decoder, whatever the bytes are: P7, a value or a typed error; and it reads nothing beside
// the bytes that it was given. A hang shows as the test's time-out.
import { isDeepStrictEqual } from "node:util";
import { HeddleError } from "@heddle/kernel";
import fc from "fast-check";
import type { Decoder } from "./decoders.ts";

/** Any bytes, or a sample that was damaged: changed at places, cut, continued. */
export function damaged(decoder: Decoder): fc.Arbitrary<Uint8Array> {
  const edits = fc.array(fc.tuple(fc.nat(600), fc.integer({ min: 0, max: 255 })), { maxLength: 6 });
  const sample = fc
    .tuple(fc.nat(decoder.samples.length - 1), edits, fc.nat(1_200), fc.uint8Array({ maxLength: 8 }))
    .map(([index, edits, cut, tail]) => {
      const whole = decoder.samples[index]!;
      const kept = cut < 600 ? whole.subarray(0, cut % (whole.length + 1)) : whole;
      const bytes = new Uint8Array(kept.length + tail.length);
      bytes.set(kept);
      bytes.set(tail, kept.length);
      for (const [at, byte] of edits) if (bytes.length > 0) bytes[at % bytes.length] = byte;
      return bytes;
    });
  return fc.oneof({ weight: 3, arbitrary: sample }, { weight: 1, arbitrary: fc.uint8Array({ maxLength: 64 }) });
}

/** Throws unless the decoder treats these bytes as it should. */
export function checkDecoder(decoder: Decoder, bytes: Uint8Array): void {
  // Sockets give Buffers, browsers byte arrays; decoding text takes other roads for each.
  for (const allocate of [(length: number) => new Uint8Array(length), (length: number) => Buffer.alloc(length)]) {
    const among0 = outcomeOf(decoder, bytes, allocate, 0x00);
    const among1 = outcomeOf(decoder, bytes, allocate, 0xff);
    if (!isDeepStrictEqual(among0, among1)) throw new Error(`${decoder.name} looked beside its bytes`);
  }
}

type Outcome = { readonly value: unknown } | { readonly error: string };

function outcomeOf(
  decoder: Decoder,
  bytes: Uint8Array,
  allocate: (length: number) => Uint8Array,
  surroundings: number,
): Outcome {
  const around = 16;
  const room = allocate(bytes.length + 2 * around).fill(surroundings);
  room.set(bytes, around);
  try {
    return { value: decoder.decode(room, around, around + bytes.length) };
  } catch (error) {
    if (!(error instanceof HeddleError)) {
      throw new Error(`${decoder.name} threw something else than a HeddleError`, { cause: error });
    }
    return { error: error.message };
  }
}
