// Fingerprint: tells whether a repeated transaction brings the same content.
//
// Of what the operations write, in their order. Left out are reads, and the sequences that writes expect: whoever runs the
// same function again, because the outcome of the first run was lost, has read newer sequences by then.
import { crc32 } from "@heddle/event-log/internal";
import { appendFlags, type OperationRange, readU16, requestKind } from "@heddle/protocol/internal";

const scratch = new Uint8Array(2);

export function fingerprintOfOperations(bytes: Uint8Array, operations: readonly OperationRange[]): number {
  let crc = 0;
  for (const { kind, from, to } of operations) {
    if (kind === requestKind.get) continue;
    const nameAt = from + 2 + readU16(bytes, from);
    const flagsAt = nameAt + 1 + bytes[nameAt]!;
    const flags = bytes[flagsAt]!;
    scratch[0] = kind;
    scratch[1] = flags & ~appendFlags.expectedSeq;
    crc = crc32(scratch, 0, 2, crc);
    crc = crc32(bytes, from, flagsAt, crc);
    crc = crc32(bytes, flagsAt + 1 + ((flags & appendFlags.expectedSeq) === 0 ? 0 : 6), to, crc);
  }
  return crc;
}
