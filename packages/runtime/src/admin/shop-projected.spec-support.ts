// The shop of the tests of this folder, with projections: one with a row for each entity, one whose rows belong to several.
import { defineContext, defineProjection } from "@heddle/domain";
import { Price, Stock } from "./shop.spec-support.ts";

export const stock = defineProjection("stock", {
  version: 1,
  from: [Stock],
  columns: { item: "text", pieces: "integer", moves: "json" },
  key: ["item"],
  on: {
    Received: (row, { entity, payload, seq }) => ({
      item: entity,
      pieces: (row?.pieces ?? 0) + payload.quantity,
      moves: [...((row?.moves as readonly number[] | undefined) ?? []), seq],
    }),
    Sold: (row, { entity, payload, seq }) => {
      if (row === undefined) throw new Error("nothing was there to be sold");
      return { item: entity, pieces: row.pieces - payload.quantity, moves: [...(row.moves as readonly number[]), seq] };
    },
  },
});

export const sizes = defineProjection("sizes", {
  version: 1,
  from: [Stock],
  columns: { quantity: "integer", times: "integer" },
  key: ["quantity"],
  keyOf: ({ payload }) => ("quantity" in payload ? payload.quantity : null),
  on: {
    Received: (row, { payload }) => ({ quantity: payload.quantity, times: (row?.times ?? 0) + 1 }),
    Sold: (row, { payload }) => ({ quantity: payload.quantity, times: (row?.times ?? 0) + 1 }),
  },
});

export default defineContext("shop", { aggregates: [Stock, Price], projections: [stock, sizes] });
