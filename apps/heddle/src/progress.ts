// Progress: a bar where a person is looking, a line every tenth of the way where a file is, nothing beside JSON.
import cliProgress from "cli-progress";
import type { Terminal } from "./terminal.ts";
import { bytes, count, duration } from "./text.ts";

export interface Progress {
  /** How far it is. May be called as often as one likes. */
  at(done: number): void;
  /** Ends it; a bar is left standing as it is. May be called twice. */
  stop(): void;
}

export interface ProgressOptions {
  /** What is being done, such as `importing`. */
  readonly doing: string;
  readonly total: number;
  /** How an amount reads. Default: grouped digits. */
  readonly amount?: (value: number) => string;
  /** What is counted, such as `flights`; empty when the amount says it. */
  readonly unit?: string;
}

export const silentProgress: Progress = { at: () => {}, stop: () => {} };

export function startProgress(terminal: Terminal, options: ProgressOptions): Progress {
  if (options.total <= 0) return silentProgress;
  return terminal.interactive ? startBar(terminal, options) : startLines(terminal, options);
}

/** Runs work that tells how many bytes of how many are done, and shows them; nothing when it is to be quiet. */
export async function withByteProgress<T>(
  terminal: Terminal,
  { doing, quiet }: { readonly doing: string; readonly quiet: boolean },
  run: (onProgress: (progress: { readonly doneBytes: number; readonly totalBytes: number }) => void) => Promise<T>,
): Promise<T> {
  let progress: Progress | undefined;
  try {
    return await run(({ doneBytes, totalBytes }) => {
      if (quiet) return;
      progress ??= startProgress(terminal, { doing, total: totalBytes, amount: bytes });
      progress.at(doneBytes);
    });
  } finally {
    progress?.stop();
  }
}

function startBar(terminal: Terminal, { doing, total, amount = count, unit = "" }: ProgressOptions): Progress {
  const { cyan } = terminal.sayColours;
  const suffix = unit === "" ? "" : ` ${unit}`;
  const bar = new cliProgress.SingleBar({
    format: ({ barCompleteString = "", barIncompleteString = "", barsize = 0 }, { progress, value, eta }) => {
      const complete = Math.round(progress * barsize);
      const drawn = cyan(barCompleteString.slice(0, complete)) + barIncompleteString.slice(0, barsize - complete);
      const left = value < total && Number.isFinite(eta) ? `  about ${duration(1000 * eta)} left` : "";
      const percent = `${Math.floor(100 * progress)}`.padStart(3);
      return `${doing} ${drawn} ${percent}%  ${amount(value)} of ${amount(total)}${suffix}${left}`;
    },
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: Math.max(10, Math.min(40, terminal.columns - 60)),
  });
  bar.start(total, 0);
  let stopped = false;
  return {
    at: (done) => bar.update(Math.min(done, total)),
    stop() {
      if (!stopped) bar.stop();
      stopped = true;
    },
  };
}

function startLines(terminal: Terminal, { doing, total, amount = count, unit = "" }: ProgressOptions): Progress {
  const suffix = unit === "" ? "" : ` ${unit}`;
  let tenths = 0;
  return {
    at(done) {
      const reached = Math.floor((10 * Math.min(done, total)) / total);
      if (reached <= tenths) return;
      // What was done before anybody could wait for it needs no line.
      const isOver = tenths === 0 && reached === 10;
      tenths = reached;
      if (isOver) return;
      terminal.say(`${doing}: ${10 * reached}% (${amount(Math.min(done, total))} of ${amount(total)}${suffix})`);
    },
    stop() {},
  };
}
