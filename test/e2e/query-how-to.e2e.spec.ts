// Goal: what docs/how-to/query-your-data.md shows does what it says.
import fs from "node:fs";
import { fileURLToPath } from "node:url";
import { committed, Heddle } from "@heddle/client";
import { describe, expect, it } from "vitest";
import { runPage } from "../support/how-to-page.ts";
import { newFolder, startTestNode } from "../support/node.ts";
import { payIn, richest } from "./ask-accounts.ts";
import type bank from "./booked-bank.ts";

const domain = fileURLToPath(new URL("./booked-bank.ts", import.meta.url));

describe("how to query your data", () => {
  it("the functions that ask give what was written", async () => {
    await using node = await startTestNode({ domain, shards: 2 });
    await using db = new Heddle<typeof bank>({ port: node.port });
    expect(await payIn(db, "account/alice", 500)).toBe(500);
    expect(await payIn(db, "account/bob", 80)).toBe(80);
    expect(await payIn(db, "account/alice", 20)).toBe(520);
    expect(await richest(db, 100, 10)).toEqual([{ account: "account/alice", balance: 520 }]);
  });

  it("the commands print what stands behind them", async () => {
    await using node = await startTestNode({ domain, shards: 1 });
    await using db = new Heddle(node.url);
    let after = { shard: 0, position: 0 };
    for (const [entity, amount] of [
      ["account/alice", 5_000],
      ["account/bob", 800],
      ["account/carol", 13],
    ] as const)
      after = committed(await db.entity(entity).append("Credited", { amount }, { aggregate: "Account" }));
    await db.query("select 1 as n from accounts, bookings", [], { after });
    const folder = newFolder();
    try {
      await runPage("query-your-data.md", folder, node.url);
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
  });
});
