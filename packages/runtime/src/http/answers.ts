// What goes back to a caller, as JSON text. The status of an operating error is the error table's. Receipts hold only
// numbers, so their text is put together as it is documented, without a pass over objects made for it.
import { type EntityId, errorTable, HeddleError } from "@heddle/kernel";
import type { AppendResult, Receipt, Rejection } from "@heddle/protocol";
import type { WireEvent } from "@heddle/protocol/internal";
import { jsonText } from "./json-text.ts";

export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** A rejection is 409: the request was understood, and the entity as it is says no. */
export function resultAnswer(entity: EntityId, result: AppendResult): Answer {
  if (!result.ok) return { status: 409, text: rejectionText(result) };
  return { status: 200, text: `{"ok":true,"entity":${JSON.stringify(entity)},${receiptFields(result)}}` };
}

export function errorAnswer(error: HeddleError): Answer {
  return { status: errorTable[error.code].status, text: errorText(error) };
}

/** One result for each item, in order. */
export function resultsText(results: readonly (AppendResult | HeddleError)[]): string {
  let text = '{"results":[';
  for (let i = 0; i < results.length; i++) {
    const result = results[i]!;
    if (i > 0) text += ",";
    if (result instanceof HeddleError) text += errorText(result);
    else if (result.ok) text += `{"ok":true,${receiptFields(result)}}`;
    else text += rejectionText(result);
  }
  return `${text}]}`;
}

/** Fields are always all there; what an event does not have is null. */
export function eventText(event: WireEvent): string {
  return `{${eventFields(event)}}`;
}

/** The same without its braces, for who has more to say of it. */
export function eventFields(event: WireEvent): string {
  const [seq, time, aggregate, type, payload, metadata, id, schemaVersion, position] = event;
  return (
    `"seq":${seq},"time":${time},"aggregate":${JSON.stringify(aggregate)},"type":${JSON.stringify(type)},` +
    `"payload":${jsonText(payload)},"metadata":${jsonText(metadata)},"id":${jsonText(id)},` +
    `"schemaVersion":${schemaVersion},"position":${position}`
  );
}

function receiptFields(receipt: Receipt): string {
  return (
    `"seq":${receipt.seq},"firstSeq":${receipt.firstSeq},"count":${receipt.count},"shard":${receipt.shard},` +
    `"position":${receipt.position},"time":${receipt.time},"duplicate":${receipt.duplicate}`
  );
}

function rejectionText(rejection: Rejection): string {
  const { code, message, facts } = rejection;
  return jsonText({ ok: false, code, message, facts });
}

function errorText(error: HeddleError): string {
  const { code, facts, retryable, advice } = error;
  // The error's own message ends in its advice, which has a field of its own here.
  const { describe } = errorTable[code] as { describe: (facts: unknown) => string };
  return jsonText({ ok: false, code, message: describe(facts), facts, retryable, advice });
}
