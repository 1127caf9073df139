// Goal: a transaction that cannot be settled is told to whoever reads the log, once, and without anything that it holds.
import { requestKind } from "@heddle/protocol/internal";
import { afterEach, expect, it } from "vitest";
import { bank, credit } from "../bank.spec-support.ts";
import { closeAll, receipt, value } from "../shard-under-test.spec-support.ts";
import { ShardsUnderTest } from "../shards-under-test.spec-support.ts";

afterEach(closeAll);

it("a prepared part that waits for its decision for five seconds is told once, and goes on when it comes", async () => {
  const shards = new ShardsUnderTest(bank, 2);
  const [from, to] = [shards.account(0), shards.account(1)];
  receipt(await shards.of(from).append(credit(from, 100)));
  shards.fate = ({ kind }) => (kind === requestKind.settle || kind === requestKind.inquire ? "lost" : "delivered");
  const operations = [
    { kind: "append", ...credit(from, 1) },
    { kind: "append", ...credit(to, 30) },
  ] as const;
  value(await shards.transact(operations, { at: 0 }));
  const told = () => shards.shards.map(({ reports }) => reports.filter(({ message }) => message.includes("waits for")));
  for (let i = 0; i < 9; i++) await shards.pass(500);
  expect(told()).toEqual([[], []]);
  for (let i = 0; i < 40; i++) await shards.pass(500);
  expect(told()).toEqual([
    [],
    [
      {
        level: "warn",
        message: "a prepared transaction waits for the shard that decides; its entities stay held",
        facts: {
          shard: 1,
          coordinator: 0,
          transaction: expect.any(Number),
          entities: 1,
          heldMs: expect.any(Number),
          advice: expect.stringContaining("shard 0"),
        },
      },
    ],
  ]);
  shards.fate = () => "delivered";
  await shards.settled();
  expect(await shards.balance(to)).toBe(30);
});
