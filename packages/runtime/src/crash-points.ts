// CrashPoints: named places at which a test has the process killed.

/** To be called with a place's name when it is passed. */
export type CrashPoint = ((name: string) => void) | undefined;

export class CrashPoints {
  #crash: { readonly point: string; left: number } | undefined;
  /** Undefined in a node that was started without any. */
  readonly pass: CrashPoint;

  /** `name:n` kills the process at the n-th passing; `later`: `killAt` will say which. */
  constructor(crashAt: string | undefined) {
    if (crashAt !== undefined && crashAt !== "later") this.killAt(crashAt);
    this.pass = crashAt === undefined ? undefined : (name) => this.#pass(name);
  }

  /** Counted from here on. */
  killAt(crashAt: string): void {
    const end = crashAt.lastIndexOf(":");
    this.#crash = { point: crashAt.slice(0, end), left: Number(crashAt.slice(end + 1)) };
  }

  #pass(name: string): void {
    if (name === this.#crash?.point && --this.#crash.left === 0) process.kill(process.pid, "SIGKILL");
  }
}
