// Goal: the contract that every sink keeps, over MongoDB's wire protocol. What is special to it: mongodb-failures.servers.spec.ts.
// The server is FerretDB: nothing here is shown for MongoDB itself.
import { randomUUID } from "node:crypto";
import type { CompiledProjection, Row } from "@heddle/domain/internal";
import { MongoClient } from "mongodb";
import { afterAll, beforeAll, describe } from "vitest";
import { type RunningServer, startMongo } from "../../../../infra/servers/index.ts";
import { sinkContract } from "../../../../test/contract/sink-contract.ts";
import { type RowDocument, rowOf } from "./documents.ts";
import { MongodbSink } from "./mongodb-sink.ts";

let server: RunningServer;
let client: MongoClient;
beforeAll(async () => {
  server = await startMongo();
  client = new MongoClient(server.url);
});
afterAll(async () => {
  await client.close();
  await server.stop();
});

describe("mongodb: the contract", () => {
  sinkContract(() => {
    const name = `contract_${randomUUID().replaceAll("-", "")}`;
    return {
      make: () => new MongodbSink({ url: `${server.url}${name}` }),
      read: async (projection: CompiledProjection): Promise<readonly Row[] | undefined> => {
        const db = client.db(name);
        const collections = await db.listCollections().toArray();
        if (collections.every((one) => one.name !== projection.collection)) return undefined;
        const documents = await db.collection<RowDocument>(projection.collection).find({}).toArray();
        return documents.map((document) => rowOf(projection, document as RowDocument).row);
      },
      cleanUp: async () => {
        await client.db(name).dropDatabase();
      },
    };
  });
});
