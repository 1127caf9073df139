// What a saga came to, read by hand. Problems, which may hold anything, and names beyond ASCII are left to the codec of values.
import { PackedReader } from "./pack-values.ts";
import { readReceiptNumbers } from "./packed-results.ts";
import type { WireOutcome, WireReceipt, WireSagaResult, WireSagaStep } from "./saga-replies.ts";

const reader = new PackedReader();
const listOfThree = 0x93;

/** Reads a {@link WireSagaResult}. Undefined where it is any other value, or none: that is for `decodeValue` to find out. */
export function readPackedSagaResult(bytes: Uint8Array, from: number, to: number): WireSagaResult | undefined {
  if (from === to || bytes[from] !== listOfThree) return undefined;
  reader.begin(bytes, from + 1, to);
  const end = reader.number();
  const duplicate = reader.boolean();
  const steps = new Array<WireSagaStep>(reader.list());
  for (let i = 0; i < steps.length && !reader.failed; i++) steps[i] = readStep();
  return reader.end() ? [end, duplicate, steps] : undefined;
}

const none: WireSagaStep = ["", [0, null, null, null]];

function readStep(): WireSagaStep {
  if (reader.list() !== 2) reader.failed = true;
  const entity = reader.text();
  if (reader.list() !== 4) reader.failed = true;
  const state = reader.number();
  const receipt = readReceipt();
  const compensation = readReceipt();
  if (!reader.nil()) reader.failed = true;
  if (reader.failed) return none;
  const outcome: WireOutcome = [state, receipt, compensation, null];
  return [entity, outcome];
}

function readReceipt(): WireReceipt | null {
  if (reader.nil()) return null;
  if (reader.list() !== 6) reader.failed = true;
  return readReceiptNumbers(reader);
}
