// Goal: documents cannot drift from the code: snippets, error codes and links are held against what is there.
import fs from "node:fs";
import path from "node:path";
import { errorTable } from "@heddle/kernel";
import { describe, expect, it } from "vitest";
import { root } from "./house.ts";
import { documents, refreshed } from "./snippets.ts";

const read = (file: string) => fs.readFileSync(path.join(root, file), "utf8");

describe("documents", () => {
  it.each(documents())(
    "%s shows its snippets as the tested files have them (node test/house/snippets.ts mends it)",
    (file) => {
      expect(read(file)).toBe(refreshed(read(file)));
    },
  );

  it.each(documents())("%s links to files that exist", (file) => {
    const links = [...read(file).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)].map((match) => match[1]!);
    const missing = links.filter((link) => !fs.existsSync(path.join(root, path.dirname(file), link)));
    expect(missing).toEqual([]);
  });

  it("explain every error code, with whether it can be retried and its HTTP status", () => {
    const page = read("docs/reference/errors.md");
    for (const [code, row] of Object.entries(errorTable)) {
      expect(page).toContain(`| \`${code}\` | ${row.status} | ${row.retryable ? "yes" : "no"} |`);
    }
  });
});
