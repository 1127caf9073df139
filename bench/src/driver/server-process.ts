// What every server under load (a floor or a node) says over IPC to the driver that started it.

export interface ServerUsage {
  /** Of the whole process, all threads, since its start. */
  readonly cpuMs: number;
  readonly rssBytes: number;
  readonly rssMaxBytes: number;
  /** Groups made durable; in mode `fsync` each is one sync. */
  readonly groups: number;
  readonly events: number;
  readonly logBytes: number;
  /** Entities woken since the start; 0 for a server that knows none. */
  readonly activations: number;
}

export type ServerOrder = { readonly kind: "usage" } | { readonly kind: "close" };

export type ServerMessage =
  | { readonly kind: "ready"; readonly port: number; readonly shards: number; readonly threads: number }
  | { readonly kind: "usage"; readonly usage: ServerUsage }
  | { readonly kind: "closed" };

export interface Served {
  readonly port: number;
  /** 0 for a server that has none. */
  readonly shards: number;
  /** That fold and write, besides the listener's. */
  readonly threads: number;
  counts(): Promise<Pick<ServerUsage, "groups" | "events" | "logBytes" | "activations">>;
  close(): Promise<void>;
}

/** Runs a server until the driver says close, or is gone. */
export async function serve(start: () => Promise<Served>): Promise<void> {
  const served = await start();
  const tell = (message: ServerMessage) => process.send!(message);
  process.on("message", async (order: ServerOrder) => {
    if (order.kind === "usage") {
      const { user, system } = process.cpuUsage();
      tell({
        kind: "usage",
        usage: {
          cpuMs: Math.round((user + system) / 1000),
          rssBytes: process.memoryUsage.rss(),
          rssMaxBytes: process.resourceUsage().maxRSS * 1024,
          ...(await served.counts()),
        },
      });
      return;
    }
    await served.close();
    process.send!({ kind: "closed" } satisfies ServerMessage, () => process.exit(0));
  });
  process.on("disconnect", () => process.exit(1));
  const { port, shards, threads } = served;
  tell({ kind: "ready", port, shards, threads });
}
