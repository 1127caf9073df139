// PackingRoom: where the parts of a request are packed one behind the other, because their writers say only afterwards how much
// they took. One room serves call after call: a room for each would be most of what a call leaves to the garbage collector.
//
// R1. Whoever takes the room has it alone until it gives it back. Payloads may have getters, and these may make calls of their own:
//     whoever comes meanwhile gets another.
// R2. A room that is not given back, because something was thrown, is missed by nobody.

type Reserve = (bytes: number) => { bytes: Uint8Array; at: number };

/** Nearly all calls need less. A room that had to grow beyond is not kept. */
const bytesKept = 64 * 1024;

export class PackingRoom {
  bytes = new Uint8Array(bytesKept);
  /** Bytes in use; whoever packs counts them up. */
  used = 0;
  readonly #place = { bytes: this.bytes, at: 0 };

  /** Room behind what is used, as writers of bodies ask for it; the next call moves the place that it returns. */
  readonly reserve: Reserve = (wanted) => {
    this.grow(wanted);
    const place = this.#place;
    place.bytes = this.bytes;
    place.at = this.used;
    return place;
  };

  /** Makes room for so many bytes behind what is used. */
  grow(wanted: number): void {
    const needed = this.used + wanted;
    if (needed <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, 2 * this.bytes.length));
    grown.set(this.bytes.subarray(0, this.used));
    this.bytes = grown;
  }
}

let spare: PackingRoom | undefined;

/** An empty room. */
export function takeRoom(): PackingRoom {
  const room = spare ?? new PackingRoom();
  spare = undefined;
  room.used = 0;
  return room;
}

/** Its bytes are nobody's from now on. */
export function giveBackRoom(room: PackingRoom): void {
  if (room.bytes.length === bytesKept) spare = room;
}
