// Goal: an entity is erased by those who mean it, the receipt proves it for good, and whoever meets the entity is told (P6).
// Method: one node as a process of its own; commands run in this process. What a proof finds is tested in packages/runtime,
// the confirmation in confirm.unit.spec.ts.
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Typed, typed, typedAt } from "./captured-terminal.spec-support.ts";
import { type ServedNode, serve, temporaryFolder } from "./run-heddle.spec-support.ts";

let node: ServedNode;
let heddle: ReturnType<typeof typedAt>;
const folder = temporaryFolder();
const file = (name: string) => path.join(folder, name);
beforeAll(async () => {
  node = await serve(file("data"), ["--shards", "2"]);
  heddle = typedAt(node.url);
});
afterAll(async () => {
  await node.stop();
  fs.rmSync(folder, { recursive: true, force: true });
});

const json = ({ out }: Typed) => JSON.parse(out) as Record<string, unknown>;
const refusal = ({ code, said }: Typed) => [code, said.trimEnd().split("\n").at(-1)!.trim()];

async function account(entity: string, events: number): Promise<void> {
  for (let i = 0; i < events; i++) {
    await heddle("append", entity, "Credited", `{"amount":${i + 1}}`, "--id", `salary-${i}`, "--metadata", '"marker"');
  }
}

