// Goal: the lines are short where they can be and safe where they must be. That they work is tested in first-run.int.spec.ts.
import { describe, expect, it } from "vitest";
import { shellPath, whatNext } from "./what-next.ts";

describe("what next", () => {
  it("prints lines for HTTP, SDK, CLI, a saga and audit", () => {
    const facts = {
      data: "/repo/data/flights",
      domain: "/repo/apps/examples/flights",
      entity: "airport/ORD",
      saga: "flight-0",
      cwd: "/repo",
    };
    expect(whatNext({ ...facts, url: "heddle://127.0.0.1:9090" }).map(({ command }) => command)).toEqual([
      "curl -s http://127.0.0.1:9090/v1/entities/airport/ORD",
      [
        "npx node --input-type=module -e '",
        '  import { Heddle } from "@heddle/client";',
        '  await using db = new Heddle("heddle://127.0.0.1:9090/flights");',
        '  console.log(await db.entity("airport/ORD").get("Airport"));',
        "'",
      ].join("\n"),
      "npx heddle history airport/ORD 5",
      "npx heddle sagas show flight-0",
      "npx heddle audit --domain ./apps/examples/flights --data ./data/flights",
    ]);
    const [, , history] = whatNext({ ...facts, url: "heddle://127.0.0.1:9191" });
    expect(history!.command).toBe("npx heddle history airport/ORD 5 --url heddle://127.0.0.1:9191");
  });

  it("quotes paths that a shell would take apart", () => {
    expect(shellPath("/repo/my data", "/repo")).toBe("'./my data'");
    expect(shellPath("/repo/it's", "/repo")).toBe("'./it'\\''s'");
    expect(shellPath("/elsewhere/x", "/repo")).toBe("/elsewhere/x");
    expect(shellPath("/repo", "/repo")).toBe("./");
  });
});
