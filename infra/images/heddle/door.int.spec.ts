// Goal: the door passes everything on, in both directions, and ends when one side does.
import { once } from "node:events";
import net from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, describe, expect, it } from "vitest";
import { addressOf, openDoor } from "./door.ts";

const open: net.Server[] = [];
afterEach(() => {
  for (const server of open.splice(0)) server.close();
});

const anyPort = { host: "127.0.0.1", port: 0 };
const portOf = (server: net.Server) => (server.address() as net.AddressInfo).port;

async function doorTo(handle: (socket: net.Socket) => void): Promise<number> {
  const inside = net.createServer({ allowHalfOpen: true }, handle).listen(anyPort);
  await once(inside, "listening");
  const door = await openDoor(anyPort, { host: "127.0.0.1", port: portOf(inside) });
  open.push(inside, door);
  return portOf(door);
}

describe("door", () => {
  it("passes bytes on in both directions, also after one of them has ended", async () => {
    const port = await doorTo((socket) => {
      let said = "";
      socket.setEncoding("utf8").on("data", (part: string) => {
        said += part;
      });
      socket.once("end", () => socket.end(`${said.length} ${said.slice(0, 4)}`));
    });
    const socket = net.connect({ port, allowHalfOpen: true });
    socket.end("woof".repeat(100_000));
    expect(await text(socket)).toBe("400000 woof");
  });

  it("ends the outer side when the inner one breaks", async () => {
    const port = await doorTo((socket) => socket.resetAndDestroy());
    const socket = net.connect({ port });
    socket.on("error", () => undefined);
    await once(socket, "close");
  });

  it("ends the outer side when nobody listens inside", async () => {
    const gone = net.createServer().listen(anyPort);
    await once(gone, "listening");
    const port = portOf(gone);
    gone.close();
    const door = await openDoor(anyPort, { host: "127.0.0.1", port });
    open.push(door);
    const socket = net.connect({ port: portOf(door) });
    socket.on("error", () => undefined);
    await once(socket, "close");
  });

  it.each(["9090", "127.0.0.1", "127.0.0.1:99999", "", undefined])("is refused an address like %s", (address) => {
    expect(() => addressOf(address)).toThrow("wanted an address");
  });
});
