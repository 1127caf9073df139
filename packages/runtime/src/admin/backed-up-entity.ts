// BackedUpEntity: one entity of a backup, as the export that `heddle import` takes.
//
// Its history begins at the last tombstone that the backup has of it, and its payloads are in the newest shape, as in every
// export. The backup is read twice: the first line of an export says which the last sequence is.
import { type EntityEventsOptions, entityEvents, KeyStore, readBackup } from "@heddle/backup";
import { entryFlags } from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import { ExportWriter } from "@heddle/protocol/internal";
import { EntryDecoder } from "@heddle/shard/internal";
import { loadDomain } from "../load-domain.ts";

export interface ExportFromBackupOptions extends EntityEventsOptions {
  /** Path of the domain module, whose upcasters give payloads their newest shape. */
  readonly domain: string;
  readonly nowMs: number;
  /** Takes whole lines, each with its line end. */
  readonly write: (text: string) => void;
  /** Waited for now and then, so that a slow reader holds the export back. */
  readonly drained?: () => Promise<void>;
}

export interface ExportedFromBackup {
  readonly entity: string;
  /** The last sequence. */
  readonly seq: number;
  readonly events: number;
  /** The run of the backup that it comes from. */
  readonly run: number;
}

const entriesPerDrain = 1_000;

/**
 * Writes nothing before it is known that there is an entity to be written.
 * Errors: `INVALID_ENTITY_ID`; `OUT_OF_RANGE` for an entity that is not in the backup, or not by then; `ERASED` for one whose
 * payloads are gone; `DATA_FOLDER_MISMATCH` for a backup of another context; `DOMAIN_LOAD_FAILED`, `DOMAIN_FAILED`;
 * `BACKUP_REFUSED`, `KEYS_UNAVAILABLE`.
 */
export async function exportFromBackup(options: ExportFromBackupOptions): Promise<ExportedFromBackup> {
  const { backup, entity, nowMs, write, drained } = options;
  const domain = await loadDomain(options.domain);
  const { context, run } = readBackup(backup, options.run);
  if (domain.name !== context) {
    throw new HeddleError("DATA_FOLDER_MISMATCH", {
      folder: backup,
      setting: "context",
      found: context,
      wanted: domain.name,
    });
  }
  const wanted = { ...options, run };
  const { from, seq } = lifeOf(wanted);
  const writer = new ExportWriter();
  write(writer.header({ context, entity, seq, exportedAt: new Date(nowMs).toISOString() }));
  const decoder = new EntryDecoder();
  let events = 0;
  let entries = 0;
  for (const entry of entityEvents(wanted)) {
    if (entry.firstSeq < from) continue;
    for (const event of decoder.events(entry, domain)) {
      write(writer.event(event));
      events++;
    }
    if (++entries % entriesPerDrain === 0) await drained?.();
  }
  write(writer.end());
  await drained?.();
  return { entity, seq, events, run };
}

/** First and last sequence of what there is to be exported. */
function lifeOf(options: EntityEventsOptions): { readonly from: number; readonly seq: number } {
  const { entity } = options;
  let from = 1;
  let seq = 0;
  let tombstone: { readonly seq: number; readonly time: number } | undefined;
  let isGone = false;
  for (const entry of entityEvents(options)) {
    seq = entry.firstSeq + entry.eventCount - 1;
    if ((entry.flags & entryFlags.tombstone) !== 0) {
      from = entry.firstSeq;
      tombstone = { seq, time: entry.time };
      isGone = true;
    } else isGone = (entry.flags & entryFlags.erased) !== 0;
  }
  if (seq === 0) {
    throw new HeddleError("OUT_OF_RANGE", { entity, asked: "history in the backup", available: "no events there" });
  }
  if (isGone) throw new HeddleError("ERASED", { entity, ...(erasedSince(options) ?? tombstone ?? { seq, time: 0 }) });
  return { from, seq };
}

// The backup may be older than the erasure: then only the key store knows of it.
function erasedSince({ keys, entity }: EntityEventsOptions) {
  const store = KeyStore.open(keys, { create: false });
  try {
    return store.erasedBefore(entity);
  } finally {
    store.close();
  }
}
