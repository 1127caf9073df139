// Goal: a saga that promises, and an append that keeps the promise, as docs/explanation/across-entities.md has them: on a real node
// with four shards, over a caller that is lost between the two. The wallet by itself: promised-credit.unit.spec.ts.
import { fileURLToPath } from "node:url";
import { committed, Heddle } from "@heddle/client";
import { auditFolder } from "@heddle/runtime/internal";
import { describe, expect, it } from "vitest";
import { startTestNode } from "../support/node.ts";
import type wallets from "./promised-credit.ts";

const domain = fileURLToPath(new URL("./promised-credit.ts", import.meta.url));
const start = () => startTestNode({ domain, shards: 4, threads: 2 });
const [alice, bob] = ["wallet/alice", "wallet/bob"] as const;

type Wallets = Heddle<typeof wallets>;

// #region send
/** Call it again with the same arguments, whoever you are: what was begun is finished, once. */
export async function send(db: Wallets, id: string, from: string, to: string, amount: number) {
  const { resultType } = await promise(db, id, from, to, amount);
  if (resultType === "COMMITTED")
    committed(await db.entity(to).append("PromiseKept", { amount }, { id: `kept:${id}` }));
  return resultType;
}

function promise(db: Wallets, id: string, from: string, to: string, amount: number) {
  return db
    .saga(id)
    .step(to, { type: "CreditPromised", payload: { amount } }, { type: "PromiseBroken", payload: { amount } })
    .step(from, { command: "Spend", input: { amount } }, null)
    .commit();
}
// #endregion send

const walletOf = async (db: Wallets, entity: string) => (await db.entity(entity).get()).state;
const typesOf = async (db: Wallets, entity: string) => (await db.entity(entity).history(10)).map(({ type }) => type);

async function open(db: Wallets, amount: number): Promise<void> {
  committed(await db.entity(alice).append("Credited", { amount }));
}

describe("a saga that promises", () => {
  it("gives what cannot be spent before the promise is kept, and can afterwards", async () => {
    await using node = await start();
    await using db: Wallets = new Heddle({ port: node.port });
    await open(db, 700);
    expect(await promise(db, "t-1", alice, bob, 500)).toMatchObject({ resultType: "COMMITTED" });
    expect(await db.entity(bob).execute("Spend", { amount: 1 })).toMatchObject({
      ok: false,
      code: "COMMAND_REJECTED",
      facts: { reason: "INSUFFICIENT" },
    });
    expect(await send(db, "t-1", alice, bob, 500)).toBe("COMMITTED");
    expect(await db.entity(bob).execute("Spend", { amount: 500 })).toMatchObject({ ok: true });
    expect(await walletOf(db, alice)).toEqual({ balance: 200, promised: 0 });
  });

  it("breaks the promise when it goes back, and nothing is kept then, however often it is asked", async () => {
    await using node = await start();
    await using db: Wallets = new Heddle({ port: node.port });
    await open(db, 100);
    for (let i = 0; i < 2; i++) expect(await send(db, "t-2", alice, bob, 500)).toBe("COMPENSATED");
    expect(await typesOf(db, bob)).toEqual(["CreditPromised", "PromiseBroken"]);
    expect(await walletOf(db, bob)).toEqual({ balance: 0, promised: 0 });
    expect(await walletOf(db, alice)).toEqual({ balance: 100, promised: 0 });
  });

  it("P4: loses no money with its caller: another one repeats both, and the promise is kept once", async () => {
    await using node = await start();
    {
      await using lost: Wallets = new Heddle({ port: node.port });
      await open(lost, 700);
      expect(await promise(lost, "t-3", alice, bob, 500)).toMatchObject({ resultType: "COMMITTED" });
    }
    await using db: Wallets = new Heddle({ port: node.port });
    await using other: Wallets = new Heddle({ port: node.port });
    expect([await walletOf(db, alice), await walletOf(db, bob)]).toEqual([
      { balance: 200, promised: 0 },
      { balance: 0, promised: 500 },
    ]);
    const ends = await Promise.all([db, other, db, other].map((one) => send(one, "t-3", alice, bob, 500)));
    expect(ends).toEqual(Array.from({ length: 4 }, () => "COMMITTED"));
    expect(await walletOf(db, bob)).toEqual({ balance: 500, promised: 0 });
    expect(await typesOf(db, bob)).toEqual(["CreditPromised", "PromiseKept"]);
    expect(await typesOf(db, alice)).toEqual(["Credited", "Debited"]);
    await node.close();
    expect(await auditFolder({ data: node.data, domain })).toMatchObject({ problems: [], sagas: { ended: 1 } });
  });
});
