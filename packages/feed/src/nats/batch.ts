// Batch: many messages of a stream at once, read where they are stored, without a consumer.
import type { StoredMsg } from "@nats-io/jetstream";
import type { NatsLink } from "./connection.ts";

export interface BatchQuery {
  /** Sequence to begin with. */
  readonly seq: number;
  readonly batch: number;
  readonly max_bytes: number;
}

/** The messages from a sequence on; none at the stream's end, and none of a stream that is not there. */
export async function messagesFrom(link: NatsLink, stream: string, query: BatchQuery): Promise<StoredMsg[]> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const messages: StoredMsg[] = [];
  const forget = link.onLost(() => reject(new Error("the connection was lost")));
  try {
    // The form with a callback gives its subscription back; the other one keeps it for good.
    await link.jsm.direct.getBatch(stream, {
      ...query,
      callback: (done, message) => {
        if (done === null) messages.push(message);
        else if (done.err === undefined || isNothing(done.err)) resolve();
        else reject(done.err);
      },
    });
    await promise;
    return messages;
  } finally {
    forget();
  }
}

/** No such message, or no such stream: nobody answers for one that is not there. */
export function isNothing(error: unknown): boolean {
  const { code, name, message, cause } = error as { code?: unknown; name?: string; message?: string; cause?: unknown };
  if (code === 404 || code === 503 || name === "NoRespondersError" || /no responders/i.test(message ?? "")) return true;
  return cause !== undefined && isNothing(cause);
}
