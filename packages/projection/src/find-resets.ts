// FindResets: where each entity begins anew for the last time, found before a projection is built whose rows several entities may
// write to: what an entity has put into such a row cannot be taken out again, so that it is not folded in the first place.
import type { CompiledContext } from "@heddle/domain/internal";
import { FeedDecoder, type FeedSource } from "@heddle/feed/internal";

/** Bytes read at once. */
const chunkBytesMax = 4 << 20;

/** The position of the last tombstone or marker, by entity, over all that the source has now. `turn` lets others run. */
export async function findResets(
  domain: CompiledContext,
  source: FeedSource,
  turn: () => Promise<void>,
): Promise<ReadonlyMap<string, number>> {
  const decoder = new FeedDecoder(domain, { wants: () => false });
  const resets = new Map<string, number>();
  const visitor = {
    events: () => undefined,
    reset: ({ entity, position }: { readonly entity: string; readonly position: number }) =>
      void resets.set(entity, position),
  };
  for (let shard = 0; shard < source.shardCount; shard++) {
    const end = source.end(shard);
    for (let at = 0; at < end; ) {
      const asked = source.read(shard, at, chunkBytesMax);
      // What comes at once is lent until the next read, which another track may do in the turn that an `await` takes.
      const chunk = asked instanceof Promise ? await asked : asked;
      if (chunk === undefined) break;
      decoder.visit(chunk, visitor);
      at = chunk.to;
      await turn();
    }
  }
  return resets;
}
