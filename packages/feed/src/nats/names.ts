// Names: of streams, subjects and headers. docs/how-to/publish-to-nats.md tells readers in other languages the same.
import type { MsgHdrs } from "@nats-io/transport-node";

/** How messages are laid out. Raised when a reader of the version before would take something for what it is not. */
export const messageVersion = "1";

export const logHeaders = {
  /** Where the one before ended: 0, or its `Heddle-To`. */
  from: "Heddle-From",
  /** Position behind the last record. */
  to: "Heddle-To",
  /** Salt of the records' segment, 8 hexadecimal digits: their checksums start from it. */
  salt: "Heddle-Salt",
  /** `2/5`: the second of five messages that hold one record together. */
  part: "Heddle-Part",
} as const;

/** What a stream says of itself. */
export const streamMetadata = {
  version: "heddle-version",
  /** Salt of the log's first segment: two logs do not have the same one. */
  log: "heddle-log",
  shardCount: "heddle-shards",
} as const;

export const eventHeaders = {
  shard: "Heddle-Shard",
  /** Salt of the first segment of the shard's log. */
  log: "Heddle-Log",
  /** Position of the record that holds the event's entry. */
  record: "Heddle-Record",
  /** Position of the event's entry in the shard's log. */
  position: "Heddle-Position",
  /** Which event of the entry: from 0. */
  index: "Heddle-Index",
  /** Percent-encoded: headers are ASCII. */
  entity: "Heddle-Entity",
  seq: "Heddle-Seq",
} as const;

/** Streams and subjects of one context. Its name is letters, digits, _ and -, and so a token as it is. */
export function namesOf(context: string) {
  return {
    logStream: (shard: number) => `heddle-${context}-${shard}`,
    logSubject: (shard: number) => `heddle.${context}.log.${shard}`,
    logSubjects: `heddle.${context}.log.*`,
    /** The headers of each message come here as soon as it is stored: a call to read on, which may get lost. */
    storedSubject: (shard: number) => `heddle.${context}.stored.${shard}`,
    storedSubjects: `heddle.${context}.stored.*`,
    repairStream: `heddle-${context}-repairs`,
    repairSubjects: `heddle.${context}.repair.>`,
    /** Part 1 for whole records. */
    repairSubject: (shard: number, from: number, part: number) => `heddle.${context}.repair.${shard}.${from}.${part}`,
    repairsOfShard: (shard: number) => `heddle.${context}.repair.${shard}.>`,
    eventStream: `heddle-${context}-events`,
    eventSubjects: `heddle.${context}.events.>`,
    eventSubject: (entity: string, type: string) => `heddle.${context}.events.${entityTokens(entity)}.${token(type)}`,
    eventsOfEntity: (entity: string) => `heddle.${context}.events.${entityTokens(entity)}.*`,
  };
}

export type Names = ReturnType<typeof namesOf>;

function entityTokens(entity: string): string {
  return entity.split("/").map(token).join(".");
}

/** One token of a subject: what has a meaning in subjects is percent-encoded, and so is what is not ASCII. */
function token(text: string): string {
  const safe = text.replace(/[^A-Za-z0-9_~:@=+,;!()-]/gu, (char) =>
    Array.from(new TextEncoder().encode(char), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(
      "",
    ),
  );
  return safe === "" ? "%" : safe;
}

export interface LogMessage {
  readonly seq: number;
  readonly from: number;
  readonly to: number;
  readonly salt: number;
  /** From 1. */
  readonly part: number;
  readonly parts: number;
  readonly data: Uint8Array;
}

/** What a message of a log stream or a repair says; undefined when it is none. */
export function readLogMessage(message: {
  readonly seq: number;
  readonly header: MsgHdrs | undefined;
  readonly data: Uint8Array;
}): LogMessage | undefined {
  const { header, seq, data } = message;
  if (header === undefined) return undefined;
  const from = numberOf(header.get(logHeaders.from));
  const to = numberOf(header.get(logHeaders.to));
  const salt = header.get(logHeaders.salt);
  const parts = /^(\d{1,9})\/(\d{1,9})$/.exec(header.get(logHeaders.part) || "1/1");
  if (from === undefined || to === undefined || !/^[0-9a-f]{8}$/.test(salt) || parts === null) return undefined;
  const [part, partCount] = [Number(parts[1]), Number(parts[2])];
  if (from >= to || part < 1 || part > partCount) return undefined;
  return { seq, from, to, salt: Number.parseInt(salt, 16), part, parts: partCount, data };
}

export function numberOf(text: string): number | undefined {
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

export function saltText(salt: number): string {
  return salt.toString(16).padStart(8, "0");
}
