// SegmentFile: a segment of a log as a backup keeps it. Numbers are little-endian.
//
//   header    16 bytes: 8 magic | u16 version | u16 shard | u32 zero
//   blobs     one for each entity and life: 12 nonce | 16 tag | the pieces, AES-256-GCM with that life's key
//   skeleton  the segment with all of those entries erased, zstd
//   index     for each blob: 28 name of its key | u32 length of the pieces
//   footer    64 bytes: u48 base | u48 length of the segment | u48 where the skeleton begins | u48 where the index begins |
//             u32 blobs | zeros | 8 magic again
//
//   piece     u32 offset in the segment | u32 length | the entry from its flags to its end
//
// What is outside of the blobs says which entities there were, when, how much they wrote, and what erasing leaves of an
// entry; no payload, metadata, event type or aggregate. Promises that such bytes never reach the disk unencrypted (P6).
// The manifest has the file's length and checksum.
import { createCipheriv, createDecipheriv, createHash, randomFillSync } from "node:crypto";
import fs from "node:fs";
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { readU16, readU32, readU48, writeU16, writeU32, writeU48 } from "@heddle/protocol/internal";
import { keyNameBytes } from "./life.ts";

const fileVersion = 1;
const magic = "HEDDLBAK";
const headerBytes = 16;
const footerBytes = 64;
const nonceBytes = 12;
const tagBytes = 16;
const indexRowBytes = keyNameBytes + 4;
const algorithm = "aes-256-gcm";

/** Collected before they are written. */
const bufferBytes = 1 << 20;

export interface SegmentFacts {
  readonly shard: number;
  readonly base: number;
  /** Of the segment itself. */
  readonly length: number;
}

/** Writes one file, piece after piece. The file must not be there yet. */
export class SegmentFileWriter {
  readonly #facts: SegmentFacts;
  readonly #file: number;
  readonly #hash = createHash("sha256");
  readonly #buffer = Buffer.allocUnsafe(bufferBytes);
  /** Drawn in bulk: one at a time they cost as much as the cipher. */
  readonly #nonces = Buffer.allocUnsafe(nonceBytes * 1_024);
  #noncesUsed = this.#nonces.length;
  #index = Buffer.allocUnsafe(indexRowBytes * 1_024);
  #entities = 0;
  #buffered = 0;
  #written = 0;

  constructor(file: string, facts: SegmentFacts) {
    this.#facts = facts;
    this.#file = fs.openSync(file, "wx");
    const header = startOf(facts.shard);
    this.#write(header);
  }

  get entities(): number {
    return this.#entities;
  }

