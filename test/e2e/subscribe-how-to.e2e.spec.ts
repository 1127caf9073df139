// Goal: what docs/how-to/subscribe-to-events.md shows does what it says.
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { committed, Heddle } from "@heddle/client";
import { describe, expect, it } from "vitest";
import type bank from "../../apps/examples/bank/index.ts";
import { repository } from "../support/how-to-page.ts";
import { startTestNode } from "../support/node.ts";
import { countTurnover, followAccount, mailStatements } from "./follow-accounts.ts";

const page = fs.readFileSync(path.join(repository, "docs/how-to/subscribe-to-events.md"), "utf8");

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

/** A place to remember something in. */
function memory<T>(first: T) {
  let kept = first;
  return {
    load: async () => kept,
    save: async (value: T) => {
      kept = value;
    },
    kept: () => kept,
  };
}

describe("how to subscribe to events", () => {
  it("one entity: the loop gives what there is and what comes, and ends when it is left", async () => {
    await using node = await startTestNode({ shards: 2 });
    await using db = new Heddle<typeof bank>({ port: node.port });
    const alice = db.entity("account/alice");
    committed(await alice.append("Credited", { amount: 5_000 }));
    const lines: string[] = [];
    const followed = followAccount(db, "account/alice", (line) => lines.push(line));
    committed(await alice.append("Debited", { amount: 700 }));
    committed(await alice.append("Debited", { amount: 4_300 }));
    await followed;
    expect(lines).toEqual(["1: Credited 5000, 5000 left", "2: Debited 700, 4300 left", "3: Debited 4300, 0 left"]);
  });

  it("one entity, from where it was: nothing is mailed twice, nothing is left out", async () => {
    await using node = await startTestNode({ shards: 2 });
    await using db = new Heddle<typeof bank>({ port: node.port });
    const alice = db.entity("account/alice");
    const [mails, done] = [[] as string[], memory(0)];
    for (let life = 0; life < 3; life++) {
      const stop = new AbortController();
      const mail = async (line: string) => void mails.push(line);
      const mailing = mailStatements(db, "account/alice", mail, done, stop.signal);
      const { seq } = committed(await alice.append("Credited", { amount: life + 1 }));
      await until(() => done.kept() === seq);
      stop.abort(new Error("the end"));
      await expect(mailing).rejects.toThrowError("the end");
    }
    expect(mails).toEqual(["Credited 1", "Credited 2", "Credited 3"]);
  });

  it("all entities, from a cursor", async () => {
    await using node = await startTestNode({ shards: 2 });
    await using db = new Heddle<typeof bank>({ port: node.port });
    let [turnover, wanted] = [0, 0];
    const place = memory<string | undefined>(undefined);
    for (let life = 1; life <= 3; life++) {
      const stop = new AbortController();
      const counting = countTurnover(db, (amount) => (turnover += amount), place, stop.signal);
      for (let i = 1; i <= 10; i++) {
        committed(await db.entity(`account/${i}`).append("Credited", { amount: i * life }));
        wanted += i * life;
      }
      await until(() => turnover >= wanted);
      stop.abort(new Error("the end"));
      await expect(counting).rejects.toThrowError("the end");
    }
    expect(turnover).toBe(wanted);
  });

  it("server-sent events with curl print what the page shows", async () => {
    await using node = await startTestNode({ shards: 1 });
    await using db = new Heddle<typeof bank>({ port: node.port });
    committed(await db.entity("account/alice").append("Credited", { amount: 5_000 }));
    const [, command = "", prints = ""] = /```sh\n(curl -N [^\n]+)\n```\n```text\n([\s\S]*?)```/.exec(page) ?? [];
    const curl = spawn("sh", ["-c", `exec ${command.replace("localhost:9090", `127.0.0.1:${node.port}`)}`], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    let out = "";
    curl.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
    await until(() => out.includes("\n\n"));
    const settled = (text: string) =>
      text.replaceAll(/"time":\d+/g, '"time":0').replaceAll(/"position":\d+/g, '"position":0');
    expect(settled(out).trimEnd()).toBe(settled(prints).trimEnd());
    const ended = new Promise((resolve) => curl.on("close", resolve));
    curl.kill();
    await ended;
  });
});
