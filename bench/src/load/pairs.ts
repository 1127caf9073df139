// Pairs: which two accounts a transfer is between, and how much it moves. The same seed gives the same transfers.
import { type EntityId, type Random, shardOf } from "@heddle/kernel";
import { seededRandom } from "@heddle/testkit";
import { accountCount, accountNames } from "./accounts.ts";

/** How a transfer is made. */
export type TransferWay = "transaction" | "saga";

export interface PairShape {
  readonly way: TransferWay;
  /** Of the node. With several, the two accounts of a transfer always lie on different ones. */
  readonly shards: number;
  readonly seed: number;
}

export interface Transfer {
  readonly from: number;
  readonly to: number;
  readonly amount: number;
}

/** A transfer moves from 1 to this much: a thousand accounts can pay for years of it. */
export const amountMax = 100;

export class Pairs {
  readonly #shards: Uint16Array | undefined;
  readonly #random: Random;

  constructor({ shards, seed }: Pick<PairShape, "shards" | "seed">, caller: number) {
    if (shards > 1) this.#shards = Uint16Array.from(accountNames, (name) => shardOf(name as EntityId, shards));
    this.#random = seededRandom(Math.imul(seed, 0x9e3779b1) ^ Math.imul(caller + 1, 0x85ebca6b));
  }

  next(): Transfer {
    const from = this.#below(accountCount);
    let to = this.#below(accountCount);
    while (to === from || (this.#shards !== undefined && this.#shards[to] === this.#shards[from])) {
      to = this.#below(accountCount);
    }
    return { from, to, amount: 1 + this.#below(amountMax) };
  }

  // Of 32 bits: the remainder of a number of 53 takes a division of floating point, and there are several to a transfer.
  #below(bound: number): number {
    return (this.#random.safeInteger() >>> 0) % bound;
  }
}
