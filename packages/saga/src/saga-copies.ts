// SagaCopies: the records of sagas hold what their steps gave to entities. When one of those is erased, so are the records (P6):
// what a saga has come to is then known no more, and its id answers ERASED for good.
//
// Not promised: to find a saga none of whose steps has written to the entity. What it wanted to write there stays in its record
// until another of its entities is erased.
import { HeddleError, hashEntity, parseAnyEntityId } from "@heddle/kernel";
import { type Reply, requestKind, sagaOfStepId, writeSagaEraseBody } from "@heddle/protocol/internal";
import type { CopyHolder, ShardCalls } from "@heddle/shard/internal";

/** Records that are asked for at the same time. */
const askedAtOnce = 100;

export class SagaCopies implements CopyHolder {
  readonly #calls: ShardCalls;

  constructor(calls: ShardCalls) {
    this.#calls = calls;
  }

  recordOf(appendId: string): string | undefined {
    return sagaOfStepId(appendId);
  }

  bury(entity: string, records: ReadonlySet<string>): Promise<void> {
    return this.#askAll(entity, records, false);
  }

  gone(entity: string, records: ReadonlySet<string>): Promise<void> {
    return this.#askAll(entity, records, true);
  }

  async #askAll(participant: string, records: ReadonlySet<string>, gone: boolean): Promise<void> {
    const left = [...records];
    while (left.length > 0) {
      await Promise.all(left.splice(0, askedAtOnce).map((record) => this.#ask({ entity: record, participant, gone })));
    }
  }

  #ask(fields: { readonly entity: string; readonly participant: string; readonly gone: boolean }): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onReply = (reply: Reply): void => {
      if (reply.kind === "error") reject(reply.error);
      else resolve();
    };
    try {
      const hash = hashEntity(parseAnyEntityId(fields.entity));
      this.#calls.call(requestKind.sagaErase, hash, (reserve) => writeSagaEraseBody(fields, reserve), onReply);
    } catch (thrown) {
      // No saga can have such an id: the append's own was made to look like one of a saga.
      if (!(thrown instanceof HeddleError)) throw thrown;
      resolve();
    }
    return promise;
  }
}
