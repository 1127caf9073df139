// OwnMemory: what a process takes for itself, sampled while it works.
//
// Own is the resident set less the pages of mapped files, which the kernel takes back whenever it likes: LMDB's map is such
// pages. Linux tells them apart; elsewhere there is nothing to say.
import fs from "node:fs";

const sampleMs = 250;

export class OwnMemory {
  readonly #pid: number;
  readonly #timer: NodeJS.Timeout;
  #maxBytes: number | undefined;

  constructor(pid: number) {
    this.#pid = pid;
    this.#timer = setInterval(() => this.#sample(), sampleMs);
    this.#sample();
  }

  /** Bytes at most, and now; undefined where the system does not say. */
  stop(): { readonly maxBytes: number; readonly bytes: number } | undefined {
    clearInterval(this.#timer);
    const bytes = this.#sample();
    return bytes === undefined || this.#maxBytes === undefined ? undefined : { maxBytes: this.#maxBytes, bytes };
  }

  #sample(): number | undefined {
    const bytes = ownBytes(this.#pid);
    if (bytes !== undefined) this.#maxBytes = Math.max(this.#maxBytes ?? 0, bytes);
    return bytes;
  }
}

/** Anonymous and shared memory of a process, in bytes. */
export function ownBytes(pid: number): number | undefined {
  let status: string;
  try {
    status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return undefined;
  }
  const kilobytes = (field: string) =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? Number.NaN);
  const bytes = 1024 * (kilobytes("RssAnon") + kilobytes("RssShmem"));
  return Number.isNaN(bytes) ? undefined : bytes;
}
