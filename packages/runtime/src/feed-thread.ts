// The entry of the feed thread: answers questions for events over all entities, out of the files of the logs, looks after
// consumer groups, and publishes the logs to NATS where the node is told to.
import fs from "node:fs";
import { nodeDisk } from "@heddle/event-log/internal";
import { FeedServer, GroupCoordinator, LogFeed, ReaderGroupStore, ReaderState } from "@heddle/feed/internal";
import { HeddleError, systemClock } from "@heddle/kernel";
import { frameOffset, requestKind } from "@heddle/protocol/internal";
import { logFolderOf } from "./data-folder.ts";
import { answerErasure, isErasureAsk } from "./erasure-messages.ts";
import type { FeedSettings, FeedStats } from "./feed-link.ts";
import { NatsPublishing } from "./nats-publishing.ts";
import { runReaderThread } from "./reader-thread.ts";

await runReaderThread<FeedSettings, FeedStats>(async ({ start, domain, ends, replies, report, crashPoint }) => {
  const { nats } = start.settings;
  const folders = Array.from({ length: start.shardCount }, (_, shard) => logFolderOf(start.data, shard));
  const source = new LogFeed({ disk: nodeDisk, folders, ends });
  const ports = {
    source,
    domain,
    clock: systemClock,
    reply: (connection: number, requestBytes: number, frame: Uint8Array) => {
      replies.frame(connection, requestBytes, frame);
    },
    schedule: (task: () => void) => void setImmediate(task),
  };
  const server = new FeedServer(ports);
  let state: ReaderState | undefined;
  let groups: GroupCoordinator | undefined;
  // Made when they are needed: most nodes have no groups.
  const theGroups = () => {
    state ??= ReaderState.open(start.settings.state);
    groups ??= new GroupCoordinator({ ...ports, store: new ReaderGroupStore(state, start.shardCount) });
    return groups;
  };
  if (fs.existsSync(start.settings.state)) theGroups();
  let publishing: NatsPublishing | undefined;
  // Reads on its own, so that its long runs of records do not take turns with pages for others.
  const published = new LogFeed({ disk: nodeDisk, folders, ends });
  if (nats !== undefined) {
    state ??= ReaderState.open(start.settings.state);
    publishing = await NatsPublishing.start({ nats, domain, source: published, state, report, crashPoint });
  }
  return {
    receive(connection, shard, bytes, from, to) {
      const kind = bytes[from + frameOffset.kind];
      switch (kind) {
        case requestKind.feed:
          return server.receive(connection, shard, bytes, from, to);
        case requestKind.unfeed:
          return server.forget(connection, bytes, from, to);
        case requestKind.groupPoll:
          return theGroups().poll(connection, bytes, from, to);
        case requestKind.groupList:
          return theGroups().list(connection, bytes, from, to);
        case requestKind.groupForget:
          return theGroups().forget(connection, bytes, from, to);
        default:
          throw new HeddleError("BAD_FRAME", { problem: `a request of an unknown kind, ${kind}` });
      }
    },
    connectionClosed(connection) {
      server.connectionClosed(connection);
      groups?.connectionClosed(connection);
    },
    async ask(question) {
      if (isErasureAsk(question) && publishing !== undefined) return answerErasure(question, publishing);
      throw new Error("the feed thread was asked something that it does not know");
    },
    tick() {
      server.tick();
      groups?.tick();
    },
    stats: () => ({
      ...server.stats(),
      groups: groups?.stats() ?? [],
      ...(publishing === undefined ? {} : { nats: publishing.figures }),
    }),
    async close() {
      server.close();
      groups?.close();
      ends.wake();
      await publishing?.stop();
      published.close();
      state?.close();
      source.close();
    },
  };
});
