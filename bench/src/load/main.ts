// The client as a process of its own: node load/main.ts <job as JSON>. Started by the driver, which it talks to over IPC.
import fs from "node:fs";
import { accountNames } from "./accounts.ts";
import { Book, type BookData } from "./book.ts";
import { floorTarget } from "./floor-target.ts";
import { heddleTarget } from "./heddle-target.ts";
import { httpTarget } from "./http-target.ts";
import type { AbandonOrder, CheckJob, ClientJob, ClientMessage, LoadJob, OpenLoopMeasurement } from "./job.ts";
import { Load } from "./load.ts";
import { Meter } from "./meter.ts";
import type { TransferWay } from "./pairs.ts";
import type { Target } from "./target.ts";

const now = () => performance.now();

/** How often a client says how far it is. */
const progressMs = 500;
/** How often a run that ends by a count looks at it. */
const countCheckMs = 5;

const job = JSON.parse(process.argv[2]!) as ClientJob;
// A driver that is gone needs no figures.
process.on("disconnect", () => process.exit(1));
if (job.kind === "load") await runLoad(job);
else await runCheck(job);

async function runLoad(job: LoadJob): Promise<void> {
  const target = await connect(job);
  const before = readBook(job.bookFile);
  const book = new Book(accountNames, before);
  const meter = new Meter(now);
  const load = new Load(target, job.shape, book, meter);
  let phase = "opening accounts";
  const progress = setInterval(() => tell({ kind: "progress", phase, events: meter.totalEvents }), progressMs);
  process.on("message", (order: AbandonOrder) => {
    if (order.kind !== "abandon") return;
    load.abandon();
    writeBook(job.bookFile, book);
    tellLast({ kind: "done", givenUp: false });
  });
  if (before === undefined && !(await load.open())) {
    const { refused, failed } = book.toData();
    throw new Error(`the accounts could not be opened: ${JSON.stringify({ refused, failed })}`);
  }

  const running = load.closedLoop();
  phase = "warming up";
  await sleep(job.warmupSeconds * 1000);
  phase = "measuring";
  const cpu = process.cpuUsage();
  meter.start();
  tell({ kind: "measuring" });
  const sampling = setInterval(() => {
    const sample = meter.sample();
    tell({ kind: "progress", phase, events: meter.totalEvents, sample });
  }, job.sampleSeconds * 1000);
  await measured(job, meter, load);
  clearInterval(sampling);
  meter.stop(job.sampleSeconds);
  const { user, system } = process.cpuUsage(cpu);
  const measurement = meter.measurement();
  const rssBytes = process.memoryUsage().rss;
  tell({ kind: "measured", measurement, cpuMs: Math.round((user + system) / 1000), rssBytes });
  load.stop();
  await running;

  let openLoop: OpenLoopMeasurement | undefined;
  if (job.openLoop !== undefined && !load.givenUp) {
    phase = "open loop";
    openLoop = await runOpenLoop(job, job.openLoop, measurement.callsPerSecond, target, book);
  }
  clearInterval(progress);
  await target.close();
  writeBook(job.bookFile, book);
  tellLast({ kind: "done", givenUp: load.givenUp, ...(openLoop === undefined ? {} : { openLoop }) });
}

function connect(job: ClientJob): Target | Promise<Target> {
  if (job.target === "heddle") return heddleTarget(job.port, job.connections, wayOf(job));
  return job.target === "http" ? httpTarget(job.port) : floorTarget(job.port, job.connections);
}

function wayOf(job: ClientJob): TransferWay | undefined {
  return job.kind === "load" && job.shape.entities === "pair" ? job.shape.way : undefined;
}

// Until the time is over, the events are written, or the run was given up.
async function measured(job: LoadJob, meter: Meter, load: Load): Promise<void> {
  const until = now() + job.seconds * 1000;
  const eventsMax = job.eventsMax ?? Infinity;
  const pauseMs = job.eventsMax === undefined ? Math.min(100, job.seconds * 10) : countCheckMs;
  while (meter.totalEvents < eventsMax && !load.givenUp) {
    const left = until - now();
    if (left <= 0) return;
    await sleep(Math.min(left, pauseMs));
  }
}

async function runOpenLoop(
  job: LoadJob,
  wanted: NonNullable<LoadJob["openLoop"]>,
  measuredPerSecond: number,
  target: Target,
  book: Book,
): Promise<OpenLoopMeasurement> {
  const meter = new Meter(now);
  const load = new Load(target, job.shape, book, meter);
  meter.start();
  const sampling = setInterval(() => meter.sample(), job.sampleSeconds * 1000);
  const { seconds } = wanted;
  const offeredPerSecond =
    "share" in wanted ? Math.max(1, Math.floor(measuredPerSecond * wanted.share)) : wanted.callsPerSecond;
  const startedAt = now();
  const running = load.openLoop(offeredPerSecond);
  await sleep(seconds * 1000);
  load.stop();
  const made = await running;
  clearInterval(sampling);
  // Calls that were due in time and answered late belong to it, so it ends with the last answer.
  meter.stop(job.sampleSeconds);
  const offeredSeconds = Math.max(seconds, (now() - startedAt) / 1000);
  return { ...meter.measurement(), offeredPerSecond: Math.round(made / offeredSeconds) };
}

async function runCheck(job: CheckJob): Promise<void> {
  const target = await connect(job);
  const data = readBook(job.bookFile)!;
  const book = new Book(accountNames, data);
  const open = new Set(data.unknown.map(({ account }) => account));
  const differing: string[] = [];
  await Promise.all(
    accountNames.map(async (name, account) => {
      const { seq, balance } = await target.state(account);
      const known = book.knownState(account);
      // An account with calls of unknown outcome may have moved on; the referee judges what it may have become.
      const fits = open.has(account) ? seq >= known.seq : seq === known.seq && balance === known.balance;
      if (!fits) differing.push(`${name}: ${seq}, balance ${balance}; booked ${known.seq}, balance ${known.balance}`);
    }),
  );
  await target.close();
  tellLast({ kind: "checked", accounts: accountNames.length, differing });
}

function readBook(file: string): BookData | undefined {
  return fs.existsSync(file) ? (JSON.parse(fs.readFileSync(file, "utf8")) as BookData) : undefined;
}

function writeBook(file: string, book: Book): void {
  fs.writeFileSync(file, JSON.stringify(book.toData()));
}

function tell(message: ClientMessage): void {
  process.send!(message);
}

function tellLast(message: ClientMessage): void {
  process.send!(message, () => process.exit(0));
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
