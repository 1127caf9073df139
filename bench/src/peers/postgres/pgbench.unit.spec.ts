// What pgbench prints and logs, word for word, and the figures in it. The program itself: cluster.int.spec.ts.
import { describe, expect, it } from "vitest";
import { LatencyHistogram } from "../../statistics/histogram.ts";
import { readSummary, recordLine } from "./pgbench.ts";

const printed = `pgbench (15.18 (Debian 15.18-0+deb12u1))
transaction type: statements.sql
scaling factor: 1
query mode: prepared
number of clients: 32
number of threads: 2
maximum number of tries: 1000
duration: 10 s
number of transactions actually processed: 43370
number of failed transactions: 2 (0.005%)
number of transactions retried: 295 (0.680%)
total number of retries: 316
latency average = 29.418 ms
latency stddev = 18.100 ms
initial connection time = 21.110 ms
tps = 4337.255718 (without initial connection time)
`;

describe("pgbench", () => {
  it("its rate is the one without the time that connecting takes, its retries are counted", () => {
    expect(readSummary(printed)).toEqual({
      transactions: 43_370,
      failed: 2,
      retried: 295,
      retries: 316,
      perSecond: 4_337.255718,
    });
  });

  it("P7: an output without a rate is refused, not read as none", () => {
    expect(() => readSummary(printed.replace(/^tps.*/m, ""))).toThrow("pgbench printed nothing like");
  });

  it("each logged transaction is one latency, in microseconds; one that failed has none", () => {
    const latencies = new LatencyHistogram();
    for (const line of ["0 1 250 0 1763650000 1 0", "1 1 19071 0 1763650000 2 3", "1 2 failed 0 1763650000 3 9"]) {
      recordLine(latencies, line);
    }
    expect(latencies.summary()).toMatchObject({ count: 2, p50Ms: 0.25, maxMs: 19.071 });
  });
});
