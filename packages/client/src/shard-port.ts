// Requests that are asked of a shard: its number stands in the frame where an entity's hash does.
import type { StoredType } from "@heddle/protocol";
import { type ListShard, requestKind, writeListBody } from "@heddle/protocol/internal";
import type { CallOptions } from "./session.ts";
import type { Sessions } from "./sessions.ts";
import { readListed, readTypes } from "./wire-values.ts";

export interface ShardPort {
  readonly list: ListShard;
  readonly types: (shard: number) => Promise<StoredType[]>;
}

/** `options` hold for each request. */
export function shardPort(sessions: Sessions, options: CallOptions | undefined): ShardPort {
  return {
    list: (shard, fields) =>
      sessions.of(shard).request(requestKind.list, shard, writeListBody, fields, options, readListed),
    types: (shard) => sessions.of(shard).request(requestKind.types, shard, writeNothing, undefined, options, readTypes),
  };
}

function writeNothing(_: undefined, reserve: (bytes: number) => unknown): number {
  reserve(0);
  return 0;
}
