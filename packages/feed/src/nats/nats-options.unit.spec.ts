import { describe, expect, it } from "vitest";
import { checkNatsOptions, sinkName } from "./nats-options.ts";

describe("where NATS is", () => {
  it.each([
    ["nats://localhost:4222", "NATS at nats://localhost:4222"],
    ["localhost", "NATS at nats://localhost"],
    ["tls://me:secret@a:4222, nats://token@[::1]:4223", "NATS at tls://a:4222,nats://[::1]:4223"],
  ])("%s is called %s: nothing of a user is told", (url, name) => {
    checkNatsOptions({ url });
    expect(sinkName({ url })).toBe(name);
  });

  it.each(["", "http://localhost:4222", "nats://", "nats://:4222", "nats://a:x", "nats://a,,b"])(
    "%j is refused, without what it says of a user",
    (url) => {
      expect(() => checkNatsOptions({ url })).toThrow(expect.objectContaining({ code: "INVALID_REQUEST" }));
    },
  );

  it("does not repeat a password that stands in an address that is none", () => {
    expect(() => checkNatsOptions({ url: "http://me:secret@localhost" })).toThrow(/^(?!.*secret)/s);
  });
});
