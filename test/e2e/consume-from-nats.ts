// The code of docs/how-to/publish-to-nats.md. It knows nothing of Heddle: this is what a consumer elsewhere does.
import zlib from "node:zlib";
import { AckPolicy, jetstream, jetstreamManager, type StoredMsg } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";

// #region events
/** Mails a line for each credit. `isNew` remembers what was dealt with, by entity and sequence, together with its effect. */
export async function mailCredits(
  nc: NatsConnection,
  isNew: (entity: string, seq: number) => Promise<boolean>,
  mail: (line: string) => Promise<void>,
  isOver: () => boolean,
): Promise<void> {
  const jsm = await jetstreamManager(nc);
  await jsm.consumers.add("heddle-bank-events", {
    durable_name: "mailer",
    ack_policy: AckPolicy.Explicit,
    max_ack_pending: 1, // One at a time keeps the order of each account.
    filter_subject: "heddle.bank.events.account.*.Credited",
  });
  const consumer = await jetstream(nc).consumers.get("heddle-bank-events", "mailer");
  for await (const message of await consumer.consume()) {
    const { entity, seq, payload } = message.json<{ entity: string; seq: number; payload: { amount: number } }>();
    if (await isNew(entity, seq)) await mail(`${entity}: ${payload.amount}`);
    message.ack();
    if (isOver()) break;
  }
}
// #endregion events

// #region log
/** What stands in one message of `heddle-bank-0`: entity, first sequence, events, and whether the entry was erased since. */
export function entriesOf(message: StoredMsg): { entity: string; seq: number; events: number; erased: boolean }[] {
  const salt = Number.parseInt(message.header.get("Heddle-Salt"), 16);
  const bytes = Buffer.from(message.data);
  const entries = [];
  for (let record = 0; record < bytes.length; ) {
    const length = bytes.readUInt32LE(record + 8);
    // The CRC starts from the segment's salt.
    if (zlib.crc32(bytes.subarray(record + 8, record + length), salt) !== bytes.readUInt32LE(record + 4))
      throw new Error("the record is damaged");
    let at = record + 24;
    for (let left = bytes.readUInt32LE(record + 12); left > 0; left--) {
      const flags = bytes.readUInt8(at + 8);
      const entityLength = bytes.readUInt16LE(at + 48);
      // 16: prepared by a transaction, comes again if it is decided so. 64: what a shard notes. Neither is history.
      if ((flags & (16 | 64)) === 0)
        entries.push({
          entity: bytes.toString("utf8", at + 50, at + 50 + entityLength),
          seq: bytes.readUIntLE(at + 10, 6),
          events: bytes.readUInt32LE(at + 38),
          erased: (flags & 4) !== 0,
        });
      at += bytes.readUInt32LE(at + 4);
    }
    record += length;
  }
  return entries;
}
// #endregion log
