// One account over HTTP. No retries: whoever wants an answer asks again, with the same id.
import type { KeptReceipt } from "./ledger.ts";

export interface HttpAnswer {
  readonly ok: boolean;
  readonly code: string;
  readonly receipt: KeptReceipt | undefined;
}

const callTimeoutMs = 120_000;

export function appendOverHttp(origin: string, entity: string, body: object): Promise<HttpAnswer> {
  return post(`${origin}/v1/entities/${entity}/append`, body);
}

export function executeOverHttp(origin: string, entity: string, body: object): Promise<HttpAnswer> {
  return post(`${origin}/v1/entities/${entity}/execute`, body);
}

export async function getOverHttp(origin: string, path: string): Promise<string> {
  const response = await fetch(`${origin}${path}`, { signal: AbortSignal.timeout(callTimeoutMs) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${text}`);
  return text;
}

async function post(url: string, body: object): Promise<HttpAnswer> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(callTimeoutMs),
  });
  const { ok, code = "", ...rest } = (await response.json()) as { ok: boolean; code?: string } & Partial<KeptReceipt>;
  if (!ok) return { ok, code, receipt: undefined };
  const { seq, firstSeq, count, shard, position, time, duplicate } = rest as KeptReceipt;
  return { ok, code, receipt: { seq, firstSeq, count, shard, position, time, duplicate } };
}
