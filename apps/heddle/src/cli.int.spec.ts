// Goal: what a user types does what the reference says, against a real node, with the exit codes that it names.
// Method: every command runs as a process of its own. Its parsing and texts are tested in program.unit.spec.ts.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  bank,
  type Ended,
  heddle,
  launcher,
  repository,
  type ServedNode,
  serve,
  start,
  temporaryFolder,
} from "./run-heddle.spec-support.ts";

const folders: string[] = [];
const folder = (): string => {
  const made = temporaryFolder();
  folders.push(made);
  return made;
};
let node: ServedNode;
beforeAll(async () => {
  node = await serve(folder(), ["--shards", "2"]);
});
afterAll(async () => {
  await node.stop();
  for (const made of folders) fs.rmSync(made, { recursive: true, force: true });
});

const file = (text: string): string => {
  const name = path.join(folder(), "import.ndjson");
  fs.writeFileSync(name, text);
  return name;
};
const credited = (entity: string, amount: number, more: object = {}) =>
  JSON.stringify({ entity, type: "Credited", payload: { amount }, ...more });
const json = ({ out }: Ended): Record<string, unknown> => JSON.parse(out) as Record<string, unknown>;
const fixtures = path.join(repository, "apps/heddle/src");
const segmentsOf = (data: string) =>
  fs
    .readdirSync(data, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".log"))
    .map((name) => path.join(data, name));

describe("heddle append, execute, get, history", () => {
  it("write, decide and read back, and say so in a line or in JSON", async () => {
    const first = await node.heddle(["append", "account/alice", "Credited", '{"amount":5000}']);
    expect(first).toMatchObject({ code: 0, said: "" });
    expect(first.out).toMatch(
      /^account\/alice is at sequence 1: 1 event written\n {2}shard \d, position \d+, \d{4}-.*Z\n$/,
    );

    const second = await node.heddle(["execute", "account/alice", "Withdraw", '{"amount":500}', "--json"]);
    expect(second.code).toBe(0);
    expect(json(second)).toMatchObject({ ok: true, seq: 2, count: 1, duplicate: false });

    const state = await node.heddle(["get", "account/alice"]);
    expect(state).toMatchObject({ code: 0, out: '{\n  "balance": 4500\n}\n', said: "account/alice, sequence 2\n" });
    expect(json(await node.heddle(["get", "account/alice", "Account", "--json"]))).toEqual({
      entity: "account/alice",
      state: { balance: 4500 },
      seq: 2,
    });

    const history = await node.heddle(["history", "account/alice"]);
    expect(history.out.replaceAll(/\d{4}-\d\d-\d\d \S+/g, "2026-11-20 00:00:00.000")).toBe(
      "seq  time (UTC)               event             payload\n" +
        '  1  2026-11-20 00:00:00.000  Account.Credited  {"amount":5000}\n' +
        '  2  2026-11-20 00:00:00.000  Account.Debited   {"amount":500}\n',
    );
    const newest = await node.heddle(["history", "account/alice", "1", "--backward", "--json"]);
    expect(JSON.parse(newest.out)).toMatchObject([{ entity: "account/alice", seq: 2, type: "Debited" }]);
  });

  it("P7: an entity of a kind that the domain module does not declare cannot begin, and the kinds are named", async () => {
    expect(await node.heddle(["append", "acount/alice", "Credited", '{"amount":5000}'])).toMatchObject({
      code: 1,
      out: "",
      said:
        'heddle: acount/alice does not exist, and the domain module declares no kind "acount"; known: account, fees\n' +
        "  Name an entity of one of the known kinds, or add the kind to the domain module's kinds.\n" +
        "  UNKNOWN_KIND\n",
    });
  });

  it("take the payload from standard input, and an id makes it take effect once (P4)", async () => {
    const append = () =>
      node.heddle(["append", "account/carol", "Credited", "-", "--id", "salary-11"], { input: '{"amount":7}' });
    expect((await append()).out).toContain("is at sequence 1: 1 event written");
    expect((await append()).out).toContain(
      "is at sequence 1: this id had taken effect before: nothing was written now",
    );
    const other = await node.heddle(["append", "account/carol", "Credited", '{"amount":8}', "--id", "salary-11"]);
    expect(other).toMatchObject({ code: 1, said: expect.stringContaining("ID_REUSED") });
  });

  it("exit with 1 where the answer is no: a broken rule, a command's refusal, a stale sequence, a bad payload", async () => {
    const broken = await node.heddle(["append", "account/dave", "Debited", '{"amount":1}']);
    expect(broken).toMatchObject({ code: 1, said: "" });
    expect(broken.out).toBe(
      'rejected: event 0 would break the rule "balance is never negative" of Account\n' +
        '  INVARIANT_VIOLATED {"aggregate":"Account","rule":"balance is never negative","index":0}\n',
    );
    const refused = await node.heddle(["execute", "account/dave", "Withdraw", '{"amount":1}', "--json"]);
    expect(refused.code).toBe(1);
    expect(json(refused)).toMatchObject({
      ok: false,
      code: "COMMAND_REJECTED",
      facts: { reason: "INSUFFICIENT_FUNDS" },
    });
    const stale = await node.heddle([
      "append",
      "account/dave",
      "Credited",
      '{"amount":1}',
      "--expected-seq",
      "3",
      "--json",
    ]);
    expect(stale.code).toBe(1);
    expect(json(stale)).toMatchObject({
      ok: false,
      code: "SEQUENCE_CONFLICT",
      facts: { expectedSeq: 3, actualSeq: 0 },
    });
    const bad = await node.heddle(["append", "account/dave", "Credited", '{"amount":"x"}']);
    expect(bad).toMatchObject({ code: 1, out: "" });
    expect(bad.said).toBe(
      "heddle: payload of Account.Credited (number 0 of the call) does not fit its schema: amount: Invalid input: expected number, received string\n" +
        "  Send what the schema of the domain module asks for.\n" +
        "  INVALID_PAYLOAD\n",
    );
    expect(json(await node.heddle(["get", "account/dave", "--json"]))).toMatchObject({ seq: 0 });
  });

  it("exit with 3 where there is no node, and say what to do", async () => {
    // Not a port that was just given back: while these processes start, somebody else may be given it.
    const url = "heddle://127.0.0.1:1";
    const missing = await heddle(["get", "account/alice", "--url", url, "--timeout", "300"]);
    expect(missing).toMatchObject({ code: 3, out: "" });
    expect(missing.said).toMatch(/^heddle: .*\n(.*\n)*.*(CONNECTION_FAILED|TIMEOUT)\n$/);
    const asJson = await heddle(["get", "account/alice", "--url", url, "--timeout", "300", "--json"]);
    expect(json(asJson)).toMatchObject({ ok: false, error: { retryable: true, advice: expect.any(String) } });
    const elsewhere = await node.heddle(["get", "account/alice", "--url", `${node.url}/shop`]);
    expect(elsewhere).toMatchObject({ code: 3, said: expect.stringContaining("UNKNOWN_CONTEXT") });
  });
});

