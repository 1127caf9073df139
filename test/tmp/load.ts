import { Heddle } from "@heddle/client";

const [callers, batch, conns, seconds] = process.argv.slice(2).map(Number) as [number, number, number, number];
const dbs = Array.from({ length: conns }, () => new Heddle({ host: "127.0.0.1", port: 9391 }));
for (const db of dbs) await db.ready();
const lat: number[] = [];
let count = 0,
  bad = 0;
const ents = dbs.map((db) => Array.from({ length: 1000 }, (_, i) => db.entity(`account/${i}`)));
const started = performance.now(),
  until = started + seconds * 1000;
await Promise.all(
  Array.from({ length: callers }, async (_, c) => {
    const es = ents[c % conns]!;
    for (let n = 0; performance.now() < until; ) {
      const e = es[(Math.random() * 1000) | 0]!;
      const sent = performance.now();
      let r;
      if (batch === 1) {
        n++;
        r = await e.append("Credited", { amount: 100, currency: "EUR" }, { aggregate: "Account" });
      } else {
        const events = [];
        for (let i = 0; i < batch; i++, n++)
          events.push({
            type: n & 1 ? "Debited" : "Credited",
            payload: { amount: n & 1 ? 99 + i : 100 + i, currency: "EUR" },
          });
        r = await e.append(events, { aggregate: "Account" });
      }
      lat.push(performance.now() - sent);
      if (r.ok) count += batch;
      else {
        bad++;
        if (bad < 3) console.log(r);
      }
    }
  }),
);
const el = (performance.now() - started) / 1000;
lat.sort((a, b) => a - b);
const at = (q: number) => lat[Math.floor(lat.length * q)]!.toFixed(2);
const cpu = process.cpuUsage();
console.log(
  JSON.stringify({
    callers,
    batch,
    conns,
    rate: Math.round(count / el),
    bad,
    p50: at(0.5),
    p99: at(0.99),
    p999: at(0.999),
    cpu: ((cpu.user + cpu.system) / 1e6).toFixed(1),
  }),
);
for (const db of dbs) await db.close();
