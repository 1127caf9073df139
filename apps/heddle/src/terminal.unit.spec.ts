// Goal: colours and bars only where a person is looking; results and everything else never mixed.
import { describe, expect, it } from "vitest";
import { capturedTerminal } from "./captured-terminal.spec-support.ts";
import { startProgress } from "./progress.ts";

describe("terminal: colours", () => {
  it.each([
    ["a terminal", { isTTY: true }, true],
    ["a file", { isTTY: false }, false],
    ["a terminal with NO_COLOR", { isTTY: true, environment: { NO_COLOR: "1" } }, false],
    [
      "a terminal with NO_COLOR set to nothing, which asks for nothing",
      { isTTY: true, environment: { NO_COLOR: "" } },
      true,
    ],
    ["a terminal without abilities", { isTTY: true, environment: { TERM: "dumb" } }, false],
  ])("%s", (_, options, coloured) => {
    const { terminal } = capturedTerminal(options);
    expect(terminal.outColours.green("ok") !== "ok").toBe(coloured);
    expect(terminal.sayColours.red("no") !== "no").toBe(coloured);
  });
});

describe("terminal: progress in a file", () => {
  it("is a line every tenth of the way, never two for the same", () => {
    const captured = capturedTerminal();
    const progress = startProgress(captured.terminal, { doing: "importing", total: 20_000, unit: "flights" });
    for (const done of [100, 2_000, 2_100, 9_999, 9_999, 20_000, 25_000]) progress.at(done);
    progress.stop();
    expect(captured.said()).toBe(
      "importing: 10% (2,000 of 20,000 flights)\n" +
        "importing: 40% (9,999 of 20,000 flights)\n" +
        "importing: 100% (20,000 of 20,000 flights)\n",
    );
    expect(captured.out()).toBe("");
  });

  it("says nothing of what was over before it began, and of nothing at all", () => {
    const captured = capturedTerminal();
    startProgress(captured.terminal, { doing: "auditing", total: 10 }).at(10);
    startProgress(captured.terminal, { doing: "auditing", total: 0 }).at(0);
    expect(captured.said()).toBe("");
  });
});
