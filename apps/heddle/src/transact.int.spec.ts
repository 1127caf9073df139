// Goal: heddle transact against a real node, with the exit codes that it names. How lines are read: transact-lines.unit.spec.ts.
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Ended, heddle, type ServedNode, serve, temporaryFolder } from "./run-heddle.spec-support.ts";

const folder = temporaryFolder();
let node: ServedNode;
beforeAll(async () => {
  node = await serve(path.join(folder, "data"), ["--shards", "4"]);
});
afterAll(async () => {
  await node.stop();
  fs.rmSync(folder, { recursive: true, force: true });
});

const json = ({ out }: Ended): Record<string, unknown> => JSON.parse(out) as Record<string, unknown>;
const lines = (...operations: object[]) => operations.map((one) => `${JSON.stringify(one)}\n`).join("");
const credit = (name: string, amount: number) => ({ entity: `account/${name}`, type: "Credited", payload: { amount } });
const withdraw = (name: string, amount: number) => ({
  entity: `account/${name}`,
  command: "Withdraw",
  input: { amount },
});
const transact = (input: string, ...more: string[]) => node.heddle(["transact", ...more], { input });
const balance = async (name: string) =>
  (json(await node.heddle(["get", `account/${name}`, "--json"]))["state"] as { balance: number }).balance;

describe("heddle transact", () => {
  it("lets all lines take effect, and says what each came to", async () => {
    const first = await transact(lines(credit("alice", 5_000), credit("bob", 100)));
    expect(first).toMatchObject({
      code: 0,
      said: "",
      out:
        "account/alice is at sequence 1: 1 event written\n" +
        "account/bob is at sequence 1: 1 event written\n" +
        "  2 operations, at one moment\n",
    });
    const read = { entity: "account/bob", read: true, expectedSeq: 1 };
    const second = await transact(lines(withdraw("alice", 500), read, credit("bob", 500)), "--json");
    expect(second.code).toBe(0);
    expect(json(second)).toMatchObject({
      ok: true,
      results: [
        { ok: true, entity: "account/alice", seq: 2 },
        { entity: "account/bob", state: { balance: 100 }, seq: 1 },
        { ok: true, entity: "account/bob", seq: 2 },
      ],
      duplicate: false,
    });
    expect([await balance("alice"), await balance("bob")]).toEqual([4_500, 600]);
  });

  it("P3: none of them when one is refused, with its line, and the exit code is 1", async () => {
    const refused = await transact(lines(credit("carol", 7), withdraw("dave", 7)));
    expect(refused).toMatchObject({ code: 1, said: "" });
    expect(refused.out).toMatch(/^rejected: line 2, account\/dave: Withdraw was rejected: .* Nothing was written\.\n/);
    const stale = await transact(lines(credit("carol", 7), { ...credit("dave", 7), expectedSeq: 4 }), "--json");
    expect(stale.code).toBe(1);
    expect(json(stale)).toMatchObject({
      ok: false,
      code: "TRANSACTION_REJECTED",
      facts: { line: 2, entity: "account/dave", rejection: { code: "SEQUENCE_CONFLICT" } },
    });
    expect([await balance("carol"), await balance("dave")]).toEqual([0, 0]);
  });

  it("P4: once with an id, whether from a file or from standard input", async () => {
    const file = path.join(folder, "transfer.ndjson");
    const operations = lines(credit("erin", 5), credit("frank", 5));
    fs.writeFileSync(file, operations);
    expect((await transact("", "--file", file, "--id", "t-1")).out).toContain("2 operations, at one moment");
    expect(await transact(operations, "--id", "t-1")).toMatchObject({
      code: 0,
      out: expect.stringContaining("this id had taken effect before: nothing was written now"),
    });
    const other = await transact(lines(credit("erin", 6), credit("frank", 6)), "--id", "t-1");
    expect(other).toMatchObject({ code: 1, said: expect.stringContaining("ID_REUSED") });
    expect(await balance("erin")).toBe(5);
  });

  it("P7: says what is wrong with a line, a file and an operation", async () => {
    expect(await transact("{")).toMatchObject({ code: 2, said: expect.stringContaining("line 1: it is not JSON") });
    const unknown = await transact(lines({ entity: "account/alice", command: "Widraw", input: {} }));
    expect(unknown).toMatchObject({ code: 1, said: expect.stringContaining("UNKNOWN_COMMAND") });
    const inner = [credit("alice", 1), { ...credit("bob", 1), aggregate: "Acount" }];
    const named = await transact(lines({ entity: "account/erin", read: true }, ...inner));
    expect(named).toMatchObject({
      code: 1,
      said: expect.stringMatching(/^heddle: line 3, account\/bob: there is no aggregate "Acount"; known: .*\n/),
    });
    const wrong = await transact(lines(credit("alice", 1), credit("bob", -1)), "--json");
    expect(json(wrong)).toMatchObject({
      ok: false,
      error: { code: "INVALID_PAYLOAD", facts: { line: 2, entity: "account/bob" } },
    });
    const unread = await transact(lines(credit("alice", 1), { entity: "account/bob", aggregate: "X", read: true }));
    expect(unread).toMatchObject({
      code: 1,
      said: expect.stringMatching(/^heddle: line 2, account\/bob: there is no/),
    });
    const away = await heddle(["transact", "--url", "heddle://127.0.0.1:1", "--timeout", "200"], {
      input: lines(credit("alice", 1)),
    });
    expect(away).toMatchObject({ code: 3, said: expect.stringContaining("CONNECTION_FAILED") });
  });
});
