// Goal: a query with a receipt sees that write, a hundred thousand times (HEDDLE_PAIRS says how many), also while the projection
// thread dies and is started again, and while the projection is rebuilt. The short run: test/e2e/queries.e2e.spec.ts.
import { fileURLToPath } from "node:url";
import { Heddle } from "@heddle/client";
import { expect, it } from "vitest";
import { staleReads } from "../e2e/read-your-writes.ts";
import { startTestNode } from "../support/node.ts";

const domain = fileURLToPath(new URL("../e2e/booked-bank.ts", import.meta.url));

it("P5: of writes that are read back at once none is missed, whatever befalls the projection", async () => {
  await using node = await startTestNode({ domain, shards: 4 });
  await using writer = new Heddle(node.url);
  await using reader = new Heddle(node.url);
  const pairs = { entities: 200, rounds: Number(process.env["HEDDLE_PAIRS"] ?? 100_000) / 200 };
  let isOver = false;
  const troubles = async () => {
    for (let trouble = 0; !isOver; trouble++) {
      // A thread that dies again and again is started again after longer and longer pauses.
      if (trouble % 20 === 10) node.failThread(node.threadCount + 1);
      else await reader.rebuildProjection("accounts");
      // Not again before it is back.
      await reader.query("select count(*) as n from accounts", [], { timeoutMs: 60_000 });
    }
  };
  const reading = staleReads(writer, reader, pairs).finally(() => {
    isOver = true;
  });
  const [stale] = await Promise.all([reading, troubles()]);
  expect(stale).toBe(0);
  const { rows } = await reader.query("select sum(balance) as sum from accounts");
  expect(rows).toEqual([{ sum: pairs.entities * pairs.rounds }]);
});
