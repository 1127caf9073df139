import { describe, expect, it } from "vitest";
import { createProgress, type ProgressStream } from "./progress.ts";

function streamOf(isTTY: boolean): ProgressStream & { text: string } {
  return {
    isTTY,
    columns: 60,
    text: "",
    write(part: string) {
      this.text += part;
    },
  };
}

describe("progress", () => {
  it("rewrites one line on a terminal, no longer than the line", () => {
    const stream = streamOf(true);
    const progress = createProgress(stream);
    progress.step("single", "1,000 events".repeat(20), 0.5);
    progress.end();
    const [, line] = stream.text.split("\r\u001b[2K");
    expect(line).toHaveLength(59);
    expect(line).toContain("single  [##########..........]  1,000 events");
    expect(stream.text).not.toContain("\n");
  });

  it("writes plain lines elsewhere: each step once, and again only after a while", () => {
    const stream = streamOf(false);
    let now = 0;
    const progress = createProgress(stream, () => now);
    progress.step("single", "a", 0.1);
    progress.step("single", "b", 0.2);
    now = 15_000;
    progress.step("single", "c", 0.9);
    progress.step("batch");
    progress.note("done");
    expect(stream.text).toBe("single 10 %: a\nsingle 90 %: c\nbatch\ndone\n");
  });
});
