// UnfinishedExport: what an export's file holds already, so that the same command can go on with it.
//
// U1. Whole entities stay as they are. What stands behind the last of them is half an entity, and is cut.
// U2. A file that is no export, or was damaged before its end, is refused and left as it is (P7).
import fs from "node:fs";
import { HeddleError } from "@heddle/kernel";
import { ExportReader } from "@heddle/protocol/internal";

export interface UnfinishedExport {
  /** Undefined for a file without a whole entity. */
  readonly context: string | undefined;
  readonly lastEntity: string | undefined;
  readonly entities: number;
  readonly events: number;
  /** Where the last whole entity ends. */
  readonly endByte: number;
}

const chunkBytes = 1 << 20;

/** Errors: `EXPORT_DAMAGED`, naming the line; those of the file system. */
export function readUnfinishedExport(file: string): UnfinishedExport {
  const reader = new ExportReader();
  let [context, lastEntity, entities, events, endByte, at] = [undefined, undefined, 0, 0, 0, 0] as Found;
  let [openEntity, openContext] = ["", ""];
  for (const line of wholeLinesOf(file)) {
    at += line.length;
    const item = reader.read(line.toString("utf8"));
    if (item?.kind === "header") {
      openEntity = item.header.entity;
      openContext = item.header.context;
      if (context !== undefined && openContext !== context) {
        const problem = `it is of the context ${openContext}, those before it are of ${context}`;
        throw new HeddleError("EXPORT_DAMAGED", { line: reader.line, problem });
      }
    } else if (item?.kind === "end") {
      [context, lastEntity, endByte] = [openContext, openEntity, at];
      entities++;
      events += item.events;
    }
  }
  return { context, lastEntity, entities, events, endByte };
}

type Found = [string | undefined, string | undefined, number, number, number, number];

/** Lines with their line ends, as bytes, so that their places in the file are known. One without an end was cut. */
function* wholeLinesOf(file: string): Generator<Buffer> {
  const descriptor = fs.openSync(file, "r");
  try {
    let held = Buffer.alloc(0);
    for (;;) {
      const chunk = Buffer.alloc(chunkBytes);
      const read = fs.readSync(descriptor, chunk, 0, chunk.length, null);
      if (read === 0) return;
      let from = 0;
      const bytes = Buffer.concat([held, chunk.subarray(0, read)]);
      for (let end = bytes.indexOf(10, held.length); end >= 0; end = bytes.indexOf(10, from)) {
        yield bytes.subarray(from, end + 1);
        from = end + 1;
      }
      held = bytes.subarray(from);
    }
  } finally {
    fs.closeSync(descriptor);
  }
}
