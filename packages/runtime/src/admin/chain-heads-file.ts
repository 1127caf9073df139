// ChainHeadsFile: exported heads of hash chains, as text.
//
//   {"format":"heddle-chain-heads","version":1,"context":"bank","exported":"2026-…Z","shardCount":8,"source":"partition"}
//   {"entity":"account/alice","seq":17,"chain":"<64 hexadecimal digits>"}         a line for each entity
//   {"entities":1,"sha256":"<of every byte before this line>"}
//
// Entities come shard by shard, in the order of their UTF-8 bytes. Whoever keeps the file where nobody can write to it can
// tell later whether any of these histories was altered up to its sequence.
import { createHash } from "node:crypto";
import fs from "node:fs";
import readline from "node:readline";
import { HeddleError } from "@heddle/kernel";

export interface ChainHeadsHeader {
  readonly format: "heddle-chain-heads";
  readonly version: 1;
  readonly context: string;
  /** When it was written, ISO 8601. */
  readonly exported: string;
  readonly shardCount: number;
  /** `log`: computed anew, because there was no partition to read them from. */
  readonly source: "partition" | "log";
}

export interface ChainHead {
  readonly entity: string;
  readonly seq: number;
  /** 64 hexadecimal digits. */
  readonly chain: string;
}

export class ChainHeadsWriter {
  readonly #write: (text: string) => void;
  readonly #hash = createHash("sha256");
  entities = 0;

  constructor(write: (text: string) => void, header: ChainHeadsHeader) {
    this.#write = write;
    this.#line(header);
  }

  add({ entity, seq, chain }: ChainHead): void {
    this.entities++;
    this.#line({ entity, seq, chain });
  }

  end(): void {
    this.#write(`${JSON.stringify({ entities: this.entities, sha256: this.#hash.digest("hex") })}\n`);
  }

  #line(value: object): void {
    const line = `${JSON.stringify(value)}\n`;
    this.#hash.update(line);
    this.#write(line);
  }
}

/**
 * Reads a file to its end and checks that it is whole.
 * Errors: `EXPORT_DAMAGED` naming the line; whatever opening the file throws.
 */
export async function checkChainHeads(file: string): Promise<ChainHeadsHeader> {
  const hash = createHash("sha256");
  let header: ChainHeadsHeader | undefined;
  let held: string | undefined;
  let lines = 0;
  for await (const line of linesOf(file)) {
    // The last line is not hashed, and it is known to be the last only when nothing follows.
    if (held !== undefined) hash.update(`${held}\n`);
    held = line;
    if (++lines === 1) header = headerOf(line);
    else if (lines > 2 && held === "") throw damaged(lines, "it is empty");
  }
  if (header === undefined || held === undefined || lines < 2)
    throw damaged(lines, "the file ends before its last line");
  const last = parse(held, lines) as { readonly entities?: unknown; readonly sha256?: unknown };
  if (typeof last.sha256 !== "string") throw damaged(lines, "the file ends before its last line");
  if (last.entities !== lines - 2) throw damaged(lines, `it counts ${last.entities} entities, found ${lines - 2}`);
  if (last.sha256 !== hash.digest("hex")) throw damaged(lines, "the lines before it do not fit its checksum");
  return header;
}

/** The heads of a file that was checked. Errors: `EXPORT_DAMAGED` for a line that is no head. */
export async function* readChainHeads(file: string): AsyncGenerator<ChainHead> {
  let lines = 0;
  for await (const line of linesOf(file)) {
    if (++lines === 1) continue;
    const head = parse(line, lines) as Partial<ChainHead>;
    if ("sha256" in head) return;
    const { entity, seq, chain } = head;
    const isHead = typeof entity === "string" && Number.isSafeInteger(seq) && /^[0-9a-f]{64}$/.test(chain ?? "");
    if (!isHead) throw damaged(lines, "wanted an entity, a sequence and a chain");
    yield { entity, seq: seq!, chain: chain! };
  }
}

async function* linesOf(file: string): AsyncGenerator<string> {
  const stream = fs.createReadStream(file);
  // Opened first, so that an error comes from here and not out of nowhere.
  await new Promise((resolve, reject) => stream.once("open", resolve).once("error", reject));
  yield* readline.createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY });
}

function headerOf(line: string): ChainHeadsHeader {
  const header = parse(line, 1) as Partial<ChainHeadsHeader>;
  if (header.format !== "heddle-chain-heads") throw damaged(1, "it is no export of chain heads");
  if (header.version !== 1) throw damaged(1, `version ${header.version}, this program knows 1`);
  if (typeof header.context !== "string" || !Number.isSafeInteger(header.shardCount)) {
    throw damaged(1, "wanted a context and a shard count");
  }
  return header as ChainHeadsHeader;
}

function parse(line: string, number: number): object {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "object" && value !== null) return value;
  } catch {
    // Said below.
  }
  throw damaged(number, "it is no JSON object");
}

function damaged(line: number, problem: string): HeddleError {
  return new HeddleError("EXPORT_DAMAGED", { line, problem });
}
