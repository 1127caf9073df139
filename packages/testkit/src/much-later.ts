// Another clock for the time of one call, to find functions that look at it.

/** A year, a month, and one of every smaller unit, so that whatever is read of the clock is something else. */
const laterMs = (((365 + 31 + 1) * 24 + 1) * 60 + 1) * 60_000 + 1_001;

/**
 * Runs `run` with a `Date` whose now is more than a year ahead. Everything else about it, `instanceof` included, is as
 * before, and a fake clock that a test has put there is shifted too.
 *
 * Not promised: that code notices which kept `Date.now` in a variable of its own, or asks another clock.
 */
export function muchLater<T>(run: () => T): T {
  const clock = globalThis.Date;
  const now = () => clock.now() + laterMs;
  globalThis.Date = new Proxy(clock, {
    get: (target, key, receiver) => (key === "now" ? now : Reflect.get(target, key, receiver)),
    construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget),
    apply: () => new clock(now()).toString(),
  });
  try {
    return run();
  } finally {
    globalThis.Date = clock;
  }
}
