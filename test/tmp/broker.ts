import http from "node:http";
const seconds = Number(process.argv[2]);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const call = (body: string) => new Promise<string>((resolve, reject) => { const r = http.request({ port: 9391, path: "/v1/append-many", method: "POST", agent, headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) } }, (res) => { const c: Buffer[] = []; res.on("data", (d) => c.push(d)); res.on("end", () => resolve(Buffer.concat(c).toString())); }); r.on("error", reject); r.end(body); });
const lat: number[] = []; let n = 0; const until = performance.now() + seconds * 1000; const t0 = performance.now();
while (performance.now() < until) {
  const items = []; for (let i = 0; i < 1000; i++) items.push({ entity: `account/${i}`, aggregate: "Account", type: "Credited", payload: { amount: 100 + i, currency: "EUR" } });
  const s = performance.now(); const res = JSON.parse(await call(JSON.stringify({ items }))); lat.push(performance.now() - s);
  for (const r of res.results) if (r.ok) n++;
}
const el = (performance.now() - t0) / 1000; lat.sort((a, b) => a - b);
console.log("broker items/s", Math.round(n / el), "p50", lat[lat.length >> 1]!.toFixed(2), "p99", lat[Math.floor(lat.length * .99)]!.toFixed(2));