describe("heddle import of lines", () => {
  it("P4: import every line once, however often the file is imported", async () => {
    const lines = Array.from({ length: 5_000 }, (_, i) => credited(`account/import-${i % 50}`, 1 + (i % 3)));
    const name = file(`${lines.join("\n")}\n`);
    const first = await node.heddle(["import", name]);
    expect(first).toMatchObject({ code: 0, out: expect.stringMatching(/^5,000 events imported in .*\/s\)\n$/) });
    expect(first.said).toContain("importing: 100% (");
    const again = await node.heddle(["import", name, "--json"]);
    expect(again.said).toBe("");
    expect(json(again)).toMatchObject({ ok: true, events: 5_000, imported: 0, known: 5_000, refused: [] });
    // The same bytes by another way in.
    const piped = await node.heddle(["import", "--json"], { input: fs.readFileSync(name, "utf8") });
    expect(json(piped)).toMatchObject({ imported: 0, known: 5_000 });
    expect(json(await node.heddle(["get", "account/import-7", "--json"]))).toMatchObject({ seq: 100 });
  });

  it("P4: an import that was killed halfway is completed by the next, and nothing is there twice", async () => {
    /** Whether it was still at it. */
    const killedHalfway = async (name: string): Promise<boolean> => {
      const running = start(process.execPath, [launcher, "import", name], { environment: { HEDDLE_URL: node.url } });
      await new Promise<void>((resolve) => {
        running.child.stderr!.once("data", () => resolve());
      });
      running.child.kill("SIGKILL");
      return (await running.ended).signal === "SIGKILL";
    };
    const lines = (events: number) =>
      Array.from({ length: events }, (_, i) => credited(`account/killed-${events}-${i % 20}`, 1)).join("\n");
    // One that is over before it can be killed shows nothing: then a longer one.
    let events = 60_000;
    let name = file(lines(events));
    while (!(await killedHalfway(name))) {
      events *= 2;
      name = file(lines(events));
    }
    const next = json(await node.heddle(["import", name, "--json"]));
    expect(next).toMatchObject({ ok: true, events });
    expect(next["known"]).toBeGreaterThan(0);
    expect(json(await node.heddle(["get", `account/killed-${events}-3`, "--json"]))).toMatchObject({
      seq: events / 20,
      state: { balance: events / 20 },
    });
  });

  it("P7: tell bad and refused lines by their numbers, import the others, and exit with 1", async () => {
    const name = file(
      [
        credited("account/erin", 100),
        "nope",
        "",
        credited("account/erin", -1),
        JSON.stringify({ entity: "account/erin", type: "Debited", payload: { amount: 1_000 } }),
        JSON.stringify({ entity: "account/erin", type: "Vanished", payload: {} }),
        credited("account/erin", 1, { amount: 2 }),
        credited("account/erin", 11),
        credited("acount/erin", 12),
      ].join("\n"),
    );
    const { code, out, said } = await node.heddle(["import", name]);
    expect(code).toBe(1);
    expect(out).toMatch(/^2 events imported, 6 lines refused in /);
    expect(said).toBe(
      "line 2: it is not JSON: Unexpected token 'o', \"nope\" is not valid JSON (BAD_LINE)\n" +
        "line 4: payload of Account.Credited (number 0 of the call) does not fit its schema: amount: Too small: expected number to be >0 (INVALID_PAYLOAD)\n" +
        'line 5: event 0 would break the rule "balance is never negative" of Account (INVARIANT_VIOLATED)\n' +
        'line 6: Account has no event "Vanished"; known: Credited, Debited (UNKNOWN_EVENT_TYPE)\n' +
        "line 7: amount: there is no such field; known are entity, aggregate, type, payload, id, metadata (BAD_LINE)\n" +
        'line 9: acount/erin does not exist, and the domain module declares no kind "acount"; known: account, fees (UNKNOWN_KIND)\n',
    );
    expect(json(await node.heddle(["get", "account/erin", "--json"]))).toMatchObject({
      state: { balance: 111 },
      seq: 2,
    });
  });

  it("ends quietly when the reader of an export has had enough", async () => {
    const cut = await start("sh", ["-c", `"${process.execPath}" "${launcher}" export --all | head -n 1`], {
      environment: { HEDDLE_URL: node.url },
    }).ended;
    expect(cut).toMatchObject({ code: 0, said: expect.not.stringContaining("EPIPE") });
    expect(JSON.parse(cut.out)).toMatchObject({ heddle: "export", context: "bank" });
  });

  it("lines of one append are one append again, when they say so by their position", async () => {
    const line = (amount: number) => credited("account/frank", amount, { position: 88, id: "two-at-once" });
    const name = file(`${line(5)}\n${line(2)}\n${credited("account/frank", 1, { position: 200 })}\n`);
    expect(json(await node.heddle(["import", name, "--json"]))).toMatchObject({ ok: true, appends: 2, imported: 3 });
    expect(json(await node.heddle(["get", "account/frank", "--json"]))).toMatchObject({
      state: { balance: 8 },
      seq: 3,
    });
  });
});

