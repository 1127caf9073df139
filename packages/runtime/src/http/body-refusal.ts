// Routes without a body say so.
import type { FastifyRequest } from "fastify";
import { refusal } from "./check-values.ts";

/** What somebody meant by a body that nobody reads is not to be passed over. */
export function refuseBody({ headers }: FastifyRequest): void {
  if (Number(headers["content-length"] ?? 0) === 0 && headers["transfer-encoding"] === undefined) return;
  throw refusal("", "this route takes no body; write parameters behind a question mark");
}
