// Goal: every line becomes an append or is named as a bad one, and the same file gives the same ids.
// Method: real files, as an editor, a shell or another system would leave them. What a node makes of the appends is
// tested in cli.int.spec.ts.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { type BadLine, hashFile, type ImportAppend, parseLine, readImport } from "./import-lines.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-import-lines-"));
afterEach(() => fs.rmSync(path.join(folder, "file"), { force: true }));

async function read(text: string): Promise<(ImportAppend | BadLine)[]> {
  const file = path.join(folder, "file");
  fs.writeFileSync(file, text);
  const found: (ImportAppend | BadLine)[] = [];
  for await (const one of readImport(file, await hashFile(file))) found.push(one);
  return found;
}

const line = (more: object = {}) =>
  JSON.stringify({ entity: "account/alice", type: "Credited", payload: { amount: 1 }, ...more });
const problems = (found: readonly (ImportAppend | BadLine)[]) =>
  found.map((one) => ("problem" in one ? `${one.line}: ${one.problem}` : one.line));

describe("import lines: one line", () => {
  it.each([
    ["nope", "it is not JSON: Unexpected token 'o', \"nope\" is not valid JSON"],
    ["[]", "wanted an object with entity, type and payload"],
    ["null", "wanted an object with entity, type and payload"],
    ["{}", "entity: wanted a string, found undefined"],
    [line({ entity: "alice" }), "entity: there is no slash between kind and name"],
    [line({ type: 7 }), "type: wanted the name of an event"],
    ['{"entity":"account/alice","type":"Credited"}', "payload: it is missing"],
    [line({ id: "" }), "id: wanted text that is not empty"],
    [line({ aggregate: 1 }), "aggregate: wanted text that is not empty"],
    [line({ amount: 1 }), "amount: there is no such field; known are entity, aggregate, type, payload, id, metadata"],
  ])("P7: %s is refused: %s", (text, problem) => {
    expect(parseLine(text)).toEqual({ ok: false, problem });
  });

  it("may have a payload that is null, and the fields that an export adds", () => {
    const exported = { payload: null, seq: 4, time: 1, schemaVersion: 1, position: 88, metadata: { by: "me" } };
    expect(parseLine(line(exported))).toMatchObject({
      ok: true,
      value: { payload: null, position: 88, metadata: { by: "me" } },
    });
  });
});

describe("import lines: a file", () => {
  it("passes over blank lines, a byte order mark and Windows line ends, and counts lines as an editor does", async () => {
    const found = await read(`\uFEFF${line()}\r\n\r\n   \n${line({ id: "x" })}\nnope`);
    expect(problems(found)).toEqual([1, 4, expect.stringMatching(/^5: it is not JSON/)]);
  });

  it("P4: gives lines without an id one that only the same line of the same file has", async () => {
    const ids = async (text: string) => (await read(text)).map((one) => ("id" in one ? one.id : undefined));
    const [first, second, given] = await ids(`${line()}\n${line()}\n${line({ id: "mine" })}\n`);
    expect(first).toMatch(/^import-[\w-]{22}-1$/);
    expect(second).toBe(`${first!.slice(0, -1)}2`);
    expect(given).toBe("mine");
    expect(await ids(`${line()}\n${line()}\n${line({ id: "mine" })}\n`)).toEqual([first, second, "mine"]);
    expect((await ids(`${line()}\n${line()}\n`))[0]).not.toBe(first);
  });

  it("makes exported lines of one append one append again, and keeps others apart", async () => {
    const found = await read(
      [
        line({ position: 88 }),
        line({ position: 88, payload: { amount: 2 } }),
        line({ position: 88, id: "other" }),
        line({ position: 200, entity: "account/bob" }),
        line({ position: 200 }),
        line(),
        line(),
      ].join("\n"),
    );
    expect(found.map((one) => ("events" in one ? [one.line, one.events.length] : one))).toEqual([
      [1, 2],
      [3, 1],
      [4, 1],
      [5, 1],
      [6, 1],
      [7, 1],
    ]);
    expect((found[0] as ImportAppend).events[1]).toEqual({ type: "Credited", payload: { amount: 2 } });
  });

  it("knows how far it is, in bytes, to the end", async () => {
    const text = `${line({ payload: { name: "Zoë" } })}\n${line()}\n`;
    const found = await read(text);
    expect(found.map(({ endByte }) => endByte)).toEqual([
      Buffer.byteLength(text.split("\n")[0]!) + 1,
      Buffer.byteLength(text),
    ]);
  });

  it("may be empty", async () => {
    expect(await read("")).toEqual([]);
  });
});
