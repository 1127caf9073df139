// Goal: the package is fit for a web application's build: it brings everything along, and asks for nothing of Node.
// Method: rolldown, for a browser. What runs in a browser: test/browser.
import { beforeAll, describe, expect, it } from "vitest";
import { type BrowserBundle, bundleForBrowser } from "../support/browser-bundle.ts";

let bundle: BrowserBundle;
beforeAll(async () => {
  bundle = await bundleForBrowser();
});

describe("the client, built for a browser", () => {
  it("is one module without imports, and the build has nothing to say", () => {
    expect(bundle.imports).toEqual([]);
    expect(bundle.warnings).toEqual([]);
  });

  it("holds no import and no require of a module of Node's; TCP is asked for where there is some", () => {
    const mentions = [...bundle.code.matchAll(/["']node:[^"']*["']/g)].map(({ 0: text, index }) => {
      return bundle.code.slice(bundle.code.lastIndexOf("(", index) - "getBuiltinModule".length, index) + text;
    });
    expect(mentions).toEqual(['getBuiltinModule("node:net"']);
    expect(/\brequire\(["']/.test(bundle.code)).toBe(false);
    expect(/^import\b/m.test(bundle.code)).toBe(false);
  });

  it("holds files of the client, the protocol and the kernel only, and the codec", () => {
    const places = bundle.modules.map(
      (file) => /\/(packages\/\w[\w-]*|node_modules\/(?:@[\w-]+\/)?[\w-]+)\//.exec(file)?.[1],
    );
    expect([...new Set(places)].sort()).toEqual([
      "node_modules/msgpackr",
      "packages/client",
      "packages/kernel",
      "packages/protocol",
    ]);
  });
});
