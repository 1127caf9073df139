// The bank, loaded by a shard thread only when a test says so: a thread that starts stays where it is for as long as the
// test wants to look around. On the main thread it is the bank at once.
import { isMainThread, threadId } from "node:worker_threads";
import bank from "@heddle-examples/bank";

export const gateName = "heddle-test-gate";

/** From a thread: it stands at the gate. To a thread: it may go on, or is to end before it is ready. */
export type GateMessage =
  | { readonly kind: "waits"; readonly thread: number }
  | { readonly kind: "go" | "end"; readonly thread: number };

if (!isMainThread) {
  const gate = new BroadcastChannel(gateName);
  const order = await new Promise<GateMessage["kind"]>((resolve) => {
    gate.onmessage = (event) => {
      const { kind, thread } = event.data as GateMessage;
      if (thread === threadId && kind !== "waits") resolve(kind);
    };
    gate.postMessage({ kind: "waits", thread: threadId } satisfies GateMessage);
  });
  gate.close();
  if (order === "end") process.exit(7);
}

export default bank;
