// Goal: the contract that every sink keeps, over rqlite's HTTP API.
import type { CompiledProjection } from "@heddle/domain/internal";
import { afterAll, beforeAll, describe } from "vitest";
import { type RunningServer, startRqlite } from "../../../../infra/servers/index.ts";
import { sinkContract } from "../../../../test/contract/sink-contract.ts";
import { valueOfRow } from "../sqlite/read-rows.spec-support.ts";
import { RqliteClient } from "./rqlite-client.ts";
import { RqliteSink } from "./rqlite-sink.ts";
import { dropAll } from "./rqlite-under-test.spec-support.ts";

let server: RunningServer;
beforeAll(async () => {
  server = await startRqlite();
});
afterAll(() => server.stop());

describe("rqlite: the contract", () => {
  sinkContract(() => ({
    make: () => new RqliteSink({ url: server.url }),
    read: async (projection: CompiledProjection) => {
      const client = new RqliteClient({ url: server.url });
      const names = projection.columns.map(({ name }) => `"${name}"`).join(",");
      const [known] = await client.read([["SELECT 1 FROM sqlite_schema WHERE name=?", projection.table]]);
      if (known!.length === 0) return undefined;
      const [rows] = await client.read([[`SELECT ${names} FROM "${projection.table}"`]]);
      return rows!.map((values) => {
        const named = Object.fromEntries(projection.columns.map(({ name }, i) => [name, values[i]]));
        return valueOfRow(projection, named);
      });
    },
    cleanUp: () => dropAll(server.url),
  }));
});
