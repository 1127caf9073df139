// Heddle through its SDK, as an application calls it.

import { Heddle } from "@heddle/client";
import type bank from "@heddle-examples/bank";
import { accountNames, aggregate } from "./accounts.ts";
import type { Target } from "./target.ts";

export async function heddleTarget(port: number, connections: number): Promise<Target> {
  const db = new Heddle<typeof bank>({ host: "127.0.0.1", port, connections });
  await db.ready();
  const options = { aggregate } as const;
  return {
    append(_caller, account, events) {
      const entity = db.entity(accountNames[account]!);
      if (events.length > 1) return entity.append(events, options);
      const { type, payload } = events[0]!;
      return entity.append(type, payload, options);
    },
    async appendMany(items) {
      const calls = items.map(
        ({ account, event }) => ({ entity: accountNames[account]!, aggregate, ...event }) as const,
      );
      return db.appendMany(calls);
    },
    async state(account) {
      const { state, seq } = await db.entity(accountNames[account]!).get(aggregate);
      return { seq, balance: state.balance };
    },
    close: () => db.close(),
  };
}
