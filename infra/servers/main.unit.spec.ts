// Goal: the arguments of `npm run servers`.
import { describe, expect, it } from "vitest";
import { wantedOf } from "./main.ts";

describe("servers: arguments", () => {
  it("default to all servers on their usual ports", () => {
    expect(wantedOf([])).toEqual({
      names: ["nats", "rqlite", "mongo"],
      ports: { nats: 4222, rqlite: 4001, mongo: 27_017 },
      data: undefined,
      obtainOnly: false,
      json: false,
    });
  });

  it("choose servers, ports and a folder", () => {
    const args = ["--only", "mongo, nats", "--nats-port", "0", "--mongo-port=27018", "--data", "d", "--json"];
    expect(wantedOf(args)).toEqual({
      names: ["nats", "mongo"],
      ports: { nats: 0, rqlite: 4001, mongo: 27_018 },
      data: "d",
      obtainOnly: false,
      json: true,
    });
  });

  it.each([
    [["--only", "nats,redis"], "--only: no such server: redis. There are: nats, rqlite, mongo"],
    [["--nats-port", "65536"], "--nats-port: 65536 is no port; give a number from 0 to 65535"],
    [["--mongo-port", "-1"], "--mongo-port"],
    [["--verbose"], "Unknown option '--verbose'"],
    [["nats"], "Unexpected argument 'nats'"],
  ])("are refused when wrong: %j", (args, problem) => {
    expect(() => wantedOf(args)).toThrow(problem);
  });
});
