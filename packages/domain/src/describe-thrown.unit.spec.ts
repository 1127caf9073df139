import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { describeThrown } from "./describe-thrown.ts";

describe("describing what user code threw", () => {
  it("an error is its message, with its name where that says more", () => {
    expect(describeThrown(new Error("no stock"))).toBe("no stock");
    expect(describeThrown(new TypeError("x is not a function"))).toBe("TypeError: x is not a function");
  });

  it("an error of another realm or a look-alike is described like one", () => {
    expect(describeThrown({ name: "RangeError", message: "too far" })).toBe("RangeError: too far");
  });

  it("what is no error is shown with its kind", () => {
    expect(describeThrown("just text")).toBe("just text");
    expect(describeThrown({ code: 7 })).toBe('a thrown object: {"code":7}');
    expect(describeThrown(undefined)).toBe("a thrown undefined: undefined");
    expect(describeThrown(null)).toBe("a thrown null: null");
  });

  it("an empty message is replaced", () => {
    expect(describeThrown(new Error(""))).toBe("an error without a message");
  });

  it("a very long message is cut", () => {
    expect(describeThrown(new Error("x".repeat(100_000)))).toHaveLength(1_001);
  });

  it("something that throws when looked at is survived", () => {
    const hostile = new Proxy(
      {},
      {
        get: () => {
          throw new Error("hands off");
        },
        has: () => {
          throw new Error("hands off");
        },
      },
    );
    expect(describeThrown(hostile)).toBe("something that cannot be described");
    const circular: Record<string, unknown> = {};
    circular["self"] = circular;
    expect(describeThrown(circular)).toBe("something that cannot be described");
  });

  it("anything whatever gives a short sentence", () => {
    fc.assert(
      fc.property(fc.anything({ withBigInt: true, withNullPrototype: true, withSparseArray: true }), (thrown) => {
        const text = describeThrown(thrown);
        expect(text.length).toBeGreaterThan(0);
        expect(text.length).toBeLessThanOrEqual(1_001);
      }),
    );
  });
});
