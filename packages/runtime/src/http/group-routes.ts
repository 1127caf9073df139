// Routes about consumer groups: being a member without the SDK, and the operator's desk.
import type { FastifyInstance } from "fastify";
import { pageName, readGroupPoll } from "./group-checks.ts";
import type { HttpAppOptions } from "./http-options.ts";
import { readJson } from "./json-body.ts";
import { readNothing } from "./query-checks.ts";
import { send, sendValue } from "./sending.ts";
import { feedText } from "./stream-routes.ts";
import type { WaitingCalls } from "./waiting-calls.ts";

interface GroupParams {
  readonly Params: { readonly group: string };
}

export function addGroupRoutes(app: FastifyInstance, options: HttpAppOptions, waiting: WaitingCalls): void {
  const { gateway } = options;

  app.get("/v1/groups", async (request, reply) => {
    readNothing(request.query);
    return sendValue(reply, { groups: await gateway.groups() });
  });

  app.delete<GroupParams>("/v1/groups/:group", async (request, reply) => {
    readNothing(request.query);
    return sendValue(reply, { ok: true, wasThere: await gateway.forgetGroup(request.params) });
  });

  app.post<GroupParams>("/v1/groups/:group/poll", async (request, reply) => {
    const body = await readJson(request, reply, options);
    // What comes too late for it is given again: the member has not said that it is dealt with.
    const answer = await waiting.until(gateway.groupPoll(readGroupPoll(body, request.params.group)));
    const events = answer.page.events.map(({ event }) => feedText(event)).join(",");
    const text = `{"ok":true,"page":${JSON.stringify(pageName(answer))},"slots":${countBits(answer.slots)},"events":[${events}]}`;
    return send(reply, { status: 200, text });
  });
}

function countBits(bits: number): number {
  let count = 0;
  for (let left = bits; left !== 0; left &= left - 1) count++;
  return count;
}
