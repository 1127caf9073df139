// What travels to and from the binary floor. Little-endian.
//
//   request   u32 length of what follows | msgpack of a FloorFrame
//   reply     u32 call | u32 sequences | u32 sequence, each: the entity's after the call, one for each item of many
import { Packr } from "msgpackr";

/** One account's events, or one event for each of many accounts. */
export type FloorFrame =
  | { id: number; readonly entity: string; readonly events: readonly FloorEvent[] }
  | { id: number; readonly items: readonly (FloorEvent & { readonly entity: string })[] };

export interface FloorEvent {
  readonly type: "Credited" | "Debited";
  readonly payload: { readonly amount: number; readonly currency: string };
}

/** msgpackr as it comes: the floor has no format to keep, so it takes the fastest. */
export const floorCodec = new Packr();

/** What the floor does with an event: the fold, and no rule. */
export const floorFold: {
  readonly [T in FloorEvent["type"]]: (state: FloorState, payload: FloorEvent["payload"]) => void;
} = {
  Credited: (state, payload) => {
    state.balance += payload.amount;
  },
  Debited: (state, payload) => {
    state.balance -= payload.amount;
  },
};

export interface FloorState {
  balance: number;
  seq: number;
}

export class FloorStates {
  readonly #states = new Map<string, FloorState>();

  of(entity: string): FloorState {
    let state = this.#states.get(entity);
    if (state === undefined) {
      state = { balance: 0, seq: 0 };
      this.#states.set(entity, state);
    }
    return state;
  }
}

/** Cuts a stream of length-prefixed frames; what is left over waits for the next piece. */
export class FrameCutter {
  #rest: Buffer | undefined;

  cut(piece: Buffer, visit: (data: Buffer, from: number, to: number) => void): void {
    const data = this.#rest === undefined ? piece : Buffer.concat([this.#rest, piece]);
    this.#rest = undefined;
    let at = 0;
    while (at + 4 <= data.length) {
      const length = data.readUInt32LE(at);
      if (at + 4 + length > data.length) break;
      visit(data, at + 4, at + 4 + length);
      at += 4 + length;
    }
    // A copy: the piece's memory goes back to the socket.
    if (at < data.length) this.#rest = Buffer.from(data.subarray(at));
  }
}
