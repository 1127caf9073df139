// A member of a consumer group in a process of its own: tells its parent of each event, and asks for the next when that has
// gone out.
import { Heddle } from "@heddle/client";

export interface Taken {
  readonly entity: string;
  readonly seq: number;
  /** Of a clock that all processes of a machine share. */
  readonly atNs: string;
}

// A test that dies leaves no member behind.
process.on("disconnect", () => process.exit(0));

// The node may be killed before this process is up.
const db = new Heddle({ port: Number(process.argv[2]), connectTimeoutMs: 600_000 });
for await (const { entity, seq } of db.subscribe({ group: "billing", kind: "account" })) {
  const taken: Taken = { entity, seq, atNs: String(process.hrtime.bigint()) };
  await new Promise((resolve) => process.send!(taken, resolve));
}
