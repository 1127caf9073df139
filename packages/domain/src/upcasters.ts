// Upcasters: from the shape that an event was stored in to its newest.
//
// Stored bytes never change. An event type has a version, and for each older one a function that takes a payload one
// version on; whoever reads an older event runs those in order.
//
// U1. There is exactly one step for each older version, or the module is refused when it is loaded.
// U2. Reading version n is the composition of the steps n, n + 1, … up to the newest.
// U3. A step that answers with nothing or with a promise is DOMAIN_FAILED; what a step throws passes through.
// Not promised: that steps are pure, which the testkit looks for; nor that what the last one makes fits the schema,
// which the compiler looks for, and `heddle rehearse` on real data.
import { HeddleError } from "@heddle/kernel";
import { isObject, type Refuse, shown, whatIs } from "./module-check.ts";
import { isUnwantedPromise } from "./promises.ts";

/** The log has two bytes for it. */
export const schemaVersionMax = 65_535;

type Step = (payload: unknown) => unknown;

/** Checks what the options of an event say. The step at place 0 takes version 1 to 2, and so on. */
export function checkUpcasters(path: string, options: unknown, refuse: Refuse): readonly Step[] {
  if (options === undefined) return [];
  if (!isObject(options) || Array.isArray(options)) {
    refuse(`event ${path}: wanted { version, upcast } after the fold, found ${whatIs(options)}`);
  }
  const { version = 1, upcast = {} } = options;
  if (!isVersion(version)) {
    refuse(`event ${path}: version must be a whole number from 1 to ${schemaVersionMax}, found ${shown(version)}`);
  }
  if (!isObject(upcast) || Array.isArray(upcast)) {
    refuse(`event ${path}: upcast must be an object with a function for each older version, found ${whatIs(upcast)}`);
  }
  const steps = new Map<number, Step>();
  for (const [key, step] of Object.entries(upcast)) steps.set(checkFrom(path, key, version, refuse), step as Step);
  return Array.from({ length: version - 1 }, (_, index) => {
    const from = index + 1;
    const step = steps.get(from);
    if (step === undefined) {
      refuse(`${path} is at version ${version} and has no upcaster from version ${from} to ${from + 1}`);
    }
    if (typeof step !== "function") {
      refuse(`${upcasterOf(path, from)} must be a function, found ${whatIs(step)}`);
    }
    return step;
  });
}

/** The version that a step is for. `01` and `1.0` are none: two spellings of one version would be two steps. */
function checkFrom(path: string, key: string, version: number, refuse: Refuse): number {
  const from = Number(key);
  if (!isVersion(from) || String(from) !== key || from >= version) {
    const older = version === 1 ? "which has no older one" : `whose older ones are 1 to ${version - 1}`;
    refuse(`event ${path}: there is an upcaster from version ${shown(key)}, but it is at version ${version}, ${older}`);
  }
  return from;
}

function isVersion(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= schemaVersionMax;
}

/** The steps of one event type. */
export class Upcasters {
  readonly newest: number;
  readonly #path: string;
  readonly #steps: readonly Step[];

  constructor(path: string, steps: readonly Step[]) {
    this.newest = steps.length + 1;
    this.#path = path;
    this.#steps = steps;
  }

  toNewest(payload: unknown, fromVersion: number): unknown {
    if (!(fromVersion >= 1 && fromVersion <= this.newest)) this.#refuse(fromVersion);
    let upcast = payload;
    for (let from = fromVersion; from < this.newest; from++) upcast = this.once(upcast, from);
    return upcast;
  }

  once(payload: unknown, fromVersion: number): unknown {
    const step = this.#steps[fromVersion - 1] ?? this.#refuse(fromVersion);
    const upcast = step(payload);
    if (upcast === undefined || isUnwantedPromise(upcast)) {
      throw new HeddleError("DOMAIN_FAILED", {
        where: upcasterOf(`event ${this.#path}`, fromVersion),
        message: `it returned ${whatIs(upcast)}, wanted the payload of version ${fromVersion + 1}`,
      });
    }
    return upcast;
  }

  // Not a broken invariant, which would stop the shard: the version may come out of a file that somebody imports.
  #refuse(fromVersion: number): never {
    throw new HeddleError("DOMAIN_FAILED", {
      where: `event ${this.#path}`,
      message: `there is no upcaster from version ${fromVersion}; the newest is ${this.newest}`,
    });
  }
}

function upcasterOf(path: string, from: number): string {
  return `the upcaster of ${path} from version ${from} to ${from + 1}`;
}
