// door: lets a node that listens on loopback only be reached from outside its container: `node door.ts FROM TO`.
//
// A node without tokens and TLS refuses every address but loopback, and inside a container nobody else reaches that. This
// passes bytes on from one address to the other; who may reach the first is up to whoever publishes its port, and
// infra/compose publishes it on the host's loopback.
import net from "node:net";
import { fileURLToPath } from "node:url";

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Reads `host:port`. Errors: throws when it is not that. */
export function addressOf(text: string | undefined): Address {
  const [, host, port] = /^(.+):(\d{1,5})$/.exec(text ?? "") ?? [];
  if (host === undefined || Number(port) > 65_535)
    throw new Error(`wanted an address such as 127.0.0.1:9090, not ${text}`);
  return { host, port: Number(port) };
}

/** A door from one address to another; resolves when it is open. */
export function openDoor(from: Address, to: Address): Promise<net.Server> {
  // Half-open, so that an end in one direction passes as that and no more.
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (outside) => {
    const inside = net.connect({ ...to, allowHalfOpen: true, noDelay: true });
    const breakBoth = () => {
      outside.destroy();
      inside.destroy();
    };
    outside.on("error", breakBoth);
    inside.on("error", breakBoth);
    outside.pipe(inside);
    inside.pipe(outside);
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(from, () => resolve(server));
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [from, to] = process.argv.slice(2).map(addressOf);
  if (from === undefined || to === undefined) throw new Error("usage: node door.ts FROM TO");
  await openDoor(from, to);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(0));
}
