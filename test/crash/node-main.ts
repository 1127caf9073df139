// The process that is killed: one node on the bank, told what to do by its parent, and telling it what its log says.
import { flushCompileCache } from "node:module";
import { HeddleError } from "@heddle/kernel";
import { type NodeOptions, startNode } from "@heddle/runtime";
import { pino } from "pino";

export interface NodeStart extends Omit<NodeOptions, "logger"> {
  /** Gives up the rights of root, if it has them, before it opens anything. */
  readonly asNobody?: boolean;
}

export type FromNode =
  | { readonly kind: "log"; readonly line: string }
  | { readonly kind: "ready"; readonly port: number }
  | { readonly kind: "armed" }
  | { readonly kind: "refused"; readonly code: string; readonly message: string };

export type ToNode =
  | { readonly kind: "close" }
  /** Answered with "armed". */
  | { readonly kind: "crash-at"; readonly point: string };

const nobody = 65_534;

const { asNobody, ...options } = JSON.parse(process.argv[2]!) as NodeStart;
const say = (message: FromNode) => new Promise((resolve) => process.send!(message, resolve));

// A test that dies leaves no node behind.
process.on("disconnect", () => process.exit(0));

if (asNobody === true && process.getuid!() === 0) {
  // The domain is read first: the tree that it lies in may be closed to others.
  await import(options.domain);
  process.setgroups!([]);
  process.setgid!(nobody);
  process.setuid!(nobody);
}

try {
  const logger = pino({ level: "info" }, { write: (line: string) => void say({ kind: "log", line }) });
  const node = await startNode({ ...options, logger });
  process.on("message", async (message: ToNode) => {
    if (message.kind === "crash-at") {
      node.crashAt(message.point);
      await say({ kind: "armed" });
      return;
    }
    await node.close();
    process.exit(0);
  });
  await say({ kind: "ready", port: node.port });
  // A process that is killed would not leave it to the next one.
  flushCompileCache();
} catch (error) {
  const code = error instanceof HeddleError ? error.code : "NOT_TYPED";
  await say({ kind: "refused", code, message: String((error as Error)?.message ?? error) });
  process.exit(1);
}
