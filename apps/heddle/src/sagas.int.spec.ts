// Goal: heddle sagas prints, pages, asks and ends with the exit codes that the reference names, against a real node.
// How sagas come to their ends, and the how-to page: test/e2e/sagas.e2e.spec.ts. The picture: saga-picture.unit.spec.ts.
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { committed, Heddle } from "@heddle/client";
import { encodeReply, protocolVersion, replyKind } from "@heddle/protocol/internal";
import { startNode } from "@heddle/runtime";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linesOf, type Typed, typedAt } from "./captured-terminal.spec-support.ts";
import { repository, temporaryFolder } from "./run-heddle.spec-support.ts";

const folder = temporaryFolder();
let node: Awaited<ReturnType<typeof startNode>>;
let typed: (...args: readonly string[]) => Promise<Typed>;
const run = (name: string, id: string, from: string, to: string, ...more: readonly string[]) =>
  typed("sagas", "run", name, id, "--input", JSON.stringify({ from, to, amount: 500 }), ...more);

beforeAll(async () => {
  const domain = path.join(repository, "test/e2e/closable-bank.ts");
  node = await startNode({ domain, data: path.join(folder, "data"), port: 0, shards: 2 });
  typed = typedAt(node.url);
  await using db = new Heddle(node.url);
  for (const [entity, amount] of Object.entries({ alice: 500, bob: 500, carol: 500, frank: 500, full: 10_000 })) {
    committed(await db.entity(`account/${entity}`).append("Credited", { amount }));
  }
});
afterAll(async () => {
  await node.close();
  fs.rmSync(folder, { recursive: true, force: true });
});

