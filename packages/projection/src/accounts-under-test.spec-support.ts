// A projection of a bank over a feed that is the same for everybody who makes it, followed into a sink: what specs with real
// servers share, and the process that they kill.
import { defineAggregate, defineContext, defineProjection, event } from "@heddle/domain";
import { type CompiledProjection, compileContext, type Row } from "@heddle/domain/internal";
import { systemClock, systemRandom } from "@heddle/kernel";
import type { MemoryFeed } from "./memory-feed.spec-support.ts";
import { Projections } from "./projections.ts";
import type { Sink } from "./sink.ts";
import type { TrackLimits } from "./track.ts";

const anything = {
  "~standard": {
    version: 1 as const,
    vendor: "test",
    validate: (value: unknown) => ({ value: value as object }),
  },
};
interface Movement {
  readonly amount: number;
}
const Account = defineAggregate("Account", {
  version: 1,
  initial: () => 0,
  events: { Credited: event(anything, (state) => state), Closed: event(anything, (state) => state) },
});
const domain = compileContext(
  defineContext("bank", {
    aggregates: [Account],
    projections: [
      defineProjection("accounts", {
        version: 1,
        from: [Account],
        columns: { account: "text", balance: "integer", movements: "integer", last: "text" },
        key: ["account"],
        indexes: [["balance"]],
        on: {
          Credited: (row, { entity, payload, seq }) => ({
            account: entity,
            balance: (row?.balance ?? 0) + (payload as Movement).amount,
            movements: (row?.movements ?? 0) + 1,
            last: `movement ${seq}`,
          }),
          Closed: () => null,
        },
      }),
    ],
  }),
);

export const accounts: CompiledProjection = domain.projections.get("accounts")!;
export const shards = 2;

/** Appends number `from` to `to`, of about `entities` accounts. Positions and amounts follow from the number alone. */
export function addMovements(feed: MemoryFeed, from: number, to: number, entities = 40): void {
  for (let i = from; i < to; i++) {
    const number = ((i * 2_654_435_761) % 4_294_967_296) % entities;
    const type = i % 97 === 96 ? "Closed" : "Credited";
    const events = [{ type, payload: { amount: (i % 1_000) + 1 } }];
    feed.add(number % shards, { entity: `account/${number}`, aggregate: "Account", events });
  }
}

/** What the rows have to be after so many appends: folded here, by other code. */
export function expectedRows(count: number, entities = 40): readonly Row[] {
  const rows = new Map<string, { account: string; balance: number; movements: number; last: string }>();
  const seqs = new Map<string, number>();
  for (let i = 0; i < count; i++) {
    const account = `account/${((i * 2_654_435_761) % 4_294_967_296) % entities}`;
    const seq = (seqs.get(account) ?? 0) + 1;
    seqs.set(account, seq);
    if (i % 97 === 96) rows.delete(account);
    else {
      const { balance = 0, movements = 0 } = rows.get(account) ?? {};
      rows.set(account, {
        account,
        balance: balance + (i % 1_000) + 1,
        movements: movements + 1,
        last: `movement ${seq}`,
      });
    }
  }
  return [...rows.values()].sort(byAccount);
}

export async function storedRows(sink: Sink): Promise<readonly Row[]> {
  const stored = await sink.describe("accounts");
  const rows: Row[] = [];
  if (stored?.live === undefined) return rows;
  for await (const page of sink.rows({ projection: accounts, generation: stored.live.generation })) {
    rows.push(...page.map(({ row }) => row));
  }
  return rows.sort(byAccount as (a: Row, b: Row) => number);
}

export function project(
  feed: MemoryFeed,
  sink: Sink,
  more: { readonly limits?: Partial<TrackLimits>; readonly crashPoint?: (name: string) => void } = {},
): Projections {
  const limits = { lingerMs: 1, idleMs: 20, backoffMinMs: 20, backoffMaxMs: 200, ...more.limits };
  const projections = new Projections({
    domain,
    source: feed,
    sinks: [sink],
    history: "test",
    clock: systemClock,
    random: systemRandom,
    ...more,
    limits,
  });
  projections.start();
  return projections;
}

function byAccount(a: { readonly account?: unknown }, b: { readonly account?: unknown }): number {
  return String(a.account) < String(b.account) ? -1 : 1;
}
