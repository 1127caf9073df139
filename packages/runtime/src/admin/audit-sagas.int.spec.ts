// Goal: an audit tells sagas by their states, and finds every way in which a record and the histories can differ.
// Method: records and steps are written into logs by hand, on two shards. A real node's sagas are audited in
// test/e2e/sagas.e2e.spec.ts.
import fs from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { auditFolder } from "./audit.ts";
import { judgeSagas, SagaSlice } from "./audit-sagas.ts";
import {
  type CraftedAppend,
  craftFolder,
  received,
  sagaRecord,
  shop,
  tombstone,
} from "./crafted-folder.spec-support.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
});

async function crafted(appends: readonly CraftedAppend[]): Promise<string> {
  const data = await craftFolder(appends);
  folders.push(data);
  return data;
}

const audited = async (appends: readonly CraftedAppend[]) =>
  auditFolder({ data: await crafted(appends), domain: shop });

const hammer = "item/hammer";
const nail = "item/nail";
const did = (entity: string, id: string) => received(entity, 1, { id });

describe("audit: sagas", () => {
  it("are counted by what became of them, and not as entities", async () => {
    const report = await audited([
      did(hammer, "saga:a:0:f"),
      did(nail, "saga:a:1:f"),
      sagaRecord("a", "Committed", [
        [hammer, "done"],
        [nail, "done"],
      ]),
      did(hammer, "saga:b:0:f"),
      did(hammer, "saga:b:0:c"),
      sagaRecord("b", "Compensated", [
        [hammer, "compensated"],
        [nail, "refused", "INVARIANT_VIOLATED"],
      ]),
      did(hammer, "saga:c:0:f"),
      did(nail, "saga:c:1:f"),
      sagaRecord("c", "Stuck", [
        [hammer, "stuck"],
        [nail, "unknown"],
      ]),
      did(nail, "saga:d:1:f"),
      sagaRecord("d", undefined, [
        [hammer, "waiting"],
        [nail, "waiting"],
      ]),
    ]);
    expect(report).toMatchObject({
      ok: true,
      problems: [],
      entities: 2,
      aggregates: 2,
      sagas: { ended: 2, unfinished: 1, stuck: 1 },
    });
  });

  it.each<[string, CraftedAppend[], object]>([
    [
      "a step that is recorded as done, and is not there",
      [
        did(hammer, "saga:a:0:f"),
        sagaRecord("a", "Committed", [
          [hammer, "done"],
          [nail, "done"],
        ]),
      ],
      { found: 'no entry with the id "saga:a:1:f"', wanted: "one, as the record has step 2 done" },
    ],
    [
      "one of a saga that has not ended",
      [
        sagaRecord("a", "StepsSettled", [
          [hammer, "done"],
          [nail, "waiting"],
        ]),
      ],
      { found: 'no entry with the id "saga:a:0:f"', wanted: "one, as the record has step 1 done" },
    ],
    [
      "the same under an id of the same name, of another entity",
      [did(nail, "saga:a:0:f"), sagaRecord("a", "Committed", [[hammer, "done"]])],
      { found: 'no entry with the id "saga:a:0:f"' },
    ],
    [
      "a compensation that is recorded, and is not there",
      [
        did(hammer, "saga:a:0:f"),
        sagaRecord("a", "Compensated", [
          [hammer, "compensated"],
          [nail, "refused"],
        ]),
      ],
      { found: 'no entry with the id "saga:a:0:c"', wanted: "one, as the record has compensation of step 1 done" },
    ],
    [
      "a step that is there, and was refused",
      [
        did(hammer, "saga:a:0:f"),
        did(hammer, "saga:a:0:c"),
        did(nail, "saga:a:1:f"),
        sagaRecord("a", "Compensated", [
          [hammer, "compensated"],
          [nail, "refused"],
        ]),
      ],
      { found: `an entry of ${nail} with the id "saga:a:1:f"`, wanted: "none, as the record has step 2 not done" },
    ],
    [
      "a compensation of what did not happen",
      [did(hammer, "saga:a:0:c"), sagaRecord("a", "Compensated", [[hammer, "refused"]])],
      { found: `an entry of ${hammer} with the id "saga:a:0:c"` },
    ],
    [
      "a compensation in a saga that committed",
      [did(hammer, "saga:a:0:f"), did(hammer, "saga:a:0:c"), sagaRecord("a", "Committed", [[hammer, "done"]])],
      {
        found: `an entry of ${hammer} with the id "saga:a:0:c"`,
        wanted: "none, as the record has compensation of step 1 not done",
      },
    ],
  ])("%s is found, and named", async (_, appends, finds) => {
    const report = await audited(appends);
    expect(report.ok).toBe(false);
    expect(report.problems).toEqual([
      expect.objectContaining({ rule: "saga/steps", entity: "$saga/a", shard: expect.any(Number), ...finds }),
    ]);
    expect(report.problemTotal).toBe(1);
  });

  it("P6: steps of an entity that was erased are known by their digests", async () => {
    const steps = [did(hammer, "saga:a:0:f"), did(hammer, "saga:b:0:f"), tombstone(hammer)];
    const report = await audited([
      ...steps,
      sagaRecord("a", "Committed", [[hammer, "done"]]),
      sagaRecord("b", "Compensated", [[hammer, "refused"]]),
    ]);
    expect(report.problems).toEqual([expect.objectContaining({ rule: "saga/steps", entity: "$saga/b" })]);
  });

  it("an id that somebody else had used on the entity says nothing about the saga that was refused for it", async () => {
    const record = sagaRecord("a", "Compensated", [[hammer, "refused", "ID_REUSED"]]);
    expect(await audited([did(hammer, "saga:a:0:f"), record])).toMatchObject({ ok: true });
  });

  it("steps without any record are nobody's fault: an import brings ids, and no sagas", async () => {
    expect(await audited([did(hammer, "saga:a:0:f"), did(nail, "saga:a:1:c")])).toMatchObject({ ok: true });
  });

  it("P5: what became durable between the reading of one shard and the next is found by the second look", async () => {
    const data = await crafted([did(hammer, "saga:a:0:f"), sagaRecord("a", "Committed", [[hammer, "done"]])]);
    const slice = new SagaSlice();
    const outcomes = [[1, null, null, null]] as const;
    slice.onSaga("$saga/a", { state: "COMMITTED", entities: [hammer], outcomes } as never);
    expect(await judgeSagas(data, 2, [slice.result()], 10)).toEqual({ problems: [], total: 0 });
  });

  it("P8: all differences are counted, and no more told than was asked for", async () => {
    const ids = Array.from({ length: 30 }, (_, i) => `saga-${i}`);
    const data = await crafted(ids.map((id) => sagaRecord(id, "Committed", [[hammer, "done"]])));
    const report = await auditFolder({ data, domain: shop, problemsMax: 4 });
    expect([report.problems.length, report.problemTotal]).toEqual([4, 30]);
  });
});
