// What a floor counts, in memory that its threads share. Only the thread that writes the file changes it.
import type { ServerUsage } from "../driver/server-process.ts";

export class FloorCounters {
  readonly shared: SharedArrayBuffer;
  readonly #values: Float64Array;

  constructor(shared = new SharedArrayBuffer(3 * Float64Array.BYTES_PER_ELEMENT)) {
    this.shared = shared;
    this.#values = new Float64Array(shared);
  }

  countGroup(events: number, bytes: number): void {
    this.#values[0]!++;
    this.#values[1]! += events;
    this.#values[2]! += bytes;
  }

  read(): Pick<ServerUsage, "groups" | "events" | "logBytes" | "activations"> {
    return { groups: this.#values[0]!, events: this.#values[1]!, logBytes: this.#values[2]!, activations: 0 };
  }
}