/** Greets whoever connects, and answers nothing. */
async function silentNode() {
  const welcome = { version: protocolVersion, node: "n1", context: "bank", shardCount: 1, durability: "fsync" };
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("data", () => socket.write(encodeReply(replyKind.welcome, 0, welcome)));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe("heddle sagas", () => {
  it("run: 0 for COMMITTED, 1 for the other ends, with what said no", async () => {
    expect(await run("transfer", "t-1", "account/carol", "account/dave")).toEqual({
      code: 0,
      out: "t-1 is COMMITTED\n  step 1, account/carol: done\n  step 2, account/dave: done\n",
      said: "",
    });
    expect(await run("transfer", "t-1", "account/carol", "account/dave")).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^t-1 is COMMITTED: it had been begun before, and this is its result\n/),
    });
    expect(await run("transfer", "t-2", "account/alice", "account/full")).toMatchObject({
      code: 1,
      out:
        "t-2 is COMPENSATED\n  step 1, account/alice: compensated\n  step 2, account/full: refused: INVARIANT_VIOLATED, " +
        'event 0 would break the rule "an account holds at most 10000" of Account\n',
    });
    const stuck = await run("close-account", "t-3", "account/bob", "account/full", "--json");
    expect(stuck).toMatchObject({ code: 1, said: "" });
    expect(linesOf(stuck)).toMatchObject([{ resultType: "STUCK", saga: "t-3", duplicate: false }]);
    expect(await run("close-account", "t-3", "account/bob", "account/full")).toMatchObject({
      code: 1,
      said: "heddle sagas show t-3 says what can be done\n",
    });
  });

  it("P7: exit with 1 for what the node refuses: a name or an id that is none, other input under the same id", async () => {
    for (const [answer, code] of [
      [await run("tranfer", "t-9", "account/a", "account/b"), "UNKNOWN_SAGA"],
      [await run("transfer", "t-1", "account/carol", "account/erin"), "ID_REUSED"],
      [await typed("sagas", "show", "t-9"), "NO_SUCH_SAGA"],
      [await typed("sagas", "retry", "t-1", "--reason", "x"), "SAGA_NOT_STUCK"],
      [await typed("sagas", "resolve", "t-9", "--as", "committed", "--reason", "x", "--yes"), "NO_SUCH_SAGA"],
      [await typed("sagas", "show", "x".repeat(161)), "INVALID_REQUEST"],
    ] as const) {
      expect(answer).toMatchObject({ code: 1, out: "", said: expect.stringContaining(code) });
    }
  });

  it("ls: all by id, page after page; the unfinished; the stuck ones", async () => {
    const { out } = await typed("sagas", "ls");
    expect(out.split("\n").map((line) => line.replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}/g, "TIME"))).toEqual([
      "state         begun (UTC)              ended (UTC)              name           saga",
      "COMMITTED     TIME  TIME  transfer       t-1",
      "COMPENSATED   TIME  TIME  transfer       t-2",
      "STUCK         TIME  TIME  close-account  t-3",
      "",
    ]);
    const first = await typed("sagas", "ls", "--limit", "2");
    const cursor = /^more: heddle sagas ls --limit 2 --cursor (\S+)\n$/.exec(first.said)![1]!;
    expect(linesOf(await typed("sagas", "ls", "--json", "--cursor", cursor))).toMatchObject([
      { saga: "t-3" },
      { cursor: null },
    ]);
    for (const only of ["--stuck", "--unfinished"]) {
      expect(linesOf(await typed("sagas", "ls", only, "--json"))).toMatchObject([
        {
          saga: "t-3",
          state: "STUCK",
          name: "close-account",
          startedAt: expect.any(Number),
          endedAt: expect.any(Number),
        },
        { cursor: null },
      ]);
    }
  });

  it("retry: 1 when it is stuck again, as run says it; 0 when it has ended, whichever end it is", async () => {
    await run("close-account", "t-4", "account/frank", "account/full");
    const retry = ["sagas", "retry", "t-4", "--reason", "perhaps it was a passing thing"];
    expect(await typed(...retry)).toMatchObject({ code: 1, out: expect.stringMatching(/^t-4 is STUCK/), said: "" });
    expect(linesOf(await typed(...retry, "--json"))).toMatchObject([{ state: "STUCK" }]);
    await using db = new Heddle(node.url);
    committed(await db.entity("account/frank").append("Reopened", {}));
    expect(await typed(...retry)).toMatchObject({ code: 0, out: expect.stringMatching(/^t-4 is COMPENSATED/) });
  });

  it("--timeout bounds the wait, not the saga: exit code 3, and how to look after it", async () => {
    await using silent = await silentNode();
    const at = typedAt(`heddle://127.0.0.1:${silent.port}`);
    const commands = [
      ["sagas", "run", "transfer", "t-7"],
      ["sagas", "retry", "t-7", "--reason", "again"],
      ["sagas", "resolve", "t-7", "--as", "committed", "--reason", "by hand", "--yes"],
    ];
    // Time enough to be greeted: who never was is told that nobody is there.
    const answers = await Promise.all(commands.map((command) => at(...command, "--timeout", "4000")));
    for (const [i, answer] of answers.entries()) {
      expect(answer, commands[i]![1]).toEqual({
        code: 3,
        out: "",
        said:
          'heddle: no answer within 4000 ms; the saga "t-7" goes on if it has begun\n' +
          "  heddle sagas show, or db.showSaga, tells how far it is; the same call again waits for the same end.\n" +
          "  TIMEOUT\n",
      });
    }
  });

  it("resolve: asks, and changes nothing where nobody is there to be asked; --yes declares the end", async () => {
    const resolve = ["sagas", "resolve", "t-3", "--as", "compensated", "--reason", "in cash", "--by", "ann"];
    expect(await typed(...resolve)).toMatchObject({ code: 2, said: expect.stringContaining("Give --yes to go on.") });
    expect(linesOf(await typed("sagas", "show", "t-3", "--json"))).toMatchObject([
      { state: "STUCK", interventions: [] },
    ]);
    expect(linesOf(await typed(...resolve, "--yes", "--json"))).toMatchObject([
      { state: "COMPENSATED", interventions: [{ action: "resolve", as: "COMPENSATED", reason: "in cash", by: "ann" }] },
    ]);
    expect(await typed("sagas", "ls", "--stuck")).toEqual({ code: 0, out: "", said: "there are no such sagas\n" });
  });
});
