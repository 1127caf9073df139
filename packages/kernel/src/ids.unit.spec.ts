// P7 at the first door: what is an entity id and what is not. Nothing else in Heddle checks ids again.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HeddleError } from "./errors.ts";
import { entityIdProblem, isKind, isSystemEntity, kindOf, parseAnyEntityId, parseEntityId, utf8Length } from "./ids.ts";
import { limits } from "./limits.ts";

const kinds = fc.stringMatching(/^[a-z][a-z0-9_-]{0,20}$/);
const printable = fc
  .string({ unit: "binary", minLength: 1, maxLength: 60 })
  .map((text) => text.replace(/\p{Cc}/gu, "x"));
const validIds = fc.tuple(kinds, printable).map(([kind, name]) => `${kind}/${name}`);

describe("entity id: accepted", () => {
  it.each([
    "a/b",
    "account/alice",
    "order/2026/11/20",
    "x//",
    "x/ ",
    "device-2_b/ÄÖ 日本 👩‍👩‍👧",
    "k/Kind",
    `k/${"x".repeat(510)}`,
    `k/${"é".repeat(255)}`,
  ])("%s", (text) => {
    expect(entityIdProblem(text)).toBeUndefined();
    expect(parseEntityId(text)).toBe(text);
  });

  it("any lower-case kind with any printable name of a bearable length, unchanged", () => {
    fc.assert(
      fc.property(validIds, (text) => {
        expect(parseEntityId(text)).toBe(text);
      }),
      { numRuns: 1000 },
    );
  });

  it("is told from what can be no kind without a name to it", () => {
    fc.assert(fc.property(kinds, (kind) => isKind(kind)));
    for (const text of ["", "Account", "account/", "account/alice", "1a", "a b", "$saga", "é"]) {
      expect(isKind(text), text).toBe(false);
    }
  });

  it("has a kind: what stands before the first slash", () => {
    expect(kindOf(parseEntityId("order/2026/11"))).toBe("order");
    fc.assert(
      fc.property(kinds, printable, (kind, name) => {
        expect(kindOf(parseEntityId(`${kind}/${name}`))).toBe(kind);
      }),
    );
  });
});

describe("P7, entity id: refused, with what was found and what was wanted", () => {
  it.each([
    ["", "it is empty"],
    ["account", "there is no slash between kind and name"],
    ["account/", "the name after the slash is empty"],
    ["/alice", "the kind is not a lower-case word such as account"],
    ["Account/alice", "the kind is not a lower-case word such as account"],
    ["1account/alice", "the kind is not a lower-case word such as account"],
    ["-a/alice", "the kind is not a lower-case word such as account"],
    ["a b/alice", "the kind is not a lower-case word such as account"],
    ["é/alice", "the kind is not a lower-case word such as account"],
    ["a\n/alice", "the kind is not a lower-case word such as account"],
    ["account/a\nb", "it holds a control character or half of a surrogate pair"],
    ["account/\u0000", "it holds a control character or half of a surrogate pair"],
    ["account/\u007f", "it holds a control character or half of a surrogate pair"],
    ["account/\u0085", "it holds a control character or half of a surrogate pair"],
    ["account/\ud83d", "it holds a control character or half of a surrogate pair"],
    ["account/\udc69\ud83d", "it holds a control character or half of a surrogate pair"],
    [`k/${"x".repeat(511)}`, "it has 513 bytes, at most 512 are allowed"],
    [`k/x${"é".repeat(255)}`, "it has 513 bytes, at most 512 are allowed"],
    [`k/${"👩".repeat(128)}`, "it has 514 bytes, at most 512 are allowed"],
  ])("%j", (text, problem) => {
    expect(entityIdProblem(text)).toBe(problem);
    expect(() => parseEntityId(text)).toThrow(expect.objectContaining({ code: "INVALID_ENTITY_ID", retryable: false }));
  });

  it.each([
    [undefined, "wanted a string, found undefined"],
    [null, "wanted a string, found null"],
    [7, "wanted a string, found number"],
    [["a/b"], "wanted a string, found object"],
  ])("%j, because it is no string", (value, problem) => {
    expect(entityIdProblem(value)).toBe(problem);
  });

  it("says in the message what would be right", () => {
    expect(() => parseEntityId("alice")).toThrow(
      '"alice" is not an entity id: there is no slash between kind and name. Write kind/name, for example account/alice.',
    );
  });

  it("shows no more than the start of what was found", () => {
    try {
      parseEntityId("x".repeat(100_000));
      expect.unreachable();
    } catch (error) {
      expect((error as HeddleError<"INVALID_ENTITY_ID">).facts.found).toBe(`${"x".repeat(80)}…`);
    }
  });
});

