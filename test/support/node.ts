// A node for tests: its own data folder below the system's temporary folder, any free port, gone at the end.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { type NodeOptions, startNode } from "@heddle/runtime";
import { pino } from "pino";

export const bank = fileURLToPath(new URL("../../apps/examples/bank", import.meta.url));

export function newFolder(): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), "heddle-test-"));
}

/** Quiet, unless a test is looked into: `HEDDLE_TEST_LOG=debug npm test`. */
const logger = pino({ level: process.env["HEDDLE_TEST_LOG"] ?? "silent" });

export type TestNode = Awaited<ReturnType<typeof startTestNode>>;

export async function startTestNode(options: Partial<NodeOptions> = {}) {
  const data = options.data ?? path.join(newFolder(), "data");
  const node = await startNode({ domain: bank, port: 0, logger, ...options, data });
  return {
    ...node,
    data,
    http: `http://127.0.0.1:${node.port}`,
    async [Symbol.asyncDispose]() {
      await node.close();
      if (options.data === undefined) fs.rmSync(path.dirname(data), { recursive: true, force: true });
    },
  };
}
