// The event `Delivered` as a runner writes it, packed by hand: there is one for nearly every delivery. What is packed is what the
// codec of values would write, and is read with it.
import {
  packedKey,
  packedListHeadBytesMax,
  packedNumberBytesMax,
  packedTextBytesMax,
  packKey,
  packListHead,
  packNumber,
  packText,
} from "@heddle/protocol/internal";
import type { PayloadPacker } from "@heddle/shard/internal";
import type { Delivered } from "./reminders-aggregate.ts";

const items = packedKey("items", 1);
const keys = {
  name: packedKey("name", 7),
  version: packedKey("version"),
  from: packedKey("from"),
  due: packedKey("due"),
  outcome: packedKey("outcome"),
  code: packedKey("code"),
  next: packedKey("next"),
};

/** -1, which no other number of these is less than. */
const minusOne = 0xff;

const itemFixedBytes = 4 * packedNumberBytesMax + Object.values(keys).reduce((sum, { length }) => sum + length, 0);

export const deliveredPacker: PayloadPacker<Delivered> = {
  stored: (payload) => payload,
  room(payload) {
    let room = items.length + packedListHeadBytesMax;
    for (const { name, outcome, code } of payload.items) {
      room += itemFixedBytes + packedTextBytesMax(name) + packedTextBytesMax(outcome) + packedTextBytesMax(code);
    }
    return room;
  },
  pack(payload, bytes, at) {
    let p = packListHead(bytes, packKey(bytes, at, items), payload.items.length);
    for (const { name, version, from, due, outcome, code, next } of payload.items) {
      p = packText(bytes, packKey(bytes, p, keys.name), name);
      p = packNumber(bytes, packKey(bytes, p, keys.version), version);
      p = packNumber(bytes, packKey(bytes, p, keys.from), from);
      p = packNumber(bytes, packKey(bytes, p, keys.due), due);
      p = packText(bytes, packKey(bytes, p, keys.outcome), outcome);
      p = packText(bytes, packKey(bytes, p, keys.code), code);
      p = packKey(bytes, p, keys.next);
      if (next >= 0) p = packNumber(bytes, p, next);
      else bytes[p++] = minusOne;
    }
    return p;
  },
};
