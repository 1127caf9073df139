// #region connect
import { committed, Heddle } from "@heddle/client";
import type bank from "./bank.ts";

await using db = new Heddle<typeof bank>({ host: "localhost", port: Number(process.env["PORT"] ?? 9090) });
const alice = db.entity("account/alice");
// #endregion connect

// #region append
const receipt = committed(await alice.append("Credited", { amount: 5000 }));
console.log("durable at sequence", receipt.seq);
// #endregion append

// #region read
const { state, seq } = await alice.get();
console.log("balance", state.balance, "after", seq, "event");
// #endregion read

// #region rejected
const result = await alice.append("Debited", { amount: 9000 });
if (!result.ok) console.log("refused:", result.message);
// #endregion rejected

// #region command
const withdrawal = await alice.execute("Withdraw", { amount: 6000 });
if (!withdrawal.ok && withdrawal.code === "COMMAND_REJECTED") {
  console.log("refused:", withdrawal.facts.reason, withdrawal.facts.details);
}
committed(await alice.execute("Withdraw", { amount: 500 }));
// #endregion command

// #region once
const salary = { id: "salary-2026-11" };
const first = committed(await alice.append("Credited", { amount: 3000 }, salary));
const again = committed(await alice.append("Credited", { amount: 3000 }, salary));
console.log("written once, at", first.seq, "and", again.seq, "- a repeat:", again.duplicate);
// #endregion once

// #region history
for (const event of await alice.history(10)) console.log(event.seq, event.type, event.payload.amount);
// #endregion history

// #region subscribe
for await (const event of alice.subscribe("Account", { from: 2 })) {
  console.log("seen:", event.type, event.payload.amount);
  if (event.seq === 3) break;
}
// #endregion subscribe

// #region query
const after = committed(await db.entity("account/bob").append("Credited", { amount: 20_000 }));
const { rows } = await db.query("SELECT account, balance FROM accounts WHERE balance >= ? ORDER BY account", [7500], {
  after,
});
for (const { account, balance } of rows) console.log(account, "has", balance);
// #endregion query
