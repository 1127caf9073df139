import { expect, it } from "vitest";
import { readErasureReceipt } from "./erasure-receipt.ts";

const receipt = {
  entity: "account/alice",
  shard: 1,
  seq: 8,
  position: 4_096,
  time: 1_763_600_000_000,
  from: 1,
  to: 7,
  complete: true,
};

it("a receipt survives JSON, and holds no more than is known of one", () => {
  expect(readErasureReceipt(JSON.parse(JSON.stringify({ ...receipt, more: 1 })))).toEqual(receipt);
});

it.each([
  ["entity", "alice"],
  ["entity", 5],
  ["shard", -1],
  ["seq", "8"],
  ["position", 1.5],
  ["time", null],
  ["from", undefined],
  ["to", Number.NaN],
  ["complete", 1],
])("P7 refuses a receipt whose %s is %s", (path, wrong) => {
  const facts = expect.objectContaining({ path });
  expect(() => readErasureReceipt({ ...receipt, [path]: wrong })).toThrowError(
    expect.objectContaining({ code: "INVALID_REQUEST", facts }),
  );
  expect(() => readErasureReceipt(null)).toThrowError(expect.objectContaining({ code: "INVALID_REQUEST" }));
});
