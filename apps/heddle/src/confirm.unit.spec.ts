// Goal: what cannot be undone is done only when a person has typed what was asked for, or has said so by an option.
import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { typed } from "./confirm.ts";

function person(says: string): { input: PassThrough & { isTTY?: boolean }; output: PassThrough } {
  const input: PassThrough & { isTTY?: boolean } = new PassThrough();
  input.isTTY = true;
  input.end(`${says}\n`);
  return { input, output: new PassThrough() };
}

describe("confirm", () => {
  it.each([
    ["account/alice", true],
    ["  account/alice  ", true],
    ["account/alicia", false],
    ["y", false],
    ["", false],
  ])("a person who types %j: %s", async (says, isConfirmed) => {
    const at = person(says);
    expect(await typed("account/alice", "sure? ", "--yes", at)).toBe(isConfirmed);
    expect(String(at.output.read())).toContain("sure? ");
  });

  it("P7: where nobody can be asked the answer is no, with the option that says yes", async () => {
    const at = { input: new PassThrough(), output: new PassThrough() };
    await expect(typed("account/alice", "this erases it; type its id: ", "--yes", at)).rejects.toMatchObject({
      message: "nobody is there to be asked: this erases it",
      advice: "Give --yes to go on.",
    });
  });
});
