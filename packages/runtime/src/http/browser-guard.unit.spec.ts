import { describe, expect, it } from "vitest";
import { browserProblem } from "./browser-guard.ts";

const refused = (host: string | undefined, origin?: string, names: readonly string[] = []): string | undefined =>
  (browserProblem({ host, origin }, names)?.facts as { path?: string } | undefined)?.path;

describe("browser guard", () => {
  it("lets IP addresses and localhost pass, which no stranger can point elsewhere", () => {
    for (const host of [
      "127.0.0.1:9090",
      "127.0.0.1",
      "[::1]:9090",
      "10.1.2.3",
      "localhost:9090",
      "LOCALHOST",
      "localhost.",
      "db.localhost:1",
    ]) {
      expect(refused(host)).toBeUndefined();
    }
  });

  it("refuses every other name in the Host header, as DNS rebinding would send it", () => {
    for (const host of [
      "evil.example:9090",
      "localhost.evil.example",
      "127.0.0.1.evil.example",
      "127.0.0.1:80:evil",
      "",
      "[evil]",
      "evil",
      "127.0.0.1@evil",
    ]) {
      expect(refused(host)).toBe("Host");
    }
  });

  it("answers to the names that the operator lists, and to any when told so", () => {
    expect(refused("db.internal:9090", undefined, ["DB.internal"])).toBeUndefined();
    expect(refused("other.internal", undefined, ["db.internal"])).toBe("Host");
    expect(browserProblem({ host: "any.example" }, "any")).toBeUndefined();
  });

  it("refuses requests from pages of another origin", () => {
    expect(refused("localhost:9090", "http://localhost:9090")).toBeUndefined();
    expect(refused("localhost", "https://localhost")).toBeUndefined();
    for (const origin of [
      "http://localhost:3000",
      "https://evil.example",
      "null",
      "http://localhost:9090.evil.example",
      "",
    ]) {
      expect(refused("localhost:9090", origin)).toBe("Origin");
    }
    expect(browserProblem({ host: "a.example", origin: "http://b.example" }, "any")?.facts).toMatchObject({
      path: "Origin",
    });
  });

  it("lets a request without Host pass, unless it comes from a page", () => {
    expect(refused(undefined)).toBeUndefined();
    expect(refused(undefined, "http://evil.example")).toBe("Host");
  });
});
