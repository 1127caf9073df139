// Goal: documents cannot drift from the code: snippets, error codes and links are held against what is there.
import fs from "node:fs";
import path from "node:path";
import { errorTable, limits } from "@heddle/kernel";
import { sagaTimeoutMsMax } from "@heddle/protocol/internal";
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

  it("say which errors the SDK outwaits, as it does", () => {
    const [, cases] = /function mayPass[\s\S]*?switch[\s\S]*?\{([\s\S]*?)return true/.exec(
      read("packages/client/src/session.ts"),
    )!;
    const codes = [...cases!.matchAll(/case "([A-Z_]+)"/g)].map(([, code]) => `\`${code}\``);
    expect(codes).toHaveLength(5);
    const [, said] = /The SDK sends a call again that got ([\s\S]*?), within/.exec(read("docs/reference/errors.md"))!;
    expect(said!.match(/`[A-Z_]+`/g)).toEqual(codes);
    const [, retried] = /\n- (`OVERLOADED`[\s\S]*?) are retried/.exec(read("docs/reference/sdk.md"))!;
    expect(retried!.match(/`[A-Z_]+`/g)).toEqual(codes);
  });

  it("have the bounds of what goes across entities as the code has them", () => {
    const page = read("docs/reference/configuration.md");
    const row = (what: string) => new RegExp(`^\\| ${what} \\| ([0-9,]+)`, "m").exec(page)?.[1]?.replaceAll(",", "");
    for (const [what, bound] of [
      ["operations of one transaction, and entities of one `getMany`", limits.transactionOperationsMax],
      ["the id of a saga", limits.sagaIdBytesMax],
      ["steps of one saga", limits.sagaStepsMax],
      ["one saga: its steps, forward and back, or the input of a named one", limits.sagaBytesMax / 2 ** 20],
      ["the time of a saga to commit, or of a step", sagaTimeoutMsMax],
      ["reminders of one entity", limits.remindersPerEntityMax],
      ["the name of a reminder", limits.reminderNameBytesMax],
    ] as const) {
      expect(row(what), what).toBe(String(bound));
    }
  });

  it("explain every error code, with whether it can be retried and its HTTP status", () => {
    const page = read("docs/reference/errors.md");
    for (const [code, row] of Object.entries(errorTable)) {
      expect(page).toContain(`| \`${code}\` | ${row.status} | ${row.retryable ? "yes" : "no"} |`);
    }
  });
});
