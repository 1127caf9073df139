// The spelling of entity ids in URLs. That the router then decodes it is tested over sockets in http-routes.int.spec.ts.
import { describe, expect, it } from "vitest";
import { canonicalUrl } from "./entity-url.ts";

const spelling = (from: string, to: string): void => expect(canonicalUrl(from)).toBe(to);

describe("entity ids in URLs", () => {
  it("leave alone what is in canonical form", () => {
    for (const url of [
      "/",
      "/v1/context?x=/v1/entities/a/b/c",
      "/v1/entities/account/alice",
      "/v1/entities/account/alice/history?limit=2&from=/a/b",
      "/v1/entities/account/a%2Fb/append",
    ]) {
      spelling(url, url);
    }
  });

  it("take plain slashes as part of the name", () => {
    spelling("/v1/entities/file/a/b/c.txt", "/v1/entities/file/a%2Fb%2Fc.txt");
    spelling("/v1/entities/file/a/b/append", "/v1/entities/file/a%2Fb/append");
    spelling("/v1/entities/file/a/b/history?limit=1#x", "/v1/entities/file/a%2Fb/history?limit=1#x");
  });

  it("take a last segment that is an action for one only behind a name", () => {
    spelling("/v1/entities/file/history", "/v1/entities/file/history");
    spelling("/v1/entities/file/history/history", "/v1/entities/file/history/history");
    spelling("/v1/entities/file/a%2Fhistory", "/v1/entities/file/a%2Fhistory");
  });

  it("take what stands behind reminders for the name of one", () => {
    spelling("/v1/entities/file/a/b/reminders", "/v1/entities/file/a%2Fb/reminders");
    spelling("/v1/entities/file/a/b/reminders/x", "/v1/entities/file/a%2Fb/reminders/x");
    spelling("/v1/entities/file/a/reminders/history?x", "/v1/entities/file/a/reminders/history?x");
    spelling("/v1/entities/file/reminders/x", "/v1/entities/file/reminders%2Fx");
  });

  it("leave empty segments to match no route, so that a slash too many names no other entity", () => {
    for (const url of ["/v1/entities/account/alice/", "/v1/entities/account//alice", "/v1/entities//a/b"]) {
      spelling(url, url);
    }
  });
});
