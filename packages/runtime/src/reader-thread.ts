// ReaderThread: what the entries of all threads share that read beside the shards: they are handed frames, post replies, answer
// the node's own questions, tick, and end in order when told to.
//
// A fault that nobody caught ends the thread at once: what it keeps durably is always whole, and it is started again.
import { monitorEventLoopDelay } from "node:perf_hooks";
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import type { CompiledContext } from "@heddle/domain/internal";
import { DurableEnds } from "@heddle/feed/internal";
import { HeddleError } from "@heddle/kernel";
import { toWireError } from "@heddle/kernel/internal";
import { encodeErrorReply, requestCall } from "@heddle/protocol/internal";
import { type CrashPoint, CrashPoints } from "./crash-points.ts";
import { delayResolutionMs, eventLoopDelay } from "./event-loop-delay.ts";
import { loadDomain } from "./load-domain.ts";
import {
  type FromAnyThread,
  type FromReader,
  type ReaderStart,
  type ReaderStats,
  ReplyBatch,
  type ToAnyThread,
  type ToReader,
  visitRequests,
} from "./thread-messages.ts";

export interface ReaderContext<Settings> {
  readonly start: ReaderStart<Settings>;
  readonly domain: CompiledContext;
  readonly ends: DurableEnds;
  /** Takes one reply to each frame, with the frame's bytes as the credit that it gives back. */
  readonly replies: ReplyBatch;
  readonly report: (level: "info" | "warn" | "error", message: string, facts: Record<string, unknown>) => void;
  readonly crashPoint: CrashPoint;
}

/** One kind of reader. */
export interface Reader<Stats> {
  /**
   * Takes a frame, `bytes[from, to)`, which stays as it is, and sees to it that one reply is given to it. What it throws is the
   * reply.
   */
  receive(connection: number, shard: number, bytes: Uint8Array, from: number, to: number): void;
  /** Nobody waits for replies over this connection any more. */
  connectionClosed(connection: number): void;
  /** A question of the node itself, in plain data. What it rejects with is the answer. */
  ask(question: unknown): Promise<unknown>;
  /** Four times a second. */
  tick(): void;
  stats(): Stats;
  /** Ends what is under way, in order, and answers what still waits. */
  close(): Promise<void>;
}

const tickMs = 250;

/** No reader calls another thread, or is called by one. */
const noInnerCalls = { connection: -1, deliver: () => {}, reply: () => {} };

/** To be called once by the thread's entry. */
export async function runReaderThread<Settings, Stats>(
  open: (context: ReaderContext<Settings>) => Reader<Stats> | Promise<Reader<Stats>>,
): Promise<void> {
  const port = parentPort as MessagePort;
  const start = workerData as ReaderStart<Settings>;
  const say = (message: FromAnyThread<ReaderStats<Stats>> | FromReader) => port.postMessage(message);
  const report: ReaderContext<Settings>["report"] = (level, message, facts) => {
    say({ kind: "report", level, message, facts });
  };
  const replies = new ReplyBatch((packed) => port.postMessage(packed, [packed.buffer]), noInnerCalls);
  const crashPoints = new CrashPoints(start.crashAt);
  const delays = monitorEventLoopDelay({ resolution: delayResolutionMs });
  let reader: Reader<Stats>;
  try {
    const domain = await loadDomain(start.domain);
    const ends = new DurableEnds(start.ends);
    reader = await open({ start, domain, ends, replies, report, crashPoint: crashPoints.pass });
  } catch (thrown) {
    say({ kind: "failed", error: toWireError(asHeddleError(thrown)) });
    port.close();
    return;
  }
  delays.enable();
  const ticker = setInterval(() => reader.tick(), tickMs);
  process.on("uncaughtException", (error) => {
    report("error", "a thread of readers ends after a fault", { error: String(error.stack) });
    process.exit(1);
  });

  const onFrames = (packed: Uint8Array) => {
    visitRequests(packed, (connection, shard, from, to) => {
      try {
        reader.receive(connection, shard, packed, from, to);
      } catch (thrown) {
        if (!(thrown instanceof HeddleError)) throw thrown;
        replies.frame(connection, to - from, encodeErrorReply(requestCall(packed, from), thrown));
      }
    });
  };
  const onMessage = (message: ToAnyThread | ToReader) => {
    switch (message.kind) {
      case "connection-closed":
        reader.connectionClosed(message.connection);
        // What it answered gives the credit of those requests back.
        replies.flush();
        replies.forget(message.connection);
        return;
      case "ask":
        void answer(reader, message).then(say);
        return;
      case "stats":
        say({
          kind: "stats",
          id: message.id,
          stats: { reader: reader.stats(), eventLoopDelayMs: eventLoopDelay(delays) },
        });
        return;
      case "crash-at":
        crashPoints.killAt(message.crashAt);
        return;
      case "fail":
        throw new Error("told to fail");
      case "stop":
        clearInterval(ticker);
        void reader.close().finally(() => {
          replies.flush();
          say({ kind: "stopped" });
          port.close();
          delays.disable();
        });
    }
  };
  port.on("message", (message: ToAnyThread | ToReader | Uint8Array) => {
    if (message instanceof Uint8Array) onFrames(message);
    else onMessage(message);
  });
  say({ kind: "ready" });
}

async function answer(reader: Reader<unknown>, { id, question }: ToReader): Promise<FromReader> {
  try {
    return { kind: "answer", id, answer: await reader.ask(question) };
  } catch (thrown) {
    return { kind: "answer", id, error: toWireError(asHeddleError(thrown)) };
  }
}

function asHeddleError(thrown: unknown): HeddleError {
  if (thrown instanceof HeddleError) return thrown;
  const reason = String((thrown as Error)?.stack ?? thrown);
  return new HeddleError("SHARD_STOPPED", { shard: 0, reason });
}
