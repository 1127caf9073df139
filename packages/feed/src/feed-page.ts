// FeedPage: what answers a question for events: as many as were asked for, within a bound of bytes.
import { HeddleError, limits } from "@heddle/kernel";
import { encodeValue, type FeedPosition, type WireFeedEntry, type WireFeedPage } from "@heddle/protocol/internal";
import type { FeedEntry } from "./feed-decoder.ts";

/** A page is not added to beyond this; one event may be longer. */
const pageBytesMax = 256 << 10;
/** What an event takes beside its payload, about. */
const eventBytes = 64;
/** Room for a frame's header. */
const bodyBytesMax = limits.frameBytesMax - 64;

type WireFeedEvent = WireFeedEntry[9][number];

export class FeedPage {
  readonly #limit: number;
  readonly #entries: WireFeedEntry[] = [];
  #events = 0;
  #bytes = 0;
  #encodedBytes = 0;
  /** Why the event behind the last could not be taken in: `DOMAIN_FAILED`, when an upcaster threw. */
  failure: unknown;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get events(): number {
    return this.#events;
  }

  get isFull(): boolean {
    return this.#events >= this.#limit || (this.#events > 0 && this.#bytes >= pageBytesMax);
  }

  get entries(): readonly WireFeedEntry[] {
    return this.#entries;
  }

  /**
   * Takes in what is wanted of an entry, from its event `first` on, up to the first event that finds no room or fails: as a
   * `FeedVisitor` says it.
   */
  add(entry: FeedEntry, first = 0): false | number | undefined {
    if (this.isFull) return false;
    // Each event of a long entry is measured, so that it can be given out in parts.
    const isLong = entry.storedBytes > pageBytesMax;
    const events: WireFeedEvent[] = [];
    let end: number | undefined;
    let next = first;
    try {
      for (; next < entry.count; next++) {
        if (!entry.wanted(next)) continue;
        if (this.isFull) {
          end = next;
          break;
        }
        const payload = entry.payload(next);
        if (isLong) this.#bytes += encodeValue(payload).length;
        events.push([next, entry.type(next), entry.schemaVersion(next), payload]);
        this.#events++;
        this.#bytes += eventBytes;
      }
    } catch (thrown) {
      this.failure = thrown;
      end = next;
    }
    if (!isLong) this.#bytes += entry.storedBytes;
    if (events.length > 0) this.#entries.push(wireEntry(entry, events));
    return end;
  }

  /**
   * The page as msgpack, up to a place in the feed, behind whatever is to stand at its head; undefined when it does not fit
   * into a frame, because an upcaster has made much of little.
   */
  encode({ record, skip }: FeedPosition, head: readonly number[] = []): Uint8Array | undefined {
    const page: WireFeedPage = [record, skip, this.#entries];
    const bytes = encodeValue([...head, ...page]);
    this.#encodedBytes = bytes.length;
    // The next value that is encoded takes its place.
    return bytes.length <= bodyBytesMax ? bytes.slice() : undefined;
  }

  /** Of a page whose one event does not fit. */
  tooLarge(): HeddleError {
    return new HeddleError("FRAME_TOO_LARGE", { bytes: this.#encodedBytes, bytesMax: bodyBytesMax });
  }
}

function wireEntry(entry: FeedEntry, events: readonly WireFeedEvent[]): WireFeedEntry {
  const { record, at, position, entity, aggregate, firstSeq, time, id, metadata } = entry;
  return [record, at, position, entity, aggregate, firstSeq, time, id ?? null, metadata, events];
}
