// The shop of these tests with new code: sales weigh double, so that the states of whoever sold something differ.
import { defineAggregate, defineContext, event } from "@heddle/domain";
import { emptyStock, Price, type StockState, stockEvents } from "./shop.spec-support.ts";

const Sold = event(stockEvents.Sold.schema, (s: StockState, e) => ({ left: s.left - 2 * e.quantity }));

const Stock = defineAggregate("Stock", {
  version: 2,
  initial: emptyStock,
  events: { ...stockEvents, Sold },
  invariants: { "stock is never negative": (s) => s.left >= 0 },
});

export default defineContext("shop", { aggregates: [Stock, Price] });
