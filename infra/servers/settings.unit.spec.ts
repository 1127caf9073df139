// Goal: what servers are told at their start.
import { describe, expect, it } from "vitest";
import { natsConfig, rqliteArgs } from "./settings.ts";

const where = { host: "127.0.0.1", port: 4222, storeFolder: '/a "b"', serverName: "n" };

describe("servers: NATS", () => {
  it("acknowledges only what lies on the disk, and takes a whole commit group", () => {
    expect(natsConfig(where)).toBe(
      [
        'server_name: "n"',
        'listen: "127.0.0.1:4222"',
        "max_payload: 8388608",
        "jetstream {",
        '  store_dir: "/a \\"b\\""',
        "  sync_interval: always",
        "  max_memory_store: 268435456",
        "  max_file_store: 34359738368",
        "}",
        "",
      ].join("\n"),
    );
  });

  it("asks for a token, or for a user and a password, when given", () => {
    expect(natsConfig({ ...where, token: "t" })).toContain('authorization { token: "t" }');
    expect(natsConfig({ ...where, user: "u", password: "p" })).toContain('authorization { user: "u", password: "p" }');
    expect(natsConfig(where)).not.toContain("authorization");
  });
});

describe("servers: rqlite", () => {
  it("gets its folder last, as rqlited wants it", () => {
    const where = { host: "127.0.0.1", port: 4001, raftPort: 4002, folder: "/d" };
    expect(rqliteArgs({ ...where, authFile: "/a" })).toEqual(
      ["-node-id heddle", "-http-addr 127.0.0.1:4001", "-raft-addr 127.0.0.1:4002", "-auth /a", "/d"].flatMap((part) =>
        part.split(" "),
      ),
    );
    expect(rqliteArgs(where)).not.toContain("-auth");
    expect(rqliteArgs({ ...where, nodeId: "2", join: ["h:1", "h:2"] })).toEqual(
      ["-node-id 2", "-http-addr 127.0.0.1:4001", "-raft-addr 127.0.0.1:4002", "-join h:1,h:2", "/d"].flatMap((part) =>
        part.split(" "),
      ),
    );
  });
});