describe("entity id: any input", () => {
  it("P7: is either taken unchanged or refused with INVALID_ENTITY_ID; nothing else ever happens", () => {
    const anyText = fc.oneof(fc.string({ unit: "binary" }), fc.string({ unit: "grapheme" }), validIds);
    fc.assert(
      fc.property(anyText, (text) => {
        try {
          expect(parseEntityId(text)).toBe(text);
        } catch (error) {
          expect(error).toBeInstanceOf(HeddleError);
          expect((error as HeddleError).code).toBe("INVALID_ENTITY_ID");
          expect(entityIdProblem(text)).toBeDefined();
        }
      }),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(fc.anything(), (value) => {
        expect(["string", "undefined"]).toContain(typeof entityIdProblem(value));
      }),
    );
  });

  it("stays what it is through UTF-8, so two ids never share their bytes", () => {
    const anyUnits = fc.array(fc.integer({ min: 0x20, max: 0xffff }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(anyUnits, (units) => {
        const text = `a/${String.fromCharCode(...units)}`;
        if (entityIdProblem(text) === undefined) expect(Buffer.from(text, "utf8").toString("utf8")).toBe(text);
      }),
      { numRuns: 2000 },
    );
  });

  it("is never longer than the limit", () => {
    const long = fc.string({ unit: "grapheme", minLength: 100, maxLength: 600 }).map((name) => `a/${name}`);
    fc.assert(
      fc.property(long, (text) => {
        const fits = Buffer.byteLength(text) <= limits.entityIdBytesMax;
        if (entityIdProblem(text) === undefined) expect(fits).toBe(true);
        else if (!/\p{Cc}|\p{Cs}/u.test(text)) expect(fits).toBe(false);
      }),
    );
  });
});

describe("length as UTF-8", () => {
  it("is what an encoder gives", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(utf8Length(text)).toBe(Buffer.byteLength(text));
      }),
      { numRuns: 1000 },
    );
  });
});

describe("Heddle's own entities", () => {
  const own = ["$saga/transfer-001", "$saga/a/b", "$reminders/account/alice", `$reminders/k/${"x".repeat(510)}`];

  it.each(own)("%s is taken where Heddle's own are asked for, and nowhere else", (id) => {
    expect(parseAnyEntityId(id)).toBe(id);
    expect(isSystemEntity(id)).toBe(true);
    expect(() => parseEntityId(id)).toThrow(expect.objectContaining({ code: "INVALID_ENTITY_ID" }));
  });

  it.each([
    "$saga/",
    "$saga",
    "$",
    "$other/x",
    "$reminders/account",
    "$reminders/Account/x",
    "$reminders/$saga/x",
    "$saga/\n",
  ])("%j is none", (id) => {
    expect(() => parseAnyEntityId(id)).toThrow(expect.objectContaining({ code: "INVALID_ENTITY_ID" }));
  });

  it("are told from users' entities by their first character", () => {
    expect(parseAnyEntityId("account/$saga")).toBe("account/$saga");
    expect(isSystemEntity("account/$saga")).toBe(false);
    expect(isSystemEntity("")).toBe(false);
  });
});
