// StopSignal: SIGINT and SIGTERM as something to wait for. The first asks for an orderly end, the second ends at once.
import { exitCodes } from "./exit-codes.ts";

export interface StopSignal {
  readonly asked: Promise<void>;
  /** Gives the signals back. */
  done(): void;
}

const signals = ["SIGINT", "SIGTERM"] as const;

export function stopSignal(): StopSignal {
  let times = 0;
  let ask = () => {};
  const asked = new Promise<void>((resolve) => {
    ask = resolve;
  });
  const onSignal = () => {
    times++;
    if (times === 1) ask();
    else process.exit(exitCodes.failed);
  };
  for (const signal of signals) process.on(signal, onSignal);
  return {
    asked,
    done() {
      for (const signal of signals) process.off(signal, onSignal);
    },
  };
}
