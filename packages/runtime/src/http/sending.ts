// How an answer leaves: status, content type, and when to come again.
import type { FastifyReply } from "fastify";
import type { Answer } from "./answers.ts";
import { jsonText } from "./json-text.ts";

export function sendValue(reply: FastifyReply, value: unknown): FastifyReply {
  return send(reply, { status: 200, text: jsonText(value) });
}

export function send(reply: FastifyReply, answer: Answer): FastifyReply {
  if (answer.status === 503) reply.header("retry-after", retryAfterSeconds);
  // The line end is for people at a terminal.
  return reply.code(answer.status).type("application/json").send(`${answer.text}\n`);
}

/** Long enough to let a queue drain, short enough to go unnoticed. */
export const retryAfterSeconds = "1";
