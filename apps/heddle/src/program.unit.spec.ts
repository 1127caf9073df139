// Goal: what is typed is understood or refused with a sentence, and the reference says what the commands say.
// What commands do is tested in cli.int.spec.ts.
import fs from "node:fs";
import { describe, expect, it } from "vitest";
import { capturedTerminal, typed } from "./captured-terminal.spec-support.ts";
import { readableLine } from "./log-lines.ts";
import { cliReference, commandsOf, helpOf, plainProgram } from "./reference.ts";

const read = (file: string) => fs.readFileSync(new URL(`../../../${file}`, import.meta.url), "utf8");

describe("command line: what makes no sense", () => {
  it.each([
    [["frob"], "heddle: unknown command 'frob'"],
    [["serv"], "heddle: unknown command 'serv'\n(Did you mean serve?)"],
    [["get"], "heddle: missing required argument 'entity'"],
    [["get", "account/alice", "--frob"], "heddle: unknown option '--frob'"],
    [["serve"], "heddle: required option '--domain <module>' not specified"],
    [["serve", "--domain", "x", "--port", "70000"], "Wanted a whole number from 0 to 65535."],
    [["serve", "--domain", "x", "--durability", "maybe"], "Allowed choices are fsync, os."],
    [["history", "account/alice", "0"], "Wanted a whole number from 1 to 10000."],
    [["append", "account/alice", "Credited", "{}", "--expected-seq", "-1"], "Wanted a whole number from 0 up."],
    [["append", "account/alice", "Credited", "{amount"], "heddle: the payload is not JSON:"],
    [["append", "account/alice", "Credited", "{}", "--metadata", "x"], "heddle: the metadata is not JSON:"],
    [["export"], "heddle: no entity is named"],
    [["export", "account/alice", "--all"], "heddle: --all and --kind go without names"],
    [["export", "account/alice", "--kind", "account"], "heddle: --all and --kind go without names"],
    [["import", "/nowhere.ndjson"], "heddle: there is no file /nowhere.ndjson"],
    [["transact", "--file", "/nowhere.ndjson"], "heddle: there is no file /nowhere.ndjson"],
    [["get", "account/alice", "--seq", "1", "--time", "2026-11-20"], "heddle: --seq and --time name two moments"],
    [["get", "account/alice", "--seq", "-1"], "Wanted a whole number from 0 up."],
    [["get", "account/alice", "--time", "yesterday"], "Wanted a time such as 2026-11-20T12:00:00Z"],
    [["history", "account/alice", "--since", "2026-02-30"], "Wanted a time such as 2026-11-20T12:00:00Z"],
    [["history", "account/alice", "--to", "0"], "Wanted a whole number from 1 up."],
    [["rewind", "account/alice"], "heddle: no moment is named"],
    [["rewind", "account/alice", "--seq", "1", "--time", "2026-11-20"], "heddle: --seq and --time name two moments"],
    [["fork", "account/alice"], "heddle: missing required argument 'new'"],
    [["fork", "account/alice", "account/b", "--seq", "1", "--time", "2026-11-20"], "heddle: --seq and --time name two"],
    [["entities", "--all", "--limit", "5"], "heddle: --all has no --limit"],
    [["entities", "--limit", "10001"], "Wanted a whole number from 1 to 10000."],
    [["sagas", "ls", "--stuck", "--unfinished"], "heddle: --stuck and --unfinished name two lists"],
    [["sagas", "ls", "--limit", "0"], "Wanted a whole number from 1 to 10000."],
    [["sagas", "show"], "heddle: missing required argument 'id'"],
    [["sagas", "run", "transfer", "t-1", "--input", "{amount"], "heddle: the input is not JSON:"],
    [["sagas", "retry", "t-1"], "heddle: required option '--reason <text>' not specified"],
    [["sagas", "resolve", "t-1", "--reason", "x"], "heddle: required option '--as <end>' not specified"],
    [["sagas", "resolve", "t-1", "--reason", "x", "--as", "stuck"], "Allowed choices are committed, compensated."],
    [["reminders", "ls", "account/a", "--cursor", "x"], "heddle: --cursor goes without an entity"],
    [["reminders", "set", "account/a", "m", "--command", "Bill"], "heddle: no time is named"],
    [
      ["reminders", "set", "account/a", "m", "--at", "5000000000000"],
      "heddle: it brings one thing: a command or an event",
    ],
    [["reminders", "set", "account/a", "m", "--at", "soon", "--command", "B"], "Wanted a time such as"],
    [
      ["reminders", "set", "account/a", "m", "--at", "2026-12-01", "--time-zone", "UTC"],
      "heddle: --time-zone goes with",
    ],
    [
      ["reminders", "set", "account/a", "m", "--at", "2026-12-01", "--cron", "* * * * *"],
      "heddle: --at and --cron name two",
    ],
    [
      ["reminders", "set", "a/b", "m", "--at", "2026-12-01", "--command", "B", "--payload", "{}"],
      "--payload goes with",
    ],
    [["reminders", "set", "a/b", "m", "--at", "2026-12-01", "--type", "B", "--input", "{}"], "--input goes with"],
    [["reminders", "cancel", "account/a"], "heddle: missing required argument 'name'"],
    [["query"], "heddle: missing required argument 'sql'"],
    [["query", "select ?", "1", "--param", "a=1"], "heddle: parameters in order and by --param"],
    [["query", "select :a", "--param", "a"], "Wanted name=value."],
    [["query", "select :a", "--param", "a=1", "--param", ":a=2"], "a is given twice."],
    [["query", "select 1", "--after", "8192"], "Wanted the shard and position of a receipt, such as 0:8192."],
    [["query", "select 1", "--rows-max", "0"], "Wanted a whole number from 1 to 1000000."],
    [["query", "select 1", "--level", "sure"], "Allowed choices are none, weak, linearizable, strong, auto."],
    [["serve", "--domain", "x", "--sink", "none", "--sink", "sqlite"], "heddle: --sink none goes without others"],
    [["serve", "--domain", "x", "--nats-events"], "heddle: --nats-events is given without --nats"],
    [["serve", "--domain", "x", "--nats-replicas", "3"], "heddle: --nats-replicas is given without --nats"],
    [["project", "--domain", "x"], "heddle: required option '--nats <url>' not specified"],
    [
      ["serve", "--domain", "x", "--sink", "postgres://x"],
      "heddle: --sink: wanted sqlite, the http:// address of rqlite",
    ],
    [["serve", "--domain", "x", "--sink", "sqlite", "--sink", "sqlite"], "heddle: --sink: sqlite is named twice"],
    [["serve", "--domain", "x", "--nats", "http://x"], 'heddle: --nats: wanted nats://host:port, found "http://x"'],
    [
      ["project", "--domain", "x", "--nats", "n:4222", "--sink", "x"],
      "heddle: --sink: wanted sqlite, the http:// address",
    ],
    [["project", "--domain", "x", "--nats", "http://x"], 'heddle: --nats: wanted nats://host:port, found "http://x"'],
    [["projections", "rebuild"], "heddle: missing required argument 'projection'"],
    [["projections", "retry", "accounts"], "heddle: missing required argument 'entity'"],
    [["projections", "skip", "accounts", "account/a"], "heddle: required option '--reason <text>' not specified"],
    [["schema", "--data", "x"], "heddle: --data and --domain go together"],
    [["verify-erasure", "/nowhere.json"], "heddle: there is no file /nowhere.json"],
    [["backup"], "heddle: missing required argument 'backup'"],
    [["backup", "x", "--check", "--data", "y"], "heddle: --check looks at the backup alone"],
    [["backup", "x", "--run", "1"], "heddle: --run goes with --check only"],
    [["backup", "x", "--keep", "0"], "Wanted a whole number from 1 to 10000."],
    [["restore", "x", "y"], "heddle: required option '--keys <file>' not specified"],
    [["restore", "x", "--keys", "k"], "heddle: no data folder is named"],
    [["restore", "x", "y", "--keys", "k", "--out", "z"], "heddle: --out goes with --entity only"],
    [["restore", "x", "y", "--keys", "k", "--domain", "z"], "heddle: --domain goes with --entity only"],
    [["restore", "x", "--keys", "k", "--entity", "account/a"], "heddle: --entity needs --domain"],
    [["restore", "x", "y", "--keys", "k", "--entity", "account/a", "--domain", "z"], "--entity makes no data folder"],
    [["restore", "x", "y", "--keys", "k", "--until", "soon"], "Wanted a time such as 2026-11-20T12:00:00Z"],
  ])("P7: heddle %j gets code 2 and a sentence", async (args, sentence) => {
    const { code, out, said } = await typed(...args);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(said).toContain(sentence);
  });

  it.each(["0.0.0.0", "::", "192.168.1.7", "example.org", "127.0.0.1.example.org"])(
    "P7: serve --host %s is refused, because there are neither tokens nor TLS",
    async (host) => {
      const { code, said } = await typed("serve", "--domain", "x", "--host", host);
      expect(code).toBe(2);
      expect(said).toBe(
        `heddle: ${JSON.stringify(host)} is not a loopback address: this version has neither tokens nor TLS, so a node listens to its own machine only\n` +
          "  Leave --host out, and let other machines in through something that checks who they are, such as an SSH tunnel.\n",
      );
    },
  );

  it("is told as JSON where JSON is asked for", async () => {
    const { code, out } = await typed("import", "/nowhere.ndjson", "--json");
    expect(code).toBe(2);
    expect(JSON.parse(out)).toMatchObject({ ok: false, error: { message: "there is no file /nowhere.ndjson" } });
  });

  it("P7: an id or a URL that is none is refused before anything is sent", async () => {
    const noEntity = await typed("get", "alice");
    expect([noEntity.code, noEntity.said]).toEqual([
      1,
      'heddle: "alice" is not an entity id: there is no slash between kind and name\n' +
        "  Write kind/name, for example account/alice.\n  INVALID_ENTITY_ID\n",
    ]);
    const noUrl = await typed("get", "account/alice", "--url", "http://x");
    expect([noUrl.code, noUrl.said]).toEqual([1, expect.stringContaining("wanted heddle://host:port/context")]);
  });
});

