// Goal: what the driver throws is told as what it means to an operator: wait, or look at something.
import {
  MongoBulkWriteError,
  MongoNetworkError,
  MongoServerClosedError,
  MongoServerError,
  MongoStalePrimaryError,
} from "mongodb";
import { describe, expect, it } from "vitest";
import { MongodbStore } from "./mongodb-store.ts";

const store = new MongodbStore({ url: "mongodb://127.0.0.1:1/bank" });
const withCode = (message: string, code: string) => Object.assign(new Error(message), { code });
/** As the driver makes it of whatever a command of a bulk write failed with. */
const inBulk = (error: Error) =>
  new MongoBulkWriteError(error, {} as ConstructorParameters<typeof MongoBulkWriteError>[1]);
const fromServer = (message: string, code: number) => new MongoServerError({ message, code });

describe("mongodb: errors", () => {
  it.each([
    ["a socket that broke while it was written to", withCode("This socket has been ended by the other party", "EPIPE")],
    ["a connection that was reset", withCode("read ECONNRESET", "ECONNRESET")],
    ["a stream that is gone", withCode("Cannot call write after a stream was destroyed", "ERR_STREAM_DESTROYED")],
    ["a network error of the driver", new MongoNetworkError("connection 3 to 127.0.0.1:1 closed")],
    ["a server that the driver has given up meanwhile", new MongoServerClosedError()],
    ["a server that is no primary any more", fromServer("not primary", 10_107)],
    ["a primary that another has taken the place of", new MongoStalePrimaryError("primary marked stale")],
    ["a bulk write without a server", inBulk(new MongoNetworkError("connect ECONNREFUSED 127.0.0.1:1"))],
    ["a bulk write to a server that the driver has given up", inBulk(new MongoServerClosedError())],
    ["a bulk write to what is no primary any more", inBulk(fromServer("not primary", 10_107))],
  ])("%s: it is away", (_, thrown) => {
    expect(store.errorOf(thrown)).toMatchObject({ code: "SINK_UNAVAILABLE", retryable: true });
  });

  it.each([
    ["a user who may not", fromServer("not authorized on bank", 13)],
    ["a full disk", fromServer("database or disk is full", 1)],
    ["a bulk write to a full disk", inBulk(fromServer("database or disk is full", 1))],
    ["a wrong call", withCode("The argument must be a string", "ERR_INVALID_ARG_TYPE")],
  ])("%s: it refuses", (_, thrown) => {
    expect(store.errorOf(thrown)).toMatchObject({ code: "SINK_REFUSED" });
  });
});
