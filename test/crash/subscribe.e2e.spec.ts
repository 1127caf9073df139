// Goal: whoever follows an entity sees what its history is, each event once and in order, while the node is killed and comes
// back and others go on writing (P5). What was acknowledged is in it (P2).
//
// Method: a node in a process of its own, killed at any moment; readers over TCP, a WebSocket and server-sent events, who
// know nothing of it.
import fs from "node:fs";
import path from "node:path";
import { committed, Heddle } from "@heddle/client";
import { describe, expect, it } from "vitest";
import type bank from "../../apps/examples/bank/index.ts";
import { freePort } from "../../infra/servers/index.ts";
import { newFolder } from "../support/node.ts";
import { NodeProcess } from "./node-process.ts";

const ids = ["account/a", "account/b", "account/c", "account/d"];
const kills = 3;
const appendsBetween = 60;

describe("subscriptions to an entity, and kill -9", () => {
  it("P5: see every event of the history once, over every way, whatever moment the node dies at", async () => {
    const folder = newFolder();
    const port = await freePort();
    const start = () => new NodeProcess({ data: path.join(folder, "data"), port, shards: 2, threads: 2 });
    let node = start();
    expect(await node.settled).toBe("ready");
    // The node may be killed before all of them have their first connection.
    const options = { reconnectDelayMaxMs: 50, connectTimeoutMs: 600_000 };
    const ways = [new Heddle<typeof bank>(`heddle://127.0.0.1:${port}`, options)];
    ways.push(new Heddle<typeof bank>(`ws://127.0.0.1:${port}`, options));
    const writer = new Heddle<typeof bank>(`heddle://127.0.0.1:${port}`, options);
    const ending = new AbortController();
    const seen = new Map<string, number[]>();
    const readers = ids.flatMap((id) => {
      const streamed: number[] = [];
      seen.set(`SSE ${id}`, streamed);
      return [
        ...ways.map(async (db, way) => {
          const seqs: number[] = [];
          seen.set(`${way} ${id}`, seqs);
          for await (const { seq } of db.entity(id).subscribe("Account", { signal: ending.signal })) seqs.push(seq);
        }),
        followStream(port, id, streamed, ending.signal),
      ];
    });
    const ended = Promise.allSettled(readers);
    const acknowledged = new Map<string, number>(ids.map((id) => [id, 0]));
    for (let round = 0; round <= kills; round++) {
      let done = 0;
      const writers = ids.map(async (id) => {
        for (; done < appendsBetween; done++) {
          const { seq } = committed(await writer.entity(id).append("Credited", { amount: 1 }));
          acknowledged.set(id, seq);
          if (done === appendsBetween / 2 && round < kills) node.kill();
        }
      });
      if (round < kills) {
        await node.exited;
        node = start();
        expect(await node.settled).toBe("ready");
      }
      await Promise.all(writers);
    }
    for (const id of ids) {
      const history = await writer.entity(id).history({ limit: 10_000 });
      const seqs = history.map(({ seq }) => seq);
      expect(seqs.length).toBeGreaterThanOrEqual(acknowledged.get(id)!);
      for (const way of ["0", "1", "SSE"]) {
        const reader = seen.get(`${way} ${id}`)!;
        while (reader.length < seqs.length) await new Promise((resolve) => setImmediate(resolve));
        expect(reader, `${way} ${id}`).toEqual(seqs);
      }
    }
    ending.abort();
    await ended;
    for (const db of [...ways, writer]) await db.close();
    await node.close();
    fs.rmSync(folder, { recursive: true, force: true });
  });
});

/** As a browser's EventSource does it: comes again, and says how far it got. */
async function followStream(port: number, id: string, seqs: number[], signal: AbortSignal): Promise<void> {
  let last = "";
  while (!signal.aborted) {
    try {
      const headers = last === "" ? {} : { "last-event-id": last };
      const response = await fetch(`http://127.0.0.1:${port}/v1/entities/${id}/stream?aggregate=Account`, {
        headers,
        signal,
      });
      expect(response.status).toBe(200);
      let text = "";
      for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
        text += chunk;
        const messages = text.split("\n\n");
        text = messages.pop()!;
        for (const message of messages) {
          const given = /^id: (.*)$/m.exec(message)?.[1];
          const data = /^data: (.*)$/m.exec(message)?.[1];
          if (data !== undefined && !message.includes("event: error"))
            seqs.push((JSON.parse(data) as { seq: number }).seq);
          last = given ?? last;
        }
      }
    } catch {
      // The node is away; it is asked again.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
