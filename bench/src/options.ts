// The command line: read once, checked whole, and refused with one sentence that says what was wanted.
import { parseArgs } from "node:util";
import { debianFolder } from "./peers/postgres/find-postgres.ts";
import { type ScenarioName, scenarioNames } from "./scenarios.ts";

export interface BenchOptions {
  readonly scenarios: readonly ScenarioName[];
  readonly seconds: number;
  readonly warmupSeconds: number;
  readonly rounds: number;
  /** The floor's share of a long run: it is as fast at its end as at its start. */
  readonly floorSeconds: number;
  readonly durability: "fsync" | "os";
  readonly shards: number | undefined;
  readonly threads: number | undefined;
  readonly callers: number | undefined;
  /** Events that the restart scenario writes before the first stop; a bound on those that the readers scenario reads in one go. */
  readonly events: number;
  /** Entities that the sleepers scenario opens. */
  readonly entities: number;
  /** reminders: how many are pending. */
  readonly reminders: number;
  /** transfers: what the pairs of accounts are picked with. */
  readonly seed: number;
  /** Folder of PostgreSQL's programs, or `none`. */
  readonly postgres: string;
  /** Share of the closed loop's rate that the open loop offers; 0 leaves it out. */
  readonly openLoop: number;
  /** Where data folders are made; undefined: the system's folder for temporary files. */
  readonly data: string | undefined;
  readonly out: string | undefined;
  readonly profile: string | undefined;
  readonly json: boolean;
  readonly keep: boolean;
  readonly strict: boolean;
  readonly slowDisk: boolean;
}

export const usage = `npm run bench -- [options]

  --scenario <names>     any of ${scenarioNames.join(", ")}; default all, in this order
  --seconds <n>          length of one measurement, up to 600; default 10
  --warmup <n>           seconds of load before each measurement; default 2
  --rounds <n>           floor and Heddle take turns this often; default 3
  --floor-seconds <n>    length of the floor's measurements; default that of --seconds, at most 60
  --durability <mode>    fsync (default), or os: acknowledged before it is on disk
  --shards <n>           default: the node's own choice; transfers: of those over several, at least 2
  --threads <n>          shard threads; default: the node's own choice
  --callers <n>          instead of the scenario's own number
  --events <n>           restart: events in the log before the first stop; default 10,000,000. readers: at most as many
                         are read in one go, of 2,000,000 (rebuild) and 4,000,000 (NATS)
  --entities <n>         sleepers: entities on disk; default 10,000,000
  --reminders <n>        reminders: pending ones; default 1,000,000
  --seed <n>             transfers: picks the pairs of accounts; default 1
  --postgres <folder>    transfers: where the programs of PostgreSQL 15 are, or none to leave it out;
                         default ${debianFolder}
  --open-loop <share>    a last phase that offers this share of the measured rate; default 0.7, 0 for none
  --data <folder>        where data folders are made and removed again; default the system's temporary folder
  --keep                 leave the data folders of Heddle where they are
  --out <file>           write the JSON document there too
  --json                 print the JSON document instead of the tables
  --profile <folder>     CPU profiles of the node, one a thread; makes it slower
  --slow-disk            go on although the disk fails the preflight
  --strict               exit with 1 also when a target is missed

Exit codes: 0; 1 the referee objects or a run was given up (with --strict: or a target was missed); 2 wrong use or a
disk that is too slow.`;

/** What is wrong with the command line, in one sentence. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Undefined when help is asked for. Errors: {@link UsageError}. */
export function readOptions(args: readonly string[]): BenchOptions | undefined {
  const values = parse(args);
  if (values.help) return undefined;
  const number = (
    name:
      | "seconds"
      | "warmup"
      | "rounds"
      | "floor-seconds"
      | "shards"
      | "threads"
      | "callers"
      | "events"
      | "entities"
      | "reminders"
      | "seed"
      | "open-loop",
    bounds: Bounds,
  ) => {
    const text = values[name];
    return text === undefined ? undefined : readNumber(name, text, bounds);
  };
  const seconds = number("seconds", { min: 0.2, max: 600 }) ?? 10;
  return {
    scenarios: readScenarios(values.scenario),
    seconds,
    warmupSeconds: number("warmup", { min: 0, max: 60 }) ?? Math.min(2, seconds),
    rounds: number("rounds", { min: 1, max: 100, whole: true }) ?? 3,
    floorSeconds: number("floor-seconds", { min: 0.2, max: 600 }) ?? Math.min(seconds, 60),
    durability: readDurability(values.durability),
    shards: number("shards", { min: 1, max: 1024, whole: true }),
    threads: number("threads", { min: 1, max: 256, whole: true }),
    callers: number("callers", { min: 1, max: 8_000, whole: true }),
    events: number("events", { min: 1_000, max: 10_000_000_000, whole: true }) ?? 10_000_000,
    entities: number("entities", { min: 1_000, max: 100_000_000, whole: true }) ?? 10_000_000,
    reminders: number("reminders", { min: 1_000, max: 100_000_000, whole: true }) ?? 1_000_000,
    seed: number("seed", { min: 0, max: 1_000_000, whole: true }) ?? 1,
    postgres: values.postgres ?? debianFolder,
    openLoop: number("open-loop", { min: 0, max: 2 }) ?? 0.7,
    data: values.data,
    out: values.out,
    profile: values.profile,
    json: values.json ?? false,
    keep: values.keep ?? false,
    strict: values.strict ?? false,
    slowDisk: values["slow-disk"] ?? false,
  };
}

function parse(args: readonly string[]) {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  try {
    return parseArgs({
      args: [...args],
      options: {
        scenario: text,
        seconds: text,
        warmup: text,
        rounds: text,
        "floor-seconds": text,
        durability: text,
        shards: text,
        threads: text,
        callers: text,
        events: text,
        entities: text,
        reminders: text,
        seed: text,
        postgres: text,
        "open-loop": text,
        data: text,
        out: text,
        profile: text,
        json: flag,
        keep: flag,
        strict: flag,
        "slow-disk": flag,
        help: flag,
      },
    }).values;
  } catch (cause) {
    throw new UsageError((cause as Error).message, { cause });
  }
}

function readScenarios(text: string | undefined): readonly ScenarioName[] {
  if (text === undefined) return scenarioNames;
  const asked = text.split(",").map((name) => name.trim());
  const unknown = asked.find((name) => !scenarioNames.includes(name as ScenarioName));
  if (unknown !== undefined) {
    throw new UsageError(`there is no scenario ${JSON.stringify(unknown)}; known: ${scenarioNames.join(", ")}`);
  }
  // In the order of the table, so that batch has been measured when dense is compared with it.
  return scenarioNames.filter((name) => asked.includes(name));
}

function readDurability(text = "fsync"): "fsync" | "os" {
  if (text === "fsync" || text === "os") return text;
  throw new UsageError(`--durability is fsync or os, found ${JSON.stringify(text)}`);
}

interface Bounds {
  readonly min: number;
  readonly max: number;
  readonly whole?: boolean;
}

function readNumber(name: string, text: string, { min, max, whole = false }: Bounds): number {
  const value = text.trim() === "" ? Number.NaN : Number(text.replaceAll(/[_,]/g, ""));
  if (value >= min && value <= max && (!whole || Number.isSafeInteger(value))) return value;
  throw new UsageError(
    `--${name} is a ${whole ? "whole " : ""}number from ${min} to ${max}, found ${JSON.stringify(text)}`,
  );
}
