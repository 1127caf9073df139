// One HTTP+JSON connection, kept alive: the broker's way in. The HTTP floor answers the same requests.
import http from "node:http";
import { accountNames, aggregate } from "./accounts.ts";
import type { CallResult, Target } from "./target.ts";

/** As long as the SDK waits for an answer. */
const timeoutMs = 30_000;

export function httpTarget(port: number): Target {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const ask = (method: string, path: string, body?: string) => request(agent, port, method, path, body);
  return {
    append() {
      throw new Error("HTTP calls are for many accounts");
    },
    async appendMany(items) {
      const body = {
        items: items.map(({ account, event }) => ({
          entity: accountNames[account]!,
          aggregate,
          type: event.type,
          payload: event.payload,
        })),
      };
      const answer = await ask("POST", "/v1/append-many", JSON.stringify(body));
      const { results } = JSON.parse(answer) as { readonly results?: readonly CallResult[] };
      // Checked here, because behind this the call counts as answered, and each item looks for its own result.
      if (!Array.isArray(results)) throw new Error(`an answer without results: ${answer.slice(0, 200)}`);
      return results;
    },
    async state(account) {
      const answer = await ask("GET", `/v1/entities/${accountNames[account]}?aggregate=${aggregate}`);
      const { state, seq } = JSON.parse(answer) as {
        readonly state: { readonly balance: number };
        readonly seq: number;
      };
      return { seq, balance: state.balance };
    },
    async close() {
      agent.destroy();
    },
  };
}

/** Errors: what `code` in the answer's body says for any status but 200; `HTTP_<status>` for an answer without one. */
function request(agent: http.Agent, port: number, method: string, path: string, body = ""): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const sent = http.request({ agent, host: "127.0.0.1", port, method, path, headers }, (answer) => {
      const parts: Buffer[] = [];
      answer.on("data", (part: Buffer) => parts.push(part));
      answer.on("error", reject);
      answer.on("end", () => {
        const text = (parts.length === 1 ? parts[0]! : Buffer.concat(parts)).toString();
        if (answer.statusCode === 200) resolve(text);
        else reject(answerError(answer.statusCode!, text));
      });
    });
    sent.setTimeout(timeoutMs, () => sent.destroy(Object.assign(new Error("no answer"), { code: "TIMEOUT" })));
    sent.on("error", reject);
    sent.end(body);
  });
}

function answerError(status: number, text: string): Error {
  let code = `HTTP_${status}`;
  try {
    code = (JSON.parse(text) as { code?: string }).code ?? code;
  } catch {
    // The status says what is known of an answer that is no JSON.
  }
  return Object.assign(new Error(`HTTP ${status}: ${text.slice(0, 200)}`), { code });
}
