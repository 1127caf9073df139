// The HTTP+JSON floor: node:http, JSON.parse, fold, one append to a file and one fdatasync for each request.
//
// One thread, no framework, no check of anything. It answers the broker's requests as a node does.
import fs from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import type { Floor } from "./binary-floor.ts";
import { FloorCounters } from "./counters.ts";
import { type FloorEvent, FloorStates, floorFold } from "./frames.ts";

export async function startHttpFloor(file: string, durability: "fsync" | "os"): Promise<Floor> {
  const counters = new FloorCounters();
  const descriptor = fs.openSync(file, "w");
  const states = new FloorStates();
  const server = http.createServer((request, reply) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const body = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
      const { items } = JSON.parse(body.toString()) as { items: readonly (FloorEvent & { entity: string })[] };
      const results = new Array<string>(items.length);
      for (let i = 0; i < items.length; i++) {
        const { entity, type, payload } = items[i]!;
        const state = states.of(entity);
        floorFold[type](state, payload);
        const seq = ++state.seq;
        results[i] = `{"ok":true,"seq":${seq},"firstSeq":${seq},"count":1,"duplicate":false}`;
      }
      const text = `{"results":[${results.join(",")}]}`;
      fs.writeSync(descriptor, body);
      const durable = (error: Error | null) => {
        if (error !== null) throw error;
        counters.countGroup(items.length, body.length);
        reply.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
        reply.end(text);
      };
      if (durability === "fsync") fs.fdatasync(descriptor, durable);
      else setImmediate(durable, null);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    counters,
    async close() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      fs.closeSync(descriptor);
    },
  };
}
