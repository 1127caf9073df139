// Goal: what has no end is refused with the place where it refers to itself. That calls are: client's specs.
import { describe, expect, it } from "vitest";
import { endlessValue } from "./circle.ts";
import { encodeValue } from "./payload-codec.ts";

function refusalOf(value: unknown, path?: string): unknown {
  try {
    encodeValue(value);
  } catch (thrown) {
    return endlessValue(thrown, value, path);
  }
  throw new Error("it could be encoded");
}

const circle: Record<string, unknown> = { amount: 1 };
circle["lines"] = [{ sku: "a" }, { of: circle }];

describe("endlessValue (P7)", () => {
  it("names the place at which a value refers to itself", () => {
    expect(refusalOf(circle)).toMatchObject({
      code: "INVALID_REQUEST",
      facts: { path: "lines.1.of", problem: "it refers to itself" },
    });
    expect(refusalOf({ twice: [1, 2], payload: circle }, "events.0")).toMatchObject({
      facts: { path: "events.0.payload.lines.1.of" },
    });
  });

  it("takes what stands in several places for no circle", () => {
    const shared = { a: 1 };
    const endless = { one: shared, two: shared, list: [shared, shared], end: circle };
    expect(refusalOf(endless)).toMatchObject({ facts: { path: "end.lines.1.of" } });
  });

  it("says of what is nested without an end that it is nested too deeply", () => {
    let deep: unknown = 1;
    for (let i = 0; i < 100_000; i++) deep = [deep];
    expect(refusalOf(deep, "payload")).toMatchObject({
      facts: { path: "payload", problem: "it is nested more than 64 levels deep" },
    });
    const made = () => ({
      get next() {
        return made();
      },
    });
    expect(refusalOf(made())).toMatchObject({ facts: { problem: "it is nested more than 64 levels deep" } });
  });

  it("leaves other errors as they are", () => {
    const range = new RangeError("length out of range");
    expect(endlessValue(range, circle)).toBe(range);
    expect(refusalOf({ symbol: Symbol("x") })).not.toMatchObject({ code: "INVALID_REQUEST" });
  });
});
