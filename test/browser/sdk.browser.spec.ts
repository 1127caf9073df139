// Goal: the SDK in a browser does what it does elsewhere, over a WebSocket: it writes, reads, follows, and comes back when
// the node does. And server-sent events with the browser's own EventSource.
// Method: a real node, a page of a web application from a server of its own, headless Chromium.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { committed, Heddle } from "@heddle/client";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type bank from "../../apps/examples/bank/index.ts";
import { freePort } from "../../infra/servers/index.ts";
import { findChromium } from "../../infra/setup/browser.ts";
import { bundleForBrowser } from "../support/browser-bundle.ts";
import { newFolder, startTestNode, type TestNode } from "../support/node.ts";

const html = `<!doctype html><title>a web application</title>
<script type="module">import * as client from "/client.js"; self.client = client;</script>`;

/** Of whatever has to come first: a browser, a page, a connection. */
const patienceMs = 120_000;

let app: Server;
let origin: string;
let browser: Browser;

beforeAll(async () => {
  const { code } = await bundleForBrowser();
  app = createServer((request, response) => {
    const isScript = request.url === "/client.js";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? code : html);
  });
  await new Promise<void>((resolve) => app.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(app.address() as AddressInfo).port}`;
  // In a container the memory that processes share is small, and Chromium ends in the midst of something.
  const args = ["--no-sandbox", "--disable-dev-shm-usage"];
  browser = await chromium.launch({ executablePath: findChromium()!, args, timeout: patienceMs });
});
afterAll(async () => {
  await browser?.close();
  app?.close();
});

type Client = typeof import("@heddle/client");
/** What stands in the page. */
declare const self: {
  client: Client;
  db: InstanceType<Client["Heddle"]>;
  seen: number[];
  told: unknown[];
  source: { close(): void };
};

let data: string;
let port: number;
let node: TestNode;
let page: Page;

beforeEach(async () => {
  data = path.join(newFolder(), "data");
  port = await freePort();
  node = await start();
  page = await browser.newPage();
  page.setDefaultTimeout(patienceMs);
  return async () => {
    await page.close();
    await node.close();
  };
});

function start(): Promise<TestNode> {
  return startTestNode({ data, port, shards: 2, origins: [origin] });
}

/** Opens the application's page, with a client in it. */
async function open(url = `ws://127.0.0.1:${port}`, connectTimeoutMs = patienceMs): Promise<void> {
  await page.goto(origin);
  await page.evaluate(
    ([url, connectTimeoutMs]) => {
      self.db = new self.client.Heddle({ url, reconnectDelayMaxMs: 50, connectTimeoutMs });
      self.seen = [];
    },
    [url, connectTimeoutMs] as const,
  );
}

const seen = () => page.evaluate(() => self.seen);

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve));
}

