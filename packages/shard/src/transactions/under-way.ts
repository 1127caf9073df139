// UnderWay: what a call, or an id, is being done for, so that the same once more is not done twice at a time.
//
// Found by a number made of session and call: a text made of both, made anew for each look-up, costs many times as much.
import { TurnoverMap } from "@heddle/kernel/internal";

/** Who is under way. Those of no session, number 0, are known by their id alone. */
export interface Known<T> {
  readonly frame: { readonly session: number; readonly call: number };
  /** Empty for none. */
  readonly id: string;
  /** Another one whose session and call make the same number; not to be touched by others. */
  sameKey: T | undefined;
}

export class UnderWay<T extends Known<T>> {
  readonly #byCall = new TurnoverMap<number, T>();
  readonly #byId = new TurnoverMap<string, T>();

  find(session: number, call: number, id: string): T | undefined {
    if (session !== 0) {
      let one = this.#byCall.get(keyOf(session, call));
      while (one !== undefined && (one.frame.session !== session || one.frame.call !== call)) one = one.sameKey;
      if (one !== undefined) return one;
    }
    return id === "" ? undefined : this.#byId.get(id);
  }

  /** None of the same call or id is under way. */
  add(one: T): void {
    const { id } = one;
    const { session, call } = one.frame;
    if (session !== 0) {
      const key = keyOf(session, call);
      one.sameKey = this.#byCall.get(key);
      this.#byCall.set(key, one);
    }
    if (id !== "") this.#byId.set(id, one);
  }

  delete(one: T): void {
    const { id } = one;
    const { session, call } = one.frame;
    if (session !== 0) this.#deleteCall(keyOf(session, call), one);
    if (id !== "" && this.#byId.get(id) === one) this.#byId.delete(id);
  }

  #deleteCall(key: number, one: T): void {
    const first = this.#byCall.get(key);
    if (first === one) {
      if (one.sameKey === undefined) this.#byCall.delete(key);
      else this.#byCall.set(key, one.sameKey);
      return;
    }
    for (let before = first; before !== undefined; before = before.sameKey) {
      if (before.sameKey !== one) continue;
      before.sameKey = one.sameKey;
      return;
    }
  }
}

// Sessions are random numbers, so two that are under way seldom meet here. Of 30 bits: no object is made of such a number.
function keyOf(session: number, call: number): number {
  return (session ^ call) & 0x3fff_ffff;
}
