// Zero writer: overwrites parts of a file that is in use by others, in place.
import fs from "node:fs";

export class ZeroWriter {
  unsyncedBytes = 0;
  readonly #fd: number;
  readonly #zeros: Buffer;
  readonly #tail: Buffer;
  readonly #crashPoint: (name: string) => void;

  constructor(fd: number, pageBytes: number, crashPoint: (name: string) => void) {
    this.#fd = fd;
    this.#crashPoint = crashPoint;
    this.#zeros = Buffer.alloc(pageBytes);
    this.#tail = Buffer.alloc(pageBytes);
  }

  /** At most a page. */
  zeros(position: number, length: number): void {
    this.#write(this.#zeros, 0, length, position);
  }

  /** Says whether there was anything else. */
  zerosWhereNeeded(from: number, to: number): boolean {
    let needed = false;
    for (let at = from; at < to; at += this.#tail.length) {
      const length = Math.min(this.#tail.length, to - at);
      const found = fs.readSync(this.#fd, this.#tail, 0, length, at);
      if (isZero(this.#tail, 0, found)) continue;
      this.zeros(at, length);
      needed = true;
    }
    return needed;
  }

  /** Writes a part of a page back to where the page lies. */
  bytes(page: Buffer, from: number, to: number, pagePosition: number): void {
    this.#write(page, from, to, pagePosition + from);
  }

  #write(bytes: Buffer, from: number, to: number, position: number): void {
    for (let at = from; at < to; ) at += fs.writeSync(this.#fd, bytes, at, to - at, position + at - from);
    this.unsyncedBytes += to - from;
    this.#crashPoint("partition:scrub-written");
  }
}

const allZeros = Buffer.alloc(64 * 1024);

/** Of at most a page. */
export function isZero(bytes: Buffer, from: number, to: number): boolean {
  return bytes.compare(allZeros, 0, to - from, from, to) === 0;
}
