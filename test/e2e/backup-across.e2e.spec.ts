// Goal: a backup that is made while money moves between shards has no half of a transaction and no half of a saga.
// Method: a real node with four shards on two threads; transfers by transactions and by sagas, many at a time, some refused,
// some turned back. Beside it, in a process of its own, runs of a backup, and cuts whose looks at the shards are far apart. Then a
// node on each restored folder, which finishes what was under way. Every choice of ends, record by record:
// packages/backup/src/consistent-cut.int.spec.ts.
import { execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { committed, Heddle } from "@heddle/client";
import { auditFolder, backUpFolder, restoreFolder } from "@heddle/runtime/internal";
import { pino } from "pino";
import { expect, it } from "vitest";
import { newFolder, startTestNode } from "../support/node.ts";
import type bank from "./closable-bank.ts";

const domain = fileURLToPath(new URL("./closable-bank.ts", import.meta.url));
const backUpBeside = fileURLToPath(new URL("./back-up-beside.ts", import.meta.url));
const shards = 4;
const runs = 3;
const callers = 16;
const accounts = Array.from({ length: 48 }, (_, i) => `account/${i}`);
/** It takes no money, so a transfer to it turns back. */
const closed = "account/closed";
const opening = 200;

interface Transfer {
  readonly from: string;
  readonly to: string;
  readonly amount: number;
}

function transferOf(n: number): Transfer {
  const from = accounts[(n * 7) % accounts.length]!;
  const to = n % 10 === 9 ? closed : accounts[(n * 11 + 5) % accounts.length]!;
  return { from, to: to === from ? accounts[(n * 11 + 6) % accounts.length]! : to, amount: 1 + (n % 90) };
}

/** Transfers, every other one a saga, from many callers until it is told to stop; how many there were. */
async function storm(db: Heddle<typeof bank>, isOver: () => boolean): Promise<number> {
  let next = 0;
  const call = async (): Promise<void> => {
    while (!isOver()) {
      const n = next++;
      const input = transferOf(n);
      const { from, to, amount } = input;
      if (n % 2 === 0) await db.runSaga("transfer", `transfer-${n}`, input);
      else {
        await db.transaction((tx) => {
          tx.execute(from, "Withdraw", { amount });
          tx.execute(to, "Deposit", { amount });
        });
      }
    }
  };
  await Promise.all(Array.from({ length: callers }, call));
  return next;
}

async function total(db: Heddle<typeof bank>): Promise<number> {
  const states = await db.getMany(accounts.map((entity) => ({ entity, aggregate: "Account" as const })));
  return states.reduce((sum, { state }) => sum + state.balance, 0);
}

/** Once the node has finished what was under way: the money, and the lines of its log that tell of errors. */
async function moneyIn(data: string): Promise<{ readonly money: number; readonly errors: string[] }> {
  const errors: string[] = [];
  const logger = pino({ level: "error" }, { write: (line: string) => errors.push(line) });
  await using node = await startTestNode({ data, domain, logger });
  await using db = new Heddle<typeof bank>({ port: node.port });
  // A repeated call is answered when the saga has ended.
  for (const { saga } of await db.sagas({ only: "unfinished", limit: 10_000 })) {
    await db.runSaga("transfer", saga, transferOf(Number(saga.slice("transfer-".length))));
  }
  expect(await db.sagas({ only: "unfinished" })).toEqual([]);
  return { money: await total(db), errors };
}

it("a backup beside a storm of transfers over shards restores to whole transactions and sagas, and all of the money", async () => {
  const root = newFolder();
  const data = path.join(root, "data");
  const backup = path.join(root, "backup");
  const found: number[][] = [];
  {
    await using node = await startTestNode({ data, domain, shards, threads: 2 });
    await using db = new Heddle<typeof bank>({ port: node.port });
    for (const entity of accounts) committed(await db.entity(entity).append("Credited", { amount: opening }));
    committed(await db.entity(closed).append("Closed", {}));
    let isOver = false;
    const storming = storm(db, () => isOver);
    try {
      const args = [backUpBeside, data, `${shards}`, backup, `${runs}`];
      const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 500_000 });
      for (const line of stdout.trim().split("\n")) found.push(JSON.parse(line) as number[]);
    } finally {
      isOver = true;
    }
    expect(await storming).toBeGreaterThan(callers * runs);
    expect(await total(db)).toBe(opening * accounts.length);
  }
  expect(found).toHaveLength(runs);
  await backUpFolder({ data, backup, keepRuns: 10 });
  // The last of the runs that were made beside the node, and the slow cuts, which are hardest to get right.
  const wanted = [{ run: runs }, ...found.map((positions) => ({ until: { positions } }))];
  for (const [i, which] of wanted.entries()) {
    const restored = path.join(root, `restored-${i}`);
    await restoreFolder({ backup, data: restored, keys: path.join(data, "keys", "keys.sqlite"), ...which });
    const told = JSON.stringify(which);
    expect(await moneyIn(restored), told).toEqual({ money: opening * accounts.length, errors: [] });
    const { ok, problems, sagas } = await auditFolder({ data: restored, domain });
    expect({ ok, problems }, told).toEqual({ ok: true, problems: [] });
    expect(sagas).toMatchObject({ unfinished: 0, stuck: 0 });
  }
  fs.rmSync(root, { recursive: true, force: true });
});
