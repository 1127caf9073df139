// ValueWriter: writes what stands under a key; openValue: checks it. The last four bytes are a checksum over key and value.
//
// What the values are: values.ts.
import { invariant } from "@heddle/kernel/internal";
import { checksumOf } from "./checksum.ts";
import { MalformedValue, VarintReader, writeSignedVarint, writeVarint } from "./varint.ts";

const checksumBytes = 4;

/** What values are written into, one behind the other. */
export const arenaBytes = 256 * 1024;

const noArena = new Uint8Array();

/**
 * Writes values one after the other into arenas. Finished values stay as they are, as LMDB needs: it reads them on
 * another thread later. Many values in one buffer, because LMDB asks for the address of every new one (1 µs).
 */
export class ValueWriter {
  readonly #nextArena: (bytes: number) => Uint8Array;
  #arena: Uint8Array = noArena;
  #start = 0;
  #at = 0;

  /** `nextArena` gives at least so many bytes. Left out, each is made for its values, and goes with them. */
  constructor(nextArena: (bytes: number) => Uint8Array = (bytes) => new Uint8Array(bytes)) {
    this.#nextArena = nextArena;
  }

  /** Where in its arena the value begins that was written last. */
  get start(): number {
    return this.#start;
  }

  /** Starts a value of at most so many bytes. */
  begin(bytesMax: number): this {
    const needed = bytesMax + checksumBytes;
    if (this.#at + needed > this.#arena.length) {
      this.#arena = this.#nextArena(Math.max(arenaBytes, needed));
      this.#at = 0;
    }
    this.#start = this.#at;
    return this;
  }

  /** The next value begins another arena. */
  leaveArena(): void {
    this.#arena = noArena;
    this.#at = 0;
  }

  unsigned(value: number): this {
    this.#at = writeVarint(this.#arena, this.#at, value);
    return this;
  }

  signed(value: number): this {
    this.#at = writeSignedVarint(this.#arena, this.#at, value);
    return this;
  }

  u32(value: number): this {
    if (value !== value >>> 0) invariant(false, "partition/u32", { value });
    const arena = this.#arena;
    arena[this.#at++] = value >>> 24;
    arena[this.#at++] = value >>> 16;
    arena[this.#at++] = value >>> 8;
    arena[this.#at++] = value;
    return this;
  }

  /** A byte for each character. */
  latin1(text: string): this {
    let all = 0;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      this.#arena[this.#at + i] = unit;
      all |= unit;
    }
    if (all > 0xff) invariant(false, "partition/latin1");
    this.#at += text.length;
    return this;
  }

  raw(bytes: Uint8Array): this {
    this.#arena.set(bytes, this.#at);
    this.#at += bytes.length;
    return this;
  }

  /** Ends the value with the checksum that ties it to its key. */
  seal(key: Uint8Array): Uint8Array {
    const checksum = checksumOf(key, this.#arena, this.#start, this.#at);
    for (let i = 0; i < checksumBytes; i++) this.#arena[this.#at++] = checksum >>> (8 * i);
    return this.#arena.subarray(this.#start, this.#at);
  }
}

/** Checks a value against its checksum. Errors: {@link MalformedValue}. The reader's bytes are only lent. */
export function openValue(key: Uint8Array, value: Uint8Array, length = value.length): VarintReader {
  const end = length - checksumBytes;
  if (end < 0) throw new MalformedValue("a value is cut off");
  const stored = value[end]! | (value[end + 1]! << 8) | (value[end + 2]! << 16) | (value[end + 3]! << 24);
  if (checksumOf(key, value, 0, end) !== stored >>> 0) throw new MalformedValue("a value does not fit its checksum");
  return new VarintReader(value, 0, end);
}
