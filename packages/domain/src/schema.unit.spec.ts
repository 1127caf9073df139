// Goal: P7 for payloads and inputs: what does not fit its schema is refused, with the path and what was wanted.
// Method: one suite over zod, valibot and arktype, then schemas that break the rules of Standard Schema.
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { type } from "arktype";
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { validate } from "./schema.ts";

interface Order {
  readonly customer: { readonly name: string };
  readonly lines: readonly { readonly sku: string; readonly quantity: number }[];
  readonly note?: string | undefined;
}

const libraries: Record<string, { order: StandardSchemaV1<Order>; trimmed: StandardSchemaV1<string> }> = {
  zod: {
    order: z.object({
      customer: z.object({ name: z.string() }),
      lines: z.array(z.object({ sku: z.string(), quantity: z.int().positive() })),
      note: z.string().optional(),
    }),
    trimmed: z.string().trim(),
  },
  valibot: {
    order: v.object({
      customer: v.object({ name: v.string() }),
      lines: v.array(v.object({ sku: v.string(), quantity: v.pipe(v.number(), v.integer(), v.minValue(1)) })),
      note: v.optional(v.string()),
    }),
    trimmed: v.pipe(v.string(), v.trim()),
  },
  arktype: {
    order: type({
      customer: { name: "string" },
      lines: type({ sku: "string", quantity: "number.integer > 0" }).array(),
      "note?": "string",
    }),
    trimmed: type("string.trim"),
  },
};

const check = (schema: StandardSchemaV1, input: unknown) => validate(schema["~standard"], input, "the schema of X.Y");
const paths = (schema: StandardSchemaV1, input: unknown) => check(schema, input).issues?.map((issue) => issue.path);

const good: Order = { customer: { name: "Ann" }, lines: [{ sku: "a", quantity: 2 }] };

describe.each(Object.entries(libraries))("schema: %s", (_, { order, trimmed }) => {
  it("P7 hands over a value that fits", () => {
    expect(check(order, good)).toMatchObject({ value: good });
    expect(check(order, good).issues).toBeUndefined();
  });

  it("P7 hands over what the schema makes of the value, not what came in", () => {
    expect(check(trimmed, "  alice ")).toMatchObject({ value: "alice" });
  });

  it("P7 names the path of a nested issue with dots, list places included", () => {
    const lines = [
      { sku: "a", quantity: 2 },
      { sku: "b", quantity: 0 },
    ];
    expect(paths(order, { ...good, lines })).toEqual(["lines.1.quantity"]);
    expect(paths(order, { ...good, customer: { name: 7 } })).toEqual(["customer.name"]);
  });

  it("P7 reports every issue, each with a sentence", () => {
    const issues = check(order, { customer: { name: 7 }, lines: [{ sku: "a", quantity: 1.5 }] }).issues;
    expect(issues?.map((issue) => issue.path).sort()).toEqual(["customer.name", "lines.0.quantity"]);
    for (const issue of issues ?? []) expect(issue.message).toMatch(/\w+ \w+/);
  });

  it("P7 leaves the path empty when the whole value is wrong", () => {
    for (const wrong of ["a word", 7, null, undefined]) expect(paths(order, wrong)).toEqual([""]);
  });

  it("P7 names what is missing", () => {
    expect(paths(order, { customer: { name: "Ann" } })).toEqual(["lines"]);
  });
});

describe("schema: asynchronous ones are refused", () => {
  const refused = (schema: StandardSchemaV1) =>
    expect(() => check(schema, "x")).toThrow(
      expect.objectContaining({
        code: "DOMAIN_FAILED",
        facts: { where: "the schema of X.Y", message: expect.stringContaining("answered with a promise") },
      }),
    );

  it("P7 a zod schema with an asynchronous check", () => {
    refused(z.string().refine(async () => true));
  });

  it("P7 a valibot schema with an asynchronous check", () => {
    refused(
      v.pipeAsync(
        v.string(),
        v.checkAsync(async () => true),
      ),
    );
  });

  it("P7 a zod schema whose check throws, because zod then tries it asynchronously; nothing is left unhandled", async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", note);
    refused(
      z.string().refine(() => {
        throw new Error("boom");
      }),
    );
    // A macrotask later every rejection that nobody took has been reported.
    await new Promise((resolve) => setImmediate(resolve));
    process.off("unhandledRejection", note);
    expect(unhandled).toEqual([]);
  });
});

describe("schema: home-made ones", () => {
  const answering = (answer: unknown): StandardSchemaV1 => ({
    "~standard": { version: 1, vendor: "test", validate: () => answer as StandardSchemaV1.Result<unknown> },
  });

  it("an answer that is no result is the domain's fault", () => {
    for (const answer of [undefined, null, true, "ok", {}, []]) {
      expect(() => check(answering(answer), 1)).toThrow(expect.objectContaining({ code: "DOMAIN_FAILED" }));
    }
  });

  it("the value may be undefined, as long as it is there", () => {
    expect(check(answering({ value: undefined }), 1)).toEqual({ value: undefined });
  });

  it("any falsy issues mean that the value fits", () => {
    expect(check(answering({ value: 5, issues: null }), 1)).toEqual({ issues: undefined, value: 5 });
  });

  it("P7 a refusal without issues still says that it is one", () => {
    expect(check(answering({ issues: [] }), 1)).toEqual({
      issues: [{ path: "", message: "the schema refuses it without saying why" }],
    });
  });

  it("paths may be made of keys or of segments, and hold symbols", () => {
    const path = ["lines", 0, { key: "sku" }, Symbol("odd")];
    expect(paths(answering({ issues: [{ message: "no", path }] }), 1)).toEqual(["lines.0.sku.Symbol(odd)"]);
  });

  it("P8 reports the first 32 of very many issues, and how many more there are", () => {
    const issues = Array.from({ length: 10_000 }, (_, i) => ({ message: "no", path: [i] }));
    const reported = check(answering({ issues }), 1).issues;
    expect(reported).toHaveLength(33);
    expect(reported?.at(-1)).toEqual({ path: "", message: "and 9968 more" });
  });

  it("whatever the schema throws passes through", () => {
    const thrown = new TypeError("mine");
    const throwing: StandardSchemaV1 = {
      "~standard": {
        version: 1,
        vendor: "test",
        validate: () => {
          throw thrown;
        },
      },
    };
    expect(() => check(throwing, 1)).toThrow(thrown);
  });
});
