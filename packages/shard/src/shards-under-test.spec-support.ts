// Several shards under test that ask each other, each as if it had a thread of its own: one can be lost while the others go
// on, and what it was asked is then answered as a node answers it.
import type { AnyContext } from "@heddle/domain/internal";
import { type EntityId, HeddleError, shardOf } from "@heddle/kernel";
import { shardOfHash } from "@heddle/kernel/internal";
import {
  frameOffset,
  hashOfTransaction,
  type Reply,
  type TransactOperation,
  type WireTransaction,
  writeRequestHeader,
  writeU32,
} from "@heddle/protocol/internal";
import type { Survival } from "@heddle/testkit";
import { innerConnectionMin, type ShardCalls } from "./shard-calls.ts";
import {
  type Asked,
  type Caller,
  type Network,
  openShard,
  type ShardUnderTest,
  type ShardUnderTestOptions,
  value,
} from "./shard-under-test.spec-support.ts";

interface Pending {
  readonly from: number;
  readonly to: number;
  readonly isAlive: () => boolean;
  readonly onReply: (reply: Reply) => void;
}

export interface SentCall {
  readonly kind: number;
  readonly from: number;
  readonly to: number;
}

export class ShardsUnderTest implements Network {
  readonly shards: readonly ShardUnderTest[];
  /** Requests between shards, in the order in which they were sent. */
  readonly sent: SentCall[] = [];
  /** What becomes of a request between shards: `lost` is never delivered, of `unheard` the answer is lost. */
  fate: (call: SentCall) => "delivered" | "lost" | "unheard" = () => "delivered";
  readonly #pending = new Map<number, Pending>();
  #nextCall = 1;

  constructor(context: AnyContext, shardCount: number, options: Omit<ShardUnderTestOptions, "network"> = {}) {
    this.shards = Array.from({ length: shardCount }, (_, shard) =>
      openShard(context, { ...options, shard, shardCount, network: this }),
    );
  }

  callsOf(from: number, isAlive: () => boolean): ShardCalls {
    return {
      shardCount: this.shards?.length ?? 1,
      connection: innerConnectionMin + from,
      expect: (shard, onReply) => {
        const call = this.#nextCall++;
        this.#pending.set(call, { from, to: shard, isAlive, onReply });
        queueMicrotask(() => {
          if (isAlive()) this.shards[shard]!.shard.endTurn();
        });
        return call;
      },
      forgo: (call) => this.#pending.delete(call),
      call: (kind, hash, write, onReply) => {
        let bytes = new Uint8Array();
        const used = write((wanted) => {
          bytes = new Uint8Array(frameOffset.requestBody + wanted);
          return { bytes, at: frameOffset.requestBody };
        });
        const length = frameOffset.requestBody + used;
        const call = this.#nextCall++;
        const to = shardOfHash(hash, this.shards?.length ?? 1);
        writeU32(bytes, 0, length - 4);
        writeRequestHeader(bytes, 0, { kind, flags: 0, hash, call });
        if (!isAlive()) return;
        this.#pending.set(call, { from, to, isAlive, onReply });
        queueMicrotask(() => this.#deliver({ kind, from, to }, call, bytes, length));
      },
    };
  }

  hear(_shard: number, _connection: number, reply: Reply): void {
    this.#answer(reply.call, reply);
  }

  lose(shard: number): void {
    for (const [call, { to, from }] of this.#pending) {
      if (from === shard) this.#pending.delete(call);
      else if (to === shard) this.#answer(call, lost(call, shard));
    }
  }

  #deliver(sent: SentCall, call: number, bytes: Uint8Array, length: number): void {
    const pending = this.#pending.get(call);
    if (pending === undefined) return;
    this.sent.push(sent);
    const to = this.shards[sent.to]!;
    const fate = this.fate(sent);
    if (to.isDead || fate === "lost") {
      this.#answer(call, lost(call, sent.to));
      return;
    }
    if (fate === "unheard") {
      this.#pending.delete(call);
      this.#pending.set(call, { ...pending, onReply: () => pending.onReply(lost(call, sent.to)) });
    }
    to.shard.receive(innerConnectionMin + sent.from, 0, bytes, 0, length);
    if (!to.isDead) to.shard.endTurn();
  }

  #answer(call: number, reply: Reply): void {
    const pending = this.#pending.get(call);
    if (pending === undefined) return;
    this.#pending.delete(call);
    queueMicrotask(() => {
      if (pending.isAlive()) pending.onReply(reply);
    });
  }

  /** The shard of an entity. */
  of(entity: string): ShardUnderTest {
    return this.shards[shardOf(entity as EntityId, this.shards.length)]!;
  }

  /** An entity of a shard: the n-th account there. */
  account(shard: number, n = 0): string {
    for (let i = 0, found = 0; ; i++) {
      const entity = `account/${i}`;
      if (shardOf(entity as EntityId, this.shards.length) !== shard || found++ < n) continue;
      return entity;
    }
  }

  /** A transaction, sent to the lowest of its shards, as clients do, or to another. */
  transact(
    operations: readonly TransactOperation[],
    { at, ...caller }: Caller & { readonly id?: string; readonly at?: number } = {},
  ): Asked {
    const count = this.shards.length;
    return this.shards[at ?? shardOfHash(hashOfTransaction({ operations }, count), count)]!.transact(
      operations,
      caller,
    );
  }

  async committed(asked: Promise<Reply>): Promise<WireTransaction> {
    return value(await asked) as WireTransaction;
  }

  /** The balance of an account, through its shard. */
  async balance(entity: string): Promise<number> {
    return ((await this.of(entity).state(entity, "Account")).state as { balance: number }).balance;
  }

  /** Time passes for all, and they are told. */
  async pass(ms: number): Promise<void> {
    for (const under of this.shards) {
      if (under.isDead) continue;
      under.advance(ms);
      under.shard.tick();
    }
    await this.turns();
  }

  async turns(count = 20): Promise<void> {
    for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Lets time pass until nothing of any transaction is open any more. */
  async settled(): Promise<void> {
    for (let left = 200; left > 0; left--) {
      const open = this.shards.map((under) => under.shard.stats().transactions);
      if (open.every(({ holds, pending, waiters }) => holds === 0 && pending === 0 && waiters === 0)) return;
      await this.pass(500);
    }
    throw new Error(`still open: ${JSON.stringify(this.shards.map((under) => under.shard.stats().transactions))}`);
  }

  /** The thread of a shard is lost, and it is opened again. */
  async loseThread(shard: number, survival: Survival = "everything"): Promise<void> {
    await this.shards[shard]!.crash(survival);
    this.shards[shard]!.start();
  }
}

function lost(call: number, shard: number): Reply {
  const problem = `the thread of shard ${shard} was lost before it answered`;
  return { kind: "error", call, error: new HeddleError("OUTCOME_UNKNOWN", { problem }) };
}