describe("heddle delete, verify-erasure", () => {
  it("P6: erase, write a receipt, and prove it beside the node, with a new life, and without the node", async () => {
    await account("account/alice", 3);
    await account("account/bob", 1);
    const receipt = file("alice.json");
    const erased = await heddle("delete", "account/alice", "--yes", "--receipt", receipt);
    expect(erased).toMatchObject({ code: 0, said: "" });
    expect(erased.out).toMatch(
      /^erased account\/alice: 3 events, sequences 1 to 3\n {2}tombstone 4, shard \d, position \d+, \d{4}-.*Z\n {2}receipt in /,
    );
    const kept = JSON.parse(fs.readFileSync(receipt, "utf8"));
    expect(kept).toMatchObject({ entity: "account/alice", seq: 4, from: 1, to: 3, complete: true });

    const proof = await typed("verify-erasure", receipt, "--data", node.data);
    expect(proof).toMatchObject({ code: 0, said: "" });
    expect(proof.out).toMatch(
      /^ERASURE_OK \(account\/alice, sequences 1 to 3, erased .*Z\)\n(holds {2}\S+\n){12}note: NATS.*\n3 entries/,
    );
    expect(json(await typed("verify-erasure", receipt, "--data", node.data, "--json"))).toMatchObject({
      ok: true,
      receipt: kept,
      leftovers: [],
    });

    // The same receipt again, also for who lost it.
    expect(json(await heddle("delete", "account/alice", "--yes", "--json"))).toEqual(kept);

    expect(refusal(await heddle("get", "account/alice"))).toEqual([1, "ERASED"]);
    expect(refusal(await heddle("append", "account/alice", "Credited", '{"amount":1}'))).toEqual([1, "ERASED"]);
    expect(refusal(await heddle("rewind", "account/alice", "--seq", "1"))).toEqual([1, "ERASED"]);
    expect(refusal(await heddle("fork", "account/alice", "account/alice2"))).toEqual([1, "ERASED"]);
    expect(refusal(await heddle("fork", "account/bob", "account/alice"))).toEqual([1, "ERASED"]);
    expect((await heddle("history", "account/alice")).out).toContain('$heddle.Erased  {"from":1,"to":3}');
    expect((await heddle("entities")).out).not.toContain("account/alice\n");
    expect((await heddle("entities", "--erased")).out).toContain("  account/alice  erased\n");
    // An id from before never takes effect again (P4).
    const old = ["append", "account/alice", "Credited", '{"amount":1}', "--new-life", "--id"];
    expect(refusal(await heddle(...old, "salary-0"))).toEqual([1, "ERASED"]);

    const newLife = await heddle(...old, "salary-9");
    expect(newLife).toMatchObject({ code: 0, out: expect.stringContaining("account/alice is at sequence 5") });
    expect((await typed("verify-erasure", receipt, "--data", node.data)).code).toBe(0);
    expect(json(await heddle("get", "account/alice", "--json"))).toMatchObject({ state: { balance: 1 }, seq: 5 });
    expect(refusal(await heddle("get", "account/alice", "--seq", "2"))).toEqual([1, "ERASED"]);
    expect(json(await heddle("get", "account/bob", "--json"))).toMatchObject({ state: { balance: 1 }, seq: 1 });
  });

  it("P6: a provisional receipt says so, and is proved when the node has gone on by itself", async () => {
    await account("account/carol", 2);
    const receipt = file("carol.json");
    const erased = json(
      await heddle("delete", "account/carol", "--yes", "--provisional", "--receipt", receipt, "--json"),
    );
    expect(erased).toMatchObject({ entity: "account/carol", complete: false });
    expect(JSON.parse(fs.readFileSync(receipt, "utf8"))).toEqual(erased);
    // It waits for a node that is not done yet.
    expect(await typed("verify-erasure", receipt, "--data", node.data)).toMatchObject({ code: 0 });
  });

  it("P6: a proof that fails names what is left and where, and exits with 1", async () => {
    await account("account/dave", 1);
    const receipt = json(await heddle("delete", "account/dave", "--yes", "--json"));
    const other = file("other.json");
    fs.writeFileSync(other, JSON.stringify({ ...receipt, position: (receipt["position"] as number) + 8 }));
    const failed = await typed("verify-erasure", other, "--data", node.data, "--keys", file("no-keys"));
    expect(failed.code).toBe(1);
    expect(failed.out).toMatch(/^ERASURE_FAILED \(account\/dave, sequences 1 to 1, erased .*: 2 leftovers\)\n/);
    expect(failed.out).toContain(
      `log/tombstone  ${path.join(node.data, `shards/000${receipt["shard"]}`, "log")}\n  found   one at position ${receipt["position"]}`,
    );
    expect(failed.out).toContain(`keys/marked  ${file("no-keys")}\n  found   no such file; --keys names another\n`);
    expect(failed.out).toContain("fails  log/tombstone\n");
    const json1 = await typed("verify-erasure", other, "--data", node.data, "--leftovers", "1", "--json");
    expect(json1.code).toBe(1);
    expect(json(json1)).toMatchObject({ ok: false, leftoverTotal: 1 });
  });

  it("P7: nothing is erased without a yes, an entity, or a place for the receipt", async () => {
    await account("account/erin", 1);
    const unasked = await heddle("delete", "account/erin");
    expect(unasked).toMatchObject({ code: 2, said: expect.stringContaining("Give --yes to go on.") });
    const nowhere = path.join(folder, "no/such/folder/erin.json");
    const unkept = await heddle("delete", "account/erin", "--yes", "--receipt", nowhere);
    expect(unkept).toMatchObject({ code: 3, said: expect.stringContaining("ENOENT") });
    expect(json(await heddle("get", "account/erin", "--json"))).toMatchObject({ seq: 1 });
    expect(refusal(await heddle("delete", "account/nobody", "--yes"))).toEqual([1, "OUT_OF_RANGE"]);
    expect(refusal(await heddle("delete", "nobody", "--yes"))).toEqual([1, "INVALID_ENTITY_ID"]);
    const kept = file("nobody.json");
    expect(refusal(await heddle("delete", "account/nobody", "--yes", "--receipt", kept))).toEqual([1, "OUT_OF_RANGE"]);
    expect(fs.readdirSync(folder).filter((name) => name.startsWith("nobody"))).toEqual([]);
  });

  it("P7: a receipt that is none is refused", async () => {
    const given = (text: string) => {
      fs.writeFileSync(file("bad.json"), text);
      return typed("verify-erasure", file("bad.json"), "--data", node.data);
    };
    expect(await given("{")).toMatchObject({ code: 2, said: expect.stringContaining("the receipt is not JSON") });
    expect(refusal(await given("[]"))).toEqual([1, "INVALID_REQUEST"]);
    expect(refusal(await given('{"entity":"account/alice","complete":true}'))).toEqual([1, "INVALID_REQUEST"]);
  });
});
