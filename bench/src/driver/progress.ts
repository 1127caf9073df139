// Progress on standard error, so that standard output holds the result alone: one line that is rewritten on a terminal,
// plain lines elsewhere.

export interface Progress {
  /** What is being done now; `share` of it is done, where that can be said. */
  step(what: string, detail?: string, share?: number): void;
  /** Something that should stay to be read. */
  note(text: string): void;
  end(): void;
}

export interface ProgressStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const barWidth = 20;
/** Elsewhere than on a terminal, a step that goes on says so no more often. */
const plainEveryMs = 15_000;

export function createProgress(stream: ProgressStream, now: () => number = () => performance.now()): Progress {
  return stream.isTTY === true ? terminalProgress(stream) : plainProgress(stream, now);
}

function terminalProgress(stream: ProgressStream): Progress {
  const clear = () => stream.write("\r\u001b[2K");
  return {
    step(what, detail = "", share) {
      const line = [what, share === undefined ? "" : bar(share), detail].filter((part) => part !== "").join("  ");
      clear();
      stream.write(line.slice(0, Math.max(20, (stream.columns || 80) - 1)));
    },
    note(text) {
      clear();
      stream.write(`${text}\n`);
    },
    end: clear,
  };
}

function plainProgress(stream: ProgressStream, now: () => number): Progress {
  let last = "";
  let saidAt = Number.NEGATIVE_INFINITY;
  return {
    step(what, detail = "", share) {
      if (what === last && now() - saidAt < plainEveryMs) return;
      last = what;
      saidAt = now();
      const done = share === undefined ? "" : ` ${Math.round(share * 100)} %`;
      stream.write(`${what}${done}${detail === "" ? "" : `: ${detail}`}\n`);
    },
    note: (text) => void stream.write(`${text}\n`),
    end() {},
  };
}

function bar(share: number): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * barWidth);
  return `[${"#".repeat(full)}${".".repeat(barWidth - full)}]`;
}