describe("the SDK in a browser", () => {
  it("writes and reads, and sees what others write", async () => {
    await open();
    const told = await page.evaluate(async () => {
      const alice = self.db.entity("account/alice");
      const options = { aggregate: "Account" };
      const receipt = await alice.append(
        "Credited",
        { amount: 5_000 },
        { ...options, id: "first", metadata: { by: "ä" } },
      );
      const again = await alice.append(
        "Credited",
        { amount: 5_000 },
        { ...options, id: "first", metadata: { by: "ä" } },
      );
      const refused = await alice.execute("Withdraw", { amount: 6_000 }, options);
      const many = await Promise.all(
        Array.from({ length: 500 }, (_, i) =>
          self.db.entity(`account/${i}`).append("Credited", { amount: i + 1 }, options),
        ),
      );
      return {
        receipt,
        again,
        refused,
        many: many.filter((one) => one.ok).length,
        state: await alice.get("Account"),
        history: await alice.history(),
      };
    });
    expect(told).toMatchObject({
      receipt: { ok: true, seq: 1, duplicate: false },
      again: { ok: true, seq: 1, duplicate: true },
      refused: { ok: false, code: "COMMAND_REJECTED", facts: { reason: "INSUFFICIENT_FUNDS" } },
      many: 500,
      state: { state: { balance: 5_000 }, seq: 1 },
      history: [{ seq: 1, type: "Credited", payload: { amount: 5_000 }, metadata: { by: "ä" } }],
    });
    await using db = new Heddle<typeof bank>({ port });
    expect(await db.entity("account/alice").get()).toEqual({ state: { balance: 5_000 }, seq: 1 });
    committed(await db.entity("account/alice").append("Debited", { amount: 1 }));
    expect(await page.evaluate(() => self.db.entity("account/alice").get("Account"))).toMatchObject({ seq: 2 });
  });

  it("follows an entity, live, and leaves", async () => {
    await open();
    await using db = new Heddle<typeof bank>({ port });
    const alice = db.entity("account/alice");
    for (let i = 1; i <= 3; i++) committed(await alice.append("Credited", { amount: i }));
    await page.evaluate(() => {
      void (async () => {
        for await (const { seq } of self.db.entity("account/alice").subscribe("Account")) {
          self.seen.push(seq);
          if (seq === 6) break;
        }
        self.seen.push(-1);
      })();
    });
    await until(async () => (await seen()).length === 3);
    for (let i = 4; i <= 7; i++) committed(await alice.append("Credited", { amount: i }));
    await until(async () => (await seen()).includes(-1));
    expect(await seen()).toEqual([1, 2, 3, 4, 5, 6, -1]);
  });

  it("follows all entities, from a cursor on", async () => {
    await open();
    await using db = new Heddle<typeof bank>({ port });
    for (let i = 1; i <= 20; i++) committed(await db.entity(`account/${i}`).append("Credited", { amount: i }));
    const first = await page.evaluate(async () => {
      const amounts: number[] = [];
      for await (const { payload, cursor } of self.db.subscribe({ kind: "account" })) {
        amounts.push((payload as { amount: number }).amount);
        if (amounts.length === 15) return { amounts, cursor };
      }
      return undefined;
    });
    const rest = await page.evaluate(async (from) => {
      const amounts: number[] = [];
      for await (const { payload } of self.db.subscribe({ kind: "account", from })) {
        amounts.push((payload as { amount: number }).amount);
        if (amounts.length === 5) break;
      }
      return amounts;
    }, first!.cursor);
    const all = [...first!.amounts, ...rest].sort((a, b) => a - b);
    expect(all).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
  });

  it("carries pages of megabytes both ways", async () => {
    await open();
    const length = await page.evaluate(async () => {
      const alice = self.db.entity("account/alice");
      const reference = "ä".repeat(1 << 20);
      const event = { type: "Credited", payload: { amount: 1, reference } };
      const result = await alice.append([event, event, event], { aggregate: "Account" });
      if (!result.ok) return 0;
      const events = await alice.history();
      return events.reduce((sum, { payload }) => sum + (payload as { reference: string }).reference.length, 0);
    });
    expect(length).toBe(3 << 20);
  });

  it("comes back when the node does: calls are answered, and what it follows has no gap and no double", async () => {
    await open();
    await page.evaluate(() => {
      const alice = self.db.entity("account/alice");
      void (async () => {
        for await (const { seq } of alice.subscribe("Account")) self.seen.push(seq);
      })();
    });
    const append = () =>
      page.evaluate(async () => {
        const result = await self.db
          .entity("account/alice")
          .append("Credited", { amount: 1 }, { aggregate: "Account" });
        return result.ok && result.seq;
      });
    expect(await append()).toBe(1);
    await until(async () => (await seen()).length === 1);
    await node.close();
    const asked = append();
    node = await start();
    expect(await asked).toBe(2);
    expect(await append()).toBe(3);
    await until(async () => (await seen()).length === 3);
    expect(await seen()).toEqual([1, 2, 3]);
  });

  it("is refused in pages of an origin that the node was not told of", async () => {
    await node.close();
    node = await startTestNode({ data, port, shards: 2 });
    await open(undefined, 2_000);
    const code = await page.evaluate(() =>
      self.db.ready().then(
        () => "welcome",
        (error: { code: string }) => error.code,
      ),
    );
    expect(code).toBe("CONNECTION_FAILED");
  });

  it("takes a WebSocket for any address", async () => {
    await open(`heddle://127.0.0.1:${port}/bank`);
    expect(await page.evaluate(() => self.db.ready())).toMatchObject({ context: "bank", shardCount: 2 });
  });
});

describe("an EventSource", () => {
  it("in a page of the node's own follows an entity, and goes on behind its last event when the node comes back", async () => {
    await using db = new Heddle<typeof bank>({ port, reconnectDelayMaxMs: 50 });
    const alice = db.entity("account/alice");
    committed(await alice.append("Credited", { amount: 1 }));
    await page.goto(`http://127.0.0.1:${port}/livez`);
    await page.evaluate(() => {
      self.seen = [];
      const { EventSource } = self as never as {
        EventSource: new (url: string) => EventTarget & { close(): void };
      };
      const source = new EventSource("/v1/entities/account/alice/stream?aggregate=Account");
      source.addEventListener("message", (event) => {
        const { data, lastEventId } = event as never as { data: string; lastEventId: string };
        const { seq } = JSON.parse(data) as { seq: number };
        self.seen.push(lastEventId === String(seq) ? seq : -1);
      });
      self.source = source;
    });
    committed(await alice.append("Credited", { amount: 2 }));
    await until(async () => (await seen()).length === 2);
    await node.close();
    node = await start();
    committed(await alice.append("Credited", { amount: 3 }));
    await until(async () => (await seen()).length === 3);
    expect(await seen()).toEqual([1, 2, 3]);
    await page.evaluate(() => self.source.close());
  });
});
