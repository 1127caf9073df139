// startNats: a NATS server with JetStream that writes through to the disk before it acknowledges.
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { obtain } from "./obtain.ts";
import { type RunningServer, type StartOptions, startServer } from "./server-process.ts";
import { natsConfig } from "./settings.ts";

export interface NatsOptions extends StartOptions {
  readonly user?: string;
  readonly password?: string;
  readonly token?: string;
  /** Default: true. Without it the server only passes messages on. */
  readonly jetstream?: boolean;
  /** All streams on disk together; beyond it JetStream refuses to store. */
  readonly maxStoreBytes?: number;
  readonly maxPayloadBytes?: number;
}

export async function startNats(options: NatsOptions = {}): Promise<RunningServer> {
  const file = await obtain("nats");
  const { folder: _, port: __, ...settings } = options;
  let serverName = "";
  return startServer(
    {
      name: "nats",
      url: (port) => `nats://127.0.0.1:${port}`,
      prepare: ({ port, folder }) => {
        serverName = `heddle-${port}-${process.pid}`;
        const config = path.join(folder, "nats.conf");
        const storeFolder = path.join(folder, "store");
        fs.writeFileSync(config, natsConfig({ ...settings, host: "127.0.0.1", port, storeFolder, serverName }));
        return { file, args: ["--config", config] };
      },
      probe: async (port) => {
        const info = await greetingOf(port);
        if (info.server_name !== serverName) throw new Error(`another server, ${info.server_name}, has port ${port}`);
        if (options.jetstream !== false && info.jetstream !== true) throw new Error("JetStream is not up");
        return info.version;
      },
    },
    options,
  );
}

interface Greeting {
  readonly server_name: string;
  readonly version: string;
  readonly jetstream?: boolean;
}

/** What a NATS server says first on every connection: `INFO {…}`. */
function greetingOf(port: number): Promise<Greeting> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: "127.0.0.1", timeout: 2_000 });
    let text = "";
    socket.setEncoding("utf8");
    socket.on("data", (part: string) => {
      text += part;
      const end = text.indexOf("\r\n");
      if (end < 0) return;
      socket.destroy();
      try {
        resolve(JSON.parse(text.slice("INFO ".length, end)) as Greeting);
      } catch (cause) {
        reject(new Error(`not a NATS server: ${text.slice(0, 80)}`, { cause }));
      }
    });
    socket.once("timeout", () => socket.destroy(new Error("no greeting")));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("closed before the greeting")));
  });
}
