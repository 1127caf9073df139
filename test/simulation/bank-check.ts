// The bank's checks, once all faults are over: what the store holds, held against what the clients were told.
import {
  checkHistory,
  describeHistoryFaults,
  type HistoryEvent,
  type HistoryOperation,
  type StoredHistory,
} from "@heddle/testkit";
import type { SimulatedWorld } from "@heddle/testkit/internal";
import type { BankClients } from "./bank-clients.ts";
import { type Bank, bankModel, everyAccount, historyEventOf } from "./bank-domain.ts";

/** What is acknowledged is durable: so the last thing that happens before anybody looks is a power cut. */
export async function checkBank(world: SimulatedWorld<Bank>, clients: BankClients): Promise<void> {
  const reader = world.client({ timeoutMs: 60_000 });
  await clients.makeRoom(reader);
  await clients.sagas.settle(reader);
  await clients.reminders.wait();
  await world.crash("nothing");
  const stored: StoredHistory[] = [];
  for (const entity of everyAccount) {
    const events = [];
    let seq = 0;
    for await (const event of reader.entity(entity).events()) {
      if (event.seq !== ++seq) world.violation(`P1 ${entity} has the sequence ${event.seq} where ${seq} should be`);
      events.push(historyEventOf(event));
      clients.reminders.found(event);
    }
    stored.push({ entity, events });
    const look = clients.recorder.send("auditor", "get");
    const { state, seq: at } = await reader.entity(entity).get("Account");
    look.answer("ok", { reads: [{ entity, seq: at, state }] });
  }
  await clients.reminders.check(reader);
  const history = clients.recorder.finish(stored);
  const faults = checkHistory(history, { model: bankModel });
  for (const { rule, text } of faults.slice(0, 20)) world.violation(`${rule}: ${text}`);
  if (faults.length > 20) world.violation(describeHistoryFaults(faults, 0));
  checkMoney(world, history.operations, stored);
}

/** Money comes and goes by deposits and withdrawals; whatever else moves it leaves the sum as it is, but for penalties. */
function checkMoney(
  world: SimulatedWorld<Bank>,
  operations: readonly HistoryOperation[],
  stored: readonly StoredHistory[],
): void {
  const amounts = new Map<string, number>();
  for (const { events } of stored) {
    for (const { marker, value } of events) {
      if (typeof value === "number") amounts.set(marker, (amounts.get(marker) ?? 0) + value);
    }
  }
  const total = [...amounts.values()].reduce((sum, amount) => sum + amount, 0);
  const there = ({ marker, value }: HistoryEvent) => (amounts.has(marker) ? (value as number) : 0);
  let expected = 0;
  for (const operation of operations) {
    if (operation.kind === "append" || operation.kind === "execute") {
      for (const { events } of operation.writes) for (const event of events) expected += there(event);
    } else if (operation.kind === "saga") {
      // What was undone may have cost something.
      for (const { forward, back } of operation.steps) {
        const undone = there(back![0]!);
        if (undone !== 0) expected += there(forward[0]!) + undone;
      }
    }
  }
  if (total !== expected) world.violation(`money is not conserved: ${total} is there, ${expected} should be`);
}
