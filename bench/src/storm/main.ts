// npm run storm: 100,000 transfers between 1,000 accounts, by transaction and by saga, with an auditor in the middle, and kill -9
// where it is asked for.
//
// Results go to standard output, progress to standard error. Exit codes: 0; 1 something was not as it must be; 2 wrong use.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { createProgress } from "../driver/progress.ts";
import type { TransferWay } from "../load/pairs.ts";
import { amountMax, failsEvery } from "./plan.ts";
import { runStorm, type StormReport } from "./run-storm.ts";

const transfersMax = 10_000_000;

const usage = `npm run storm -- [options]

  --transfers <n>   by each way; default 100,000, of which every ${failsEvery}th must fail
  --seconds <n>     each way goes on for so long instead, up to ${transfersMax.toLocaleString("en-GB")} transfers
  --kills <n>       by each way: the node is killed with SIGKILL at so many moments, which the seed picks; default 0
  --accounts <n>    default 1,000, of which one in a hundred is frozen
  --by <way>        transaction, saga, or both, one after the other (default)
  --callers <n>     transfers that are under way at a time; default 200
  --shards <n>      default 4
  --threads <n>     shard threads; default: the node's own choice
  --seed <n>        picks the transfers; default 1
  --data <folder>   where the data folder is made and removed again; default the system's temporary folder
  --json            print the report as JSON

Exit codes: 0; 1 money was lost or made, or a transfer did not end as planned; 2 wrong use.`;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  let values: ReturnType<typeof parse>;
  try {
    values = parse(args);
  } catch (error) {
    console.error(`storm: ${(error as Error).message}\n\n${usage}`);
    return 2;
  }
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const base = path.resolve(values.data);
  fs.mkdirSync(base, { recursive: true });
  const folder = fs.mkdtempSync(path.join(base, "heddle-storm-"));
  const progress = createProgress(process.stderr);
  const interrupt = () => {
    progress.end();
    fs.rmSync(folder, { recursive: true, force: true });
    process.exit(130);
  };
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  try {
    const { accounts, transfers, seconds, kills, ways, callers, shards, threads, seed } = values;
    const report = await runStorm({
      data: path.join(folder, "data"),
      accounts,
      transfers,
      kills,
      ways,
      callers,
      shards,
      seed,
      ...(threads === undefined ? {} : { threads }),
      ...(seconds === undefined ? {} : { seconds }),
      onProgress(way, done, share) {
        if (done % 500 !== 0 && done !== transfers) return;
        const all = seconds === undefined ? ` of ${transfers.toLocaleString("en-GB")}` : "";
        progress.step(`transfers by ${way}`, `${done.toLocaleString("en-GB")}${all}`, share);
      },
    });
    progress.end();
    console.log(values.json ? JSON.stringify(report, undefined, 2) : describe(report).join("\n"));
    return report.ok ? 0 : 1;
  } finally {
    progress.end();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

function parse(args: readonly string[]) {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...{
        transfers: text,
        seconds: text,
        kills: text,
        accounts: text,
        by: text,
        callers: text,
        shards: text,
        threads: text,
        seed: text,
      },
      ...{ data: text, json: flag, help: flag },
    },
  });
  const whole = (
    name: "transfers" | "seconds" | "kills" | "accounts" | "callers" | "shards" | "threads" | "seed",
    min: number,
    max: number,
  ) => {
    const given = values[name];
    if (given === undefined) return undefined;
    const value = Number(given.replaceAll(/[_,]/g, "") || Number.NaN);
    if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
    throw new Error(`--${name} is a whole number from ${min} to ${max}, found ${JSON.stringify(given)}`);
  };
  if (values.transfers !== undefined && values.seconds !== undefined) {
    throw new Error("--transfers and --seconds exclude each other");
  }
  const seconds = whole("seconds", 1, 86_400);
  return {
    transfers: whole("transfers", 1, transfersMax) ?? (seconds === undefined ? 100_000 : transfersMax),
    seconds,
    kills: whole("kills", 0, 1_000) ?? 0,
    // As many as one getMany reads at one moment.
    accounts: whole("accounts", 3, 10_000) ?? 1_000,
    ways: waysOf(values.by ?? "both"),
    callers: whole("callers", 1, 8_000) ?? 200,
    shards: whole("shards", 1, 1_024) ?? 4,
    threads: whole("threads", 1, 256),
    seed: whole("seed", 0, 2 ** 32 - 1) ?? 1,
    data: values.data ?? os.tmpdir(),
    json: values.json ?? false,
    help: values.help ?? false,
  };
}

function waysOf(by: string): readonly TransferWay[] {
  if (by === "both") return ["transaction", "saga"];
  if (by === "transaction" || by === "saga") return [by];
  throw new Error(`--by is transaction, saga or both, found ${JSON.stringify(by)}`);
}

function describe({
  ok,
  accounts,
  shards,
  threads,
  durability,
  total,
  ways,
  askedAgain,
  sagasEndedAlone,
  integrity,
  ...rest
}: StormReport): string[] {
  const whole = (value: number) => Math.round(value).toLocaleString("en-GB");
  const lines = [
    `${whole(accounts)} accounts with ${whole(total)} between them, on ${shards} shard(s), ${threads} thread(s), durability ${durability}`,
  ];
  for (const { way, transfers, moved, failed, audits, missedMax, kills, tookMs, transfersPerSecond } of ways) {
    const reasons = Object.entries(failed).map(([reason, count]) => `${whole(count)} ${reason}`);
    const seen = missedMax === 0 ? "each found all the money" : `at most ${whole(missedMax)} was under way`;
    lines.push(
      `by ${way}: ${whole(transfers)} transfers in ${(tookMs / 1000).toFixed(1)} s, ${whole(transfersPerSecond)}/s, ${whole(kills)} kills: ` +
        `${whole(moved)} moved up to ${amountMax} each, ${reasons.join(", ")}`,
      `  ${whole(audits)} audits meanwhile, ${seen}`,
    );
  }
  if (askedAgain > 0) {
    lines.push(
      `${whole(askedAgain)} calls were asked again with the same id; ${whole(sagasEndedAlone)} sagas had ended by themselves`,
    );
  }
  lines.push(integrity);
  lines.push(
    ok ? "Money is conserved, and every transfer ended as planned." : `${whole(rest.objectionTotal)} OBJECTIONS:`,
  );
  return [...lines, ...rest.objections.map((objection) => `  ${objection}`)];
}
