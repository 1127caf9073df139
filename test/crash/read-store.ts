// What a store contains, read in three ways: from the files, over the SDK, over HTTP.
import fs from "node:fs";
import path from "node:path";
import { Heddle } from "@heddle/client";
import { besideFlags, LogReader, nodeDisk } from "@heddle/event-log/internal";
import { decodeValue, newAppendView, readAppendBody, TextCache } from "@heddle/protocol/internal";
import { logFolderOf } from "@heddle/runtime/internal";
import type bank from "@heddle-examples/bank";
import type { StoredEntity, StoredEvent } from "./checker.ts";
import { getOverHttp } from "./http-account.ts";

/**
 * Everything in the logs of a data folder that no process has open. A group that was under way when the process died may
 * be incomplete at the very end; it is left out, as recovery will. Errors: `LOG_DAMAGED`.
 */
export function readFiles(data: string, shardCount: number): StoredEntity[] {
  const store: StoredEntity[] = [];
  for (let shard = 0; shard < shardCount; shard++) {
    const entities = new Map<string, StoredEvent[]>();
    const folder = logFolderOf(data, shard);
    if (!fs.existsSync(folder)) continue;
    const reader = new LogReader(nodeDisk, folder);
    const texts = new TextCache();
    const view = newAppendView();
    reader.scan(0, (entry) => {
      if ((entry.flags & besideFlags) !== 0) return;
      readAppendBody(entry.bytes, entry.bodyFrom, entry.bodyTo, texts, view);
      const payloads = decodeValue(entry.bytes.subarray(view.payloadsFrom, view.end)) as unknown[];
      const events = entities.get(view.entity) ?? [];
      entities.set(view.entity, events);
      for (const [index, payload] of payloads.entries()) {
        events.push({
          seq: entry.firstSeq + index,
          time: entry.time,
          aggregate: view.aggregate,
          type: view.types[view.typeIndexes === 0 ? 0 : entry.bytes[view.typeIndexes + index]!]!,
          payload,
          id: view.id === "" ? undefined : view.id,
          position: entry.position,
        });
      }
    });
    reader.close();
    for (const [entity, events] of entities) store.push({ entity, shard, events, state: undefined });
  }
  return store;
}

/** Segment files in a data folder. */
export function countSegments(data: string, shardCount: number): number {
  let count = 0;
  for (let shard = 0; shard < shardCount; shard++) {
    const folder = logFolderOf(data, shard);
    if (fs.existsSync(folder)) count += fs.readdirSync(folder).filter((name) => name.endsWith(".log")).length;
  }
  return count;
}

/** Every file below a folder with its bytes, for telling whether anything changed. */
export function readBytes(folder: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const entry of fs.readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name);
    files.set(file, entry.isFile() ? fs.readFileSync(file).toString("base64") : "no file");
  }
  return files;
}

/** Histories, page by page, and states as a node gives them. */
export async function readOverSdk(port: number, entities: readonly string[]): Promise<StoredEntity[]> {
  await using db = new Heddle<typeof bank>({ host: "127.0.0.1", port });
  return await readEach(entities, async (id) => {
    const entity = db.entity(id);
    const events: StoredEvent[] = [];
    for await (const event of entity.events({ pageEvents: 500 })) events.push({ ...event, id: event.id });
    const { state, seq } = await entity.get("Account");
    return { entity: id, shard: undefined, events, state: { balance: state.balance, seq } };
  });
}

/** The same over HTTP. */
export async function readOverHttp(port: number, entities: readonly string[]): Promise<StoredEntity[]> {
  const origin = `http://127.0.0.1:${port}`;
  return readEach(entities, async (entity) => {
    const events: StoredEvent[] = [];
    for (let from: number | undefined = 1; from !== undefined; ) {
      const page = await getOverHttp(origin, `/v1/entities/${entity}/history?limit=500&from=${from}`);
      const { events: found, next } = JSON.parse(page) as { events: StoredEvent[]; next?: number };
      events.push(...found);
      from = next;
    }
    const text = await getOverHttp(origin, `/v1/entities/${entity}?aggregate=Account`);
    const { state, seq } = JSON.parse(text) as { state: { balance: number }; seq: number };
    return { entity, shard: undefined, events, state: { balance: state.balance, seq } };
  });
}

/** A few at a time: histories are as long as the run was. */
async function readEach(
  entities: readonly string[],
  read: (entity: string) => Promise<StoredEntity>,
): Promise<StoredEntity[]> {
  const store: StoredEntity[] = [];
  const left = [...entities];
  const readers = Array.from({ length: 8 }, async () => {
    for (let entity = left.pop(); entity !== undefined; entity = left.pop()) store.push(await read(entity));
  });
  await Promise.all(readers);
  return store;
}
