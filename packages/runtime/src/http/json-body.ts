// From a request's bytes to a JSON value.
//
// Reads with three bounds: bytes of one body, bytes of all bodies that are held at once, and (the server's) time. A
// refused sender is not cut off: what it still sends is thrown away, so that it lives to read the answer, and the
// request's time ends it if it never stops.
import { isUtf8 } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import { HeddleError, limits } from "@heddle/kernel";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { HttpBounds } from "./bounds.ts";
import { refusal } from "./check-values.ts";

/** Counts the bytes of bodies from their arrival to the end of the answer. */
export class BodyLedger {
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bounds: Pick<HttpBounds, "bodyBytesInFlightMax">) {
    this.#bytesMax = bounds.bodyBytesInFlightMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Errors: `OVERLOADED` when they would not fit. */
  take(bytes: number): void {
    if (this.#bytes + bytes > this.#bytesMax) {
      const facts = { queue: "request bodies in memory", depth: this.#bytes, depthMax: this.#bytesMax };
      throw new HeddleError("OVERLOADED", facts);
    }
    this.#bytes += bytes;
  }

  giveBack(bytes: number): void {
    this.#bytes -= bytes;
  }
}

/**
 * Reads a whole body.
 *
 * Errors: `UNSUPPORTED_MEDIA_TYPE` for a compressed one and for a charset other than UTF-8, `FRAME_TOO_LARGE`,
 * `OVERLOADED`, and `CLOSED` when the sender went away (nobody is left to read it).
 */
export function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  ledger: BodyLedger,
  bytesMax: number,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const refuse = (error: unknown): void => {
      request.off("data", onData).off("end", onEnd).resume();
      reject(error);
    };
    const onData = (chunk: Buffer): void => {
      try {
        if (bytes + chunk.length > bytesMax) throw tooLarge(bytes + chunk.length, bytesMax);
        ledger.take(chunk.length);
        bytes += chunk.length;
        chunks.push(chunk);
      } catch (error) {
        refuse(error);
      }
    };
    const onEnd = (): void => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, bytes));
    const announced = Number(request.headers["content-length"] ?? 0);
    const mediaProblem = mediaTypeProblem(request);
    if (mediaProblem !== undefined) return refuse(mediaProblem);
    if (announced > bytesMax) return refuse(tooLarge(announced, bytesMax));
    request.on("data", onData).on("end", onEnd);
    request.once("error", () => refuse(new HeddleError("CLOSED", { what: "the connection" })));
    response.once("close", () => ledger.giveBack(bytes));
  });
}

function tooLarge(bytes: number, bytesMax: number): HeddleError {
  return new HeddleError("FRAME_TOO_LARGE", { bytes, bytesMax });
}

function mediaTypeProblem(request: IncomingMessage): HeddleError | undefined {
  const { "content-type": type = "", "content-encoding": encoding = "identity" } = request.headers;
  const charset = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(type)?.[1] ?? "utf-8";
  if (!/^utf-?8$/i.test(charset)) return unsupported(type);
  return encoding === "identity" ? undefined : unsupported(`${type} with content-encoding ${encoding}`);
}

/** `found` is the content type as it was sent. */
export function unsupported(found: string): HeddleError {
  return new HeddleError("UNSUPPORTED_MEDIA_TYPE", {
    found: found === "" ? "of no stated content type" : found.slice(0, 100),
    wanted: "application/json, in UTF-8 and not compressed",
  });
}

/** A request's body as JSON. Errors: those of `readBody` and `parseJson`. */
export async function readJson(
  request: FastifyRequest,
  reply: FastifyReply,
  { ledger, bounds }: { readonly ledger: BodyLedger; readonly bounds: HttpBounds },
): Promise<unknown> {
  return parseJson(await readBody(request.raw, reply.raw, ledger, bounds.bodyBytesMax));
}

/** Parses a body. Errors: `INVALID_REQUEST`, saying what stands in the way and where. */
export function parseJson(bytes: Buffer): unknown {
  if (bytes.length === 0) throw refusal("", "the body is empty, wanted a JSON object");
  if (!isUtf8(bytes)) throw refusal("", "the body is not UTF-8");
  if (bytes.length > depthScanBytesMin && nestedTooDeep(bytes)) {
    throw refusal("", `the body is nested more than ${bodyDepthMax} levels deep`);
  }
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch (cause) {
    throw refusal("", `the body is not JSON: ${(cause as SyntaxError).message}`);
  }
}

// A payload may have `payloadDepthMax` levels; the body around it adds at most object, steps, stage, step, forward, events
// and event.
const bodyDepthMax = limits.payloadDepthMax + 7;

// JSON.parse takes 125 ns for each opening bracket: 16 MiB of them hold the node's main thread for two seconds. A scan
// takes 1 ns a byte. Bodies below this size cannot hold it longer than 35 ms, and skip the scan for speed.
const depthScanBytesMin = 256 * 1024;

function nestedTooDeep(bytes: Buffer): boolean {
  let depth = 0;
  let inText = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (inText) {
      if (byte === backslash) i++;
      else if (byte === quote) inText = false;
    } else if (byte === quote) inText = true;
    else if (byte === openBrace || byte === openBracket) {
      if (++depth > bodyDepthMax) return true;
    } else if (byte === closeBrace || byte === closeBracket) depth--;
  }
  return false;
}

const [quote, backslash, openBracket, closeBracket, openBrace, closeBrace] = [0x22, 0x5c, 0x5b, 0x5d, 0x7b, 0x7d];