describe("command line: help", () => {
  it("is printed for nothing at all, and for every command with examples", async () => {
    const { code, out } = await typed();
    expect(code).toBe(0);
    expect(out).toContain("Exit codes: 0 done");
    for (const command of commandsOf(plainProgram()).slice(1)) {
      expect(helpOf(command), command.name()).toMatch(/\nExamples:\n {2}\S/);
    }
    expect((await typed("help", "append")).out).toContain("heddle append account/alice Credited");
    expect((await typed("append", "--help")).code).toBe(0);
  });

  it("has --json on every command that has a result", () => {
    const without = commandsOf(plainProgram())
      .slice(1)
      .filter((command) => !command.options.some(({ long }) => long === "--json"));
    expect(without.map((command) => command.name())).toEqual(["bench"]);
  });

  it("is what docs/reference/cli.md says", async () => {
    expect(read("docs/reference/cli.md")).toBe(await cliReference());
  });

  it("of serve is what docs/reference/configuration.md says, option by option", () => {
    const page = read("docs/reference/configuration.md");
    const serve = plainProgram().commands.find((command) => command.name() === "serve")!;
    for (const { long, defaultValue, argChoices } of serve.options) {
      const row = page.split("\n").find((line) => line.startsWith(`| \`${long}`));
      expect(row, `${long} has no row`).toBeDefined();
      if (defaultValue !== undefined) expect(row).toContain(`\`${defaultValue}\``);
      for (const choice of argChoices ?? []) expect(row).toContain(`\`${choice}\``);
    }
  });
});

describe("command line: the node's log", () => {
  it("is a readable line for a person", () => {
    const { terminal } = capturedTerminal();
    const line = '{"level":40,"time":1000,"pid":7,"hostname":"vm","shard":1,"reason":"full","msg":"it waits"}\n';
    expect(readableLine(line, terminal)).toBe("00:00:01.000 warn  it waits shard=1 reason=full");
    expect(readableLine("not JSON\n", terminal)).toBe("not JSON");
  });
});