describe("heddle audit, doctor, index rebuild", () => {
  it("audit and doctor beside the running node, a rebuild only without it", async () => {
    const audit = await heddle(["audit", "--domain", bank, "--data", node.data]);
    expect(audit).toMatchObject({ code: 0, out: expect.stringMatching(/^INTEGRITY_OK \(\d+ aggregates\)\n/) });
    const doctor = await heddle(["doctor", "--data", node.data, "--samples", "3", "--sync-threshold-us", "60000000"]);
    expect(doctor.code).toBe(0);
    expect(doctor.out).toMatch(/^data folder {2}.* \(context bank, 2 shards, open in another process\)\n/);
    expect(doctor.out).toMatch(/\nsync .* of 3; threshold 60,000,000 µs on the median: PASS\n(.*\n)*HEALTHY\n$/);
    const slow = await heddle(["doctor", "--data", node.data, "--samples", "3", "--sync-threshold-us", "0", "--json"]);
    expect(slow.code).toBe(1);
    expect(json(slow)).toMatchObject({ ok: false, sync: { pass: false }, findings: [{ where: "disk" }] });
    const rebuild = await heddle(["index", "rebuild", "--domain", bank, "--data", node.data]);
    expect(rebuild).toMatchObject({ code: 3, said: expect.stringContaining("DATA_FOLDER_IN_USE") });
  });

  it("rehearse says with its exit code whether new code would change nothing, states, or break", async () => {
    const rehearse = (name: string, ...more: string[]) =>
      heddle(["rehearse", "--domain", path.join(fixtures, name), "--data", node.data, ...more]);
    const same = await heddle(["rehearse", "--domain", bank, "--against", bank, "--data", node.data]);
    expect(same).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^NOTHING_DIFFERS \(0 entities differ, 0 events with/),
    });
    const differs = await rehearse("bank-in-cents.spec-support.ts", "--against", bank);
    expect(differs.code).toBe(4);
    expect(differs.out).toMatch(/^STATES_DIFFER \(\d+ entities differ, 0 events with faults\)\n/);
    expect(differs.out).toMatch(
      /\naccount\/\S+ {2}Account at sequence \d+, shard [01]\n {2}balance: (\d+) -> \1(00)?\n/,
    );
    const broken = await rehearse("bank-with-a-limit.spec-support.ts", "--against", bank, "--json", "--told", "1");
    expect(broken.code).toBe(1);
    expect(json(broken)).toMatchObject({
      verdict: "broken",
      faults: [{ rule: "domain/invariant", found: expect.stringContaining("nobody has anything") as string }],
    });
    const nowhere = await heddle(["rehearse", "--domain", "/nowhere", "--data", node.data]);
    expect(nowhere).toMatchObject({ code: 3, said: expect.stringContaining("DOMAIN_LOAD_FAILED") });
  });

  it("chain export prints heads that chain verify holds against the log, also beside the node", async () => {
    const exported = await heddle(["chain", "export", "--data", node.data]);
    expect(exported).toMatchObject({ code: 0, said: expect.stringContaining("exported") });
    const heads = path.join(folder(), "heads.ndjson");
    fs.writeFileSync(heads, exported.out);
    const verified = await heddle(["chain", "verify", heads, "--data", node.data]);
    expect(verified).toMatchObject({ code: 0, out: expect.stringMatching(/^CHAINS_OK \(\d+ chains?: /) });
    fs.writeFileSync(heads, exported.out.replace('"format"', '"Format"'));
    const damaged = await heddle(["chain", "verify", heads, "--data", node.data, "--json"]);
    expect(damaged.code).toBe(1);
    expect(json(damaged)).toMatchObject({ ok: false, error: { code: "EXPORT_DAMAGED" } });
    const missing = await heddle(["chain", "verify", `${heads}.none`, "--data", node.data]);
    expect(missing).toMatchObject({ code: 2, said: expect.stringContaining("there is no file") });
  });

  it("find planted damage: the audit names entity and sequence, the doctor file and offset, both exit with 1", async () => {
    const data = folder();
    const other = await serve(data, ["--shards", "1"]);
    for (const amount of [1, 2, 3]) await other.heddle(["append", "account/grace", "Credited", `{"amount":${amount}}`]);
    expect(await other.stop()).toMatchObject({ code: 0, signal: null });
    const rebuilt = await heddle(["index", "rebuild", "--domain", bank, "--data", data]);
    expect(rebuilt).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^rebuilt 1 partition: 1 entity, 3 events\n/),
    });
    expect((await heddle(["audit", "--domain", bank, "--data", data])).out).toMatch(/^INTEGRITY_OK \(1 aggregate\)\n/);

    const [segment] = segmentsOf(data);
    const bytes = fs.readFileSync(segment!);
    bytes[bytes.indexOf("grace", bytes.indexOf("grace") + 5)]! ^= 1;
    fs.writeFileSync(segment!, bytes);
    const audit = await heddle(["audit", "--domain", bank, "--data", data]);
    expect(audit.code).toBe(1);
    expect(audit.out).toMatch(
      /^INTEGRITY_FAILED \(1 problem\)\nlog\/readable {2}shard 0\n {2}found {3}a record's checksum does not match, at .*\n/,
    );
    const doctor = await heddle(["doctor", "--data", data, "--json"]);
    expect(doctor.code).toBe(1);
    expect(json(doctor)).toMatchObject({
      ok: false,
      shards: [
        {
          log: {
            damage: {
              file: segment,
              before: { events: 1 },
              after: { events: 1 },
              missing: [{ entity: "account/grace", fromSeq: 2, toSeq: 2 }],
            },
          },
        },
      ],
    });
    const refused = await heddle(["index", "rebuild", "--domain", bank, "--data", data]);
    expect(refused).toMatchObject({ code: 3, said: expect.stringContaining("LOG_DAMAGED") });
  });
});

