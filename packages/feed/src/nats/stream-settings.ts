// StreamSettings: how streams are made, and what of one that is there must be so. Copies, places, compression, and limits that
// refuse, are the operator's to choose; all else is told, and never changed.
import { HeddleError } from "@heddle/kernel";
import {
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  RetentionPolicy,
  type StorageType,
  type StreamConfig,
  type StreamInfo,
} from "@nats-io/jetstream";
import type { NatsLink } from "./connection.ts";
import { streamMetadata } from "./names.ts";

export interface OwnSettings {
  readonly subjects: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
}

export function settingsOf(name: string, { subjects, metadata }: OwnSettings) {
  return {
    name,
    subjects: [...subjects],
    metadata: { ...metadata },
    retention: RetentionPolicy.Limits,
    storage: "file" as StorageType,
    // A stream that a limit is set for takes no more when it is full, and loses nothing.
    discard: DiscardPolicy.New,
    allow_direct: true,
  };
}

/** Errors: `SINK_REFUSED`, which says what is other than it must be. */
export function checkSettings(sink: string, found: StreamConfig, own: OwnSettings): void {
  const refuses = (message: string) => new HeddleError("SINK_REFUSED", { sink, message });
  const { version, log, shardCount } = streamMetadata;
  const metadata = found.metadata ?? {};
  if (own.metadata[log] !== undefined && metadata[log] !== undefined && metadata[log] !== own.metadata[log])
    throw refuses(`the stream ${found.name} is a copy of another log: another data folder publishes there`);
  const problems: string[] = [];
  const expect = (what: string, value: unknown, wanted: unknown) => {
    if (value !== wanted) problems.push(`${what} is ${String(value)}, wanted ${String(wanted)}`);
  };
  expect("subjects", found.subjects?.join(), own.subjects.join());
  for (const key of [version, log, shardCount]) expect(`metadata ${key}`, metadata[key], own.metadata[key]);
  expect("retention", found.retention, RetentionPolicy.Limits);
  expect("storage", found.storage, "file");
  expect("max_age", found.max_age, 0);
  expect("max_msgs_per_subject", found.max_msgs_per_subject, -1);
  expect("allow_direct", found.allow_direct, true);
  expect("deny_delete", found.deny_delete, false);
  expect("sealed", found.sealed, false);
  if (found.max_msgs !== -1 || found.max_bytes !== -1) expect("discard", found.discard, DiscardPolicy.New);
  if (problems.length > 0) throw refuses(`the stream ${found.name} has other settings: ${problems.join("; ")}`);
}

/** Undefined for a stream that is not there. */
export async function streamInfo({ jsm }: NatsLink, stream: string): Promise<StreamInfo | undefined> {
  try {
    return await jsm.streams.info(stream);
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound) return undefined;
    throw error;
  }
}
