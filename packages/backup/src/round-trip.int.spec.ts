// Goal: a restored log is, byte for byte, what the source's log is once its erasures are done with.
// Method: random logs over several shards with batches, ids, metadata, several lives, system events, erasures at every
// stage, and runs of a backup in between; the source's own files are the judge.
import path from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { backUp } from "./back-up.ts";
import { KeyStore } from "./key-store.ts";
import { restoreBackup } from "./restore.ts";
import { logFilesOf, Source, scratchFolder } from "./source.spec-support.ts";
import { verifyBackup } from "./verify.ts";

const entities = ["account/a", "account/b", "device/ä", "order/1/2"];
const entity = fc.constantFrom(...entities);
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("append" as const),
      entity,
      events: fc.integer({ min: 1, max: 5 }),
      bytes: fc.integer({ min: 0, max: 300 }),
      id: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("flush" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restored" as const), entity }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("backup" as const) }) },
  // How far an erasure gets before the next step: its tombstone, its entries, its keys.
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("erase" as const), entity, stage: fc.integer({ min: 1, max: 3 }) }),
  },
);

describe("P5, P6: backup and restore", () => {
  it("give back every segment byte for byte, erased entries in erased form, whatever was written and erased when", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 5, maxLength: 60 }),
        fc.integer({ min: 1, max: 3 }),
        async (steps, shardCount) => {
          const folder = scratchFolder();
          const source = new Source(path.join(folder, "data"), { shardCount });
          const options = {
            data: source.data,
            backup: path.join(folder, "backup"),
            keys: path.join(folder, "keys.sqlite"),
          };
          const keys = KeyStore.open(options.keys, { create: true });
          const unfinished: Awaited<ReturnType<Source["erase"]>>[] = [];
          let n = 0;
          for (const one of steps) {
            if (one.do === "append") {
              const payloads = Array.from({ length: one.events }, () => ({ n: n++, text: "x".repeat(one.bytes) }));
              source.add(one.entity, payloads, one.id ? { id: `id-${n}`, metadata: { n } } : {});
            } else if (one.do === "restored") source.addRestored(one.entity);
            else if (one.do === "flush") await source.flush();
            else if (one.do === "backup") await backUp(options);
            else {
              const erasure = source.addTombstone(one.entity);
              await source.flush();
              if (one.stage >= 2) await source.overwrite(erasure);
              else unfinished.push(erasure);
              if (one.stage >= 3) keys.erase([erasure]);
            }
          }
          await source.flush();
          const made = await backUp(options);
          expect(made.positions).toEqual(source.positions);
          const restored = path.join(folder, "restored");
          const { positions, closed } = await restoreBackup({ ...options, data: restored });
          expect(await verifyBackup(options)).toMatchObject({ missing: 0, logBytes: made.logBytes });
          for (const erasure of unfinished) await source.overwrite(erasure);
          source.close();
          keys.close();
          expect(positions).toEqual(made.positions);
          expect(closed).toBe(0);
          expect(logFilesOf(restored)).toEqual(logFilesOf(source.data));
        },
      ),
      { numRuns: 100 },
    );
  });
});