describe("heddle serve", () => {
  it("refuses a folder that is open, a port that is taken and a module that cannot be loaded, each with code 3", async () => {
    const inUse = await heddle(["serve", "--domain", bank, "--data", node.data, "--port", "0"]);
    expect(inUse).toMatchObject({ code: 3, out: "", said: expect.stringContaining("DATA_FOLDER_IN_USE") });
    const { port } = new URL(node.url.replace("heddle:", "http:"));
    const taken = await heddle(["serve", "--domain", bank, "--data", folder(), "--port", port]);
    expect(taken).toMatchObject({ code: 3, said: expect.stringContaining("EADDRINUSE") });
    const broken = await heddle(["serve", "--domain", "/nowhere", "--data", folder(), "--json"]);
    expect(broken.code).toBe(3);
    expect(json(broken)).toMatchObject({ ok: false, error: { code: "DOMAIN_LOAD_FAILED" } });
  });

  it.each(["SIGINT", "SIGTERM"] as const)(
    "ends in order on %s: code 0, and the next start finds everything",
    async (signal) => {
      const data = folder();
      const first = await serve(data, ["--durability", "os"]);
      await first.heddle(["append", "account/heidi", "Credited", '{"amount":1}']);
      expect(await first.stop(signal)).toMatchObject({ code: 0, signal: null });
      const second = await serve(data);
      expect(json(await second.heddle(["get", "account/heidi", "--json"]))).toMatchObject({
        state: { balance: 1 },
        seq: 1,
      });
      await second.stop();
    },
  );

  it("gives its process as many threads for syncs as the environment says, or plenty; and no more helpers of the engine than fit", async () => {
    const threads = (served: ServedNode, wanted: string) => {
      const tasks = `/proc/${served.running.child.pid}/task`;
      const names = fs.readdirSync(tasks).map((task) => fs.readFileSync(`${tasks}/${task}/comm`, "utf8").trim());
      return names.filter((name) => name === wanted).length;
    };
    expect(threads(node, "libuv-worker")).toBeGreaterThanOrEqual(16);
    expect(threads(node, "node-V8Worker")).toBe(Math.min(4, Math.max(1, os.availableParallelism() - 1)));
    const environment = { UV_THREADPOOL_SIZE: "3", NODE_OPTIONS: "--v8-pool-size=2" };
    const small = await serve(folder(), [], { environment });
    expect([threads(small, "libuv-worker"), threads(small, "node-V8Worker")]).toEqual([3, 2]);
    await small.stop();
  });
});

describe("heddle: the launcher", () => {
  it("tells a Node that is too old so in a sentence", async () => {
    const pretend = `Object.defineProperty(process.versions, "node", { value: "20.1.0" }); import(${JSON.stringify(launcher)});`;
    const old = await start(process.execPath, ["-e", pretend]).ended;
    expect(old).toMatchObject({ code: 3, out: "" });
    expect(old.said).toMatch(
      /^heddle needs Node 24 or newer, this is v.*\n {2}In Heddle's repository, npx heddle takes the right one/,
    );
  });

  it("bench hands its arguments to the benchmark of the repository", async () => {
    expect(fs.existsSync(path.join(repository, "bench/src/main.ts"))).toBe(true);
    const help = await heddle(["bench", "--", "--help"]);
    expect(help).toMatchObject({ code: 0, out: expect.stringContaining("--scenario") });
  });
});
