// Goal: options are right or refused by name, as an object or as a URL.
import { describe, expect, it } from "vitest";
import { addressText, type HeddleOptions, readOptions } from "./options.ts";

describe("options", () => {
  it("all have defaults", () => {
    expect(readOptions(undefined, {})).toEqual({
      address: { host: "localhost", port: 9090 },
      context: undefined,
      connections: 1,
      timeoutMs: 30_000,
      connectTimeoutMs: 5_000,
      reconnectDelayMs: 20,
      reconnectDelayMaxMs: 2_000,
      heartbeatMs: 10_000,
      unansweredBytesMax: 268_435_456,
      clientName: "heddle-js",
    });
  });

  it("a URL gives host, port and context; other options stand beside it", () => {
    const cases: [string, object][] = [
      ["heddle://db.example:1234/bank", { address: { host: "db.example", port: 1234 }, context: "bank" }],
      ["heddle://db.example", { address: { host: "db.example", port: 9090 }, context: undefined }],
      ["heddle://db.example/", { address: { host: "db.example", port: 9090 }, context: undefined }],
      ["heddle://[::1]:5/a%20b", { address: { host: "::1", port: 5 }, context: "a b" }],
    ];
    for (const [url, wanted] of cases) {
      expect(readOptions(url, { timeoutMs: 7 })).toMatchObject({ ...wanted, timeoutMs: 7 });
    }
  });

  it("a URL of a WebSocket says so, with the ports that such URLs have; it may stand among the options", () => {
    const cases: [string, object][] = [
      ["ws://localhost:9090", { address: { host: "localhost", port: 9090, webSocket: "ws" }, context: undefined }],
      ["ws://db.example/bank", { address: { host: "db.example", port: 80, webSocket: "ws" }, context: "bank" }],
      ["wss://db.example", { address: { host: "db.example", port: 443, webSocket: "wss" }, context: undefined }],
      ["heddle://db.example/bank", { address: { host: "db.example", port: 9090 }, context: "bank" }],
    ];
    for (const [url, wanted] of cases) {
      expect(readOptions(url, { timeoutMs: 7 })).toMatchObject({ ...wanted, timeoutMs: 7 });
      expect(readOptions(undefined, { url, timeoutMs: 7 })).toEqual(readOptions(url, { timeoutMs: 7 }));
    }
    expect(readOptions(undefined, { url: "ws://h:1", host: "other", port: 2 }).address).toMatchObject({
      host: "h",
      port: 1,
    });
  });

  it("P7 refuses a URL of another kind", () => {
    const urls = [
      "",
      "localhost:9090",
      "http://localhost:9090",
      "heddle://",
      "heddle://h/c?x=1",
      "heddle://t@h/c",
      "heddle://h:99999",
      "heddle://h/%zz",
    ];
    for (const url of urls) {
      expect(() => readOptions(url, {}), url).toThrowError(
        expect.objectContaining({ code: "INVALID_REQUEST", facts: expect.objectContaining({ path: "url" }) }),
      );
    }
  });

  it("P7 refuses an option out of bounds, by its name", () => {
    const wrong: HeddleOptions[] = [
      { port: 0 },
      { port: 65_536 },
      { port: "9090" as never },
      { host: "" },
      { host: 5 as never },
      { context: "" },
      { connections: 0 },
      { connections: 65 },
      { timeoutMs: 0 },
      { timeoutMs: 600_001 },
      { timeoutMs: Number.POSITIVE_INFINITY },
      { connectTimeoutMs: 1.5 },
      { heartbeatMs: -1 },
      { reconnectDelayMs: 0 },
      { reconnectDelayMaxMs: 0 },
      { unansweredBytesMax: 0 },
      { clientName: "" },
    ];
    for (const options of wrong) {
      expect(() => readOptions(undefined, options)).toThrowError(
        expect.objectContaining({
          code: "INVALID_REQUEST",
          facts: expect.objectContaining({ path: Object.keys(options)[0] }),
        }),
      );
    }
  });

  it("an address is shown as one would write it", () => {
    expect(addressText({ host: "localhost", port: 1 })).toBe("localhost:1");
    expect(addressText({ host: "::1", port: 1 })).toBe("[::1]:1");
  });
});
