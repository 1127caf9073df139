// ShardCalls: how shards, and what works on their threads (sagas, reminders), ask shards of the same node: in the frames that
// clients send, without a socket.
import type { Reply } from "@heddle/protocol/internal";

/** Writes a request's body; as the `write…Body` functions of protocol, with their fields bound. */
export type WriteBody = (reserve: (bytes: number) => { bytes: Uint8Array; at: number }) => number;

export interface ShardCalls {
  readonly shardCount: number;
  /** Where this thread's requests come from, for the shards that they reach. */
  readonly connection: number;
  /**
   * Sends a request of a kind to the shard that owns a hash: an entity's, or a shard's number.
   *
   * `onReply` is called exactly once, and never before this returns: in a turn of its own, when no shard of the thread is in
   * the middle of anything. Whoever asks again from there shares commit groups with others who do. Requests from one thread
   * to one shard arrive in the order in which they were sent.
   * An error reply `SHARD_STOPPED` means that it was not taken, `OUTCOME_UNKNOWN` that the shard's thread was lost.
   *
   * Such a call belongs to no client session: only an append id makes it safe to be sent again.
   * Errors: throws what `write` throws; then nothing was sent.
   */
  call(kind: number, hash: number, write: WriteBody, onReply: (reply: Reply) => void): void;
  /**
   * Waits for the reply to what a shard of this thread is given without a frame (own-shard.ts): to be said to `connection` and
   * the call that is returned. `onReply` is as above. The shard's turn ends by itself.
   */
  expect(shard: number, onReply: (reply: Reply) => void): number;
  /** The shard has not taken it: no reply will come. */
  forgo(call: number): void;
}

/** Connections from here on are threads of the node: `innerConnectionMin + thread`. */
export const innerConnectionMin = 0xffff_0000;

export function isInner(connection: number): boolean {
  return connection >= innerConnectionMin;
}