  /** Adds the pieces of one entity and life, encrypted. */
  addBlob(keyName: Uint8Array, key: Uint8Array, pieces: Uint8Array): void {
    const nonce = this.#nextNonce();
    const cipher = createCipheriv(algorithm, key, nonce);
    const encrypted = cipher.update(pieces);
    cipher.final();
    this.#write(nonce);
    this.#write(cipher.getAuthTag());
    this.#write(encrypted);
    const row = this.#entities++ * indexRowBytes;
    if (row === this.#index.length) this.#index = Buffer.concat([this.#index], row * 2);
    this.#index.set(keyName, row);
    writeU32(this.#index, row + keyNameBytes, pieces.length);
  }

  /** Ends the file with the segment whose entries are erased, and makes it durable; its name is the caller's to sync. */
  finish(skeleton: Uint8Array): { readonly bytes: number; readonly sha256: string } {
    const footer = Buffer.alloc(footerBytes);
    writeU48(footer, 0, this.#facts.base);
    writeU48(footer, 6, this.#facts.length);
    writeU48(footer, 12, this.#written);
    this.#write(zstdCompressSync(skeleton, { params: { [constants.ZSTD_c_compressionLevel]: 1 } }));
    writeU48(footer, 18, this.#written);
    writeU32(footer, 24, this.#entities);
    footer.write(magic, footerBytes - 8, "latin1");
    this.#write(this.#index.subarray(0, this.#entities * indexRowBytes));
    this.#write(footer);
    this.#flush();
    fs.fsyncSync(this.#file);
    return { bytes: this.#written, sha256: this.#hash.digest("hex") };
  }

  close(): void {
    fs.closeSync(this.#file);
  }

  #nextNonce(): Uint8Array {
    if (this.#noncesUsed === this.#nonces.length) {
      randomFillSync(this.#nonces);
      this.#noncesUsed = 0;
    }
    this.#noncesUsed += nonceBytes;
    return this.#nonces.subarray(this.#noncesUsed - nonceBytes, this.#noncesUsed);
  }

  #write(bytes: Uint8Array): void {
    this.#written += bytes.length;
    if (bytes.length > bufferBytes - this.#buffered) this.#flush();
    if (bytes.length > bufferBytes) {
      this.#put(bytes);
      return;
    }
    this.#buffer.set(bytes, this.#buffered);
    this.#buffered += bytes.length;
  }

  #flush(): void {
    this.#put(this.#buffer.subarray(0, this.#buffered));
    this.#buffered = 0;
  }

  #put(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    for (let at = 0; at < bytes.length; ) at += fs.writeSync(this.#file, bytes, at, bytes.length - at);
  }
}

/** A file that was read whole. Errors are plain: whoever reads it knows the backup that is to be refused. */
export class SegmentFile {
  readonly facts: SegmentFacts;
  readonly entities: number;
  /** The names of the blobs' keys, one after the other. */
  readonly keyNames: Uint8Array;
  readonly #bytes: Uint8Array;
  readonly #skeletonAt: number;
  readonly #indexAt: number;
  readonly #lengths: Uint32Array;
  readonly #blobAt: Float64Array;

  /** `expected` is what the manifest says. */
  constructor(bytes: Uint8Array, expected: SegmentFacts & { readonly bytes: number; readonly sha256: string }) {
    if (bytes.length !== expected.bytes) throw new Error(`it has ${bytes.length} bytes, wanted ${expected.bytes}`);
    if (createHash("sha256").update(bytes).digest("hex") !== expected.sha256) {
      throw new Error("it was altered: its checksum does not match");
    }
    const version = readU16(bytes, 8);
    if (version !== fileVersion) throw new Error(`format version ${version}, this program knows ${fileVersion}`);
    const footer = bytes.length - footerBytes;
    this.#bytes = bytes;
    this.facts = { shard: readU16(bytes, 10), base: readU48(bytes, footer), length: readU48(bytes, footer + 6) };
    for (const fact of ["shard", "base", "length"] as const) {
      if (this.facts[fact] !== expected[fact]) {
        throw new Error(`it has ${fact} ${this.facts[fact]}, the manifest says ${expected[fact]}`);
      }
    }
    this.#skeletonAt = readU48(bytes, footer + 12);
    this.#indexAt = readU48(bytes, footer + 18);
    this.entities = readU32(bytes, footer + 24);
    this.keyNames = new Uint8Array(this.entities * keyNameBytes);
    this.#lengths = new Uint32Array(this.entities);
    this.#blobAt = new Float64Array(this.entities);
    let blobAt = headerBytes;
    for (let i = 0; i < this.entities; i++) {
      const row = this.#indexAt + i * indexRowBytes;
      this.keyNames.set(bytes.subarray(row, row + keyNameBytes), i * keyNameBytes);
      this.#lengths[i] = readU32(bytes, row + keyNameBytes);
      this.#blobAt[i] = blobAt;
      blobAt += nonceBytes + tagBytes + this.#lengths[i]!;
    }
    if (blobAt !== this.#skeletonAt) throw new Error("its index does not fit its blobs");
  }

  /** The segment with every entry erased that has its payload in a blob. */
  skeleton(): Uint8Array {
    const { length } = this.facts;
    const bytes = zstdDecompressSync(this.#bytes.subarray(this.#skeletonAt, this.#indexAt), {
      maxOutputLength: Math.max(1, length),
    });
    if (bytes.length !== length) throw new Error(`its skeleton has ${bytes.length} bytes, wanted ${length}`);
    return bytes;
  }

  /** The pieces of a blob. Errors: plain, when the key is not the one. */
  pieces(index: number, key: Uint8Array): Uint8Array {
    const at = this.#blobAt[index]!;
    const from = at + nonceBytes + tagBytes;
    const decipher = createDecipheriv(algorithm, key, this.#bytes.subarray(at, at + nonceBytes));
    decipher.setAuthTag(this.#bytes.subarray(at + nonceBytes, from));
    const pieces = decipher.update(this.#bytes.subarray(from, from + this.#lengths[index]!));
    try {
      decipher.final();
    } catch (cause) {
      throw new Error("the payloads of an entity cannot be read with its key", { cause });
    }
    return pieces;
  }
}

function startOf(shard: number): Buffer {
  const header = Buffer.alloc(headerBytes);
  header.write(magic, 0, "latin1");
  writeU16(header, 8, fileVersion);
  writeU16(header, 10, shard);
  return header;
}
