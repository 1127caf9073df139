// Older readers: which read transactions look at states of the environment before a given one, in any process.
import type { Tables } from "./environment.ts";

/** A line of LMDB's list: process, thread (hex), and the transaction that is read, or "-" for none. */
const readerLine = /^\s*\d+\s+[0-9a-f]+\s+(\d+)\s*$/gm;

/** How many readers there are of a transaction before this one. Those of processes that died do not count. */
export function countReadersBefore(root: Tables["root"], transaction: bigint): number {
  root.readerCheck();
  // This thread's own, if a read of this turn began it.
  root.resetReadTxn();
  let older = 0;
  for (const [, read] of root.readerList().matchAll(readerLine)) {
    if (BigInt(read!) < transaction) older++;
  }
  return older;
}
