// Goal: calls about an entity's life, and about all entities, become the right requests, and their replies what callers
// were promised. Copying and listing themselves are protocol's; against a real node: test/e2e/lifecycle.e2e.spec.ts.
import { HeddleError, hashEntity, parseEntityId, shardOf } from "@heddle/kernel";
import {
  encodeErrorReply,
  encodeRejectionReply,
  newAppendView,
  readDeleteBody,
  readGetAtBody,
  readHistoryBody,
  readImportBody,
  readListBody,
  readRestoreBody,
  rejection,
  requestKind,
  TextCache,
  type WireEvent,
} from "@heddle/protocol/internal";
import { describe, expect, it } from "vitest";
import { RejectedError } from "./results.ts";
import { type Arrived, answering, outcome, receipt, value, welcome } from "./scripted-node.spec-support.ts";

const texts = new TextCache();
const bodyOf = <T>(read: (bytes: Uint8Array, from: number, to: number, texts: TextCache) => T, { body }: Arrived) =>
  read(body, 0, body.length, texts);
const since2026 = Date.UTC(2026, 0, 1);

describe("getAt", () => {
  it("asks for a sequence or a time, with the aggregate or without, and gives state and sequence", async () => {
    const { node, db, run } = await answering((request) => value(request.call, { state: { balance: 5 }, seq: 3 }));
    const alice = db.entity("account/alice");
    expect(await run(alice.getAt("Account", { seq: 3 }))).toEqual({ state: { balance: 5 }, seq: 3 });
    await run(alice.getAt({ time: since2026 }));
    await run(alice.getAt("Account", { time: new Date(since2026) }, { timeoutMs: 500 }));
    expect(node.arrived.map((request) => [request.kind, request.hash, bodyOf(readGetAtBody, request)])).toEqual(
      [
        { aggregate: "Account", at: { seq: 3 } },
        { aggregate: "", at: { time: since2026 } },
        { aggregate: "Account", at: { time: since2026 } },
      ].map((fields) => [
        requestKind.getAt,
        hashEntity(parseEntityId("account/alice")),
        { entity: "account/alice", ...fields },
      ]),
    );
  });

  it("P7 refuses what is no moment before it leaves, and a reply of another shape", async () => {
    const { node, db, run } = await answering((request) => value(request.call, { seq: "3" }));
    const alice = db.entity("account/alice");
    for (const at of [{}, { seq: -1 }, { seq: 1.5 }, { time: new Date(Number.NaN) }, { seq: 1, time: 1 }, "x", 5]) {
      await expect(alice.getAt("Account", at as never), JSON.stringify(at)).rejects.toMatchObject({
        code: "INVALID_REQUEST",
      });
    }
    for (const call of [alice.getAt("Account", undefined as never), alice.getAt(undefined as never)]) {
      await expect(call).rejects.toMatchObject({ code: "INVALID_REQUEST" });
    }
    expect(node.arrived).toEqual([]);
    await expect(run(alice.getAt({ seq: 1 }))).rejects.toMatchObject({ code: "BAD_FRAME" });
  });
});

/** A node that has these many events of one entity, each a minute after the other, and gives three at once. */
function archive(count: number) {
  const events: WireEvent[] = Array.from({ length: count }, (_, i) => [
    i + 1,
    60_000 * (i + 1),
    "Account",
    "Credited",
    { i },
    null,
    null,
    1,
    50 * i,
  ]);
  const queries: object[] = [];
  const answer = (request: Arrived): Uint8Array => {
    const { from, to = 0, since = 0, until = 0, limit, direction } = bodyOf(readHistoryBody, request);
    queries.push({ from, to, limit });
    const forward = direction === "forward";
    const [first, last] = forward ? [from, to] : [to, from];
    const found = (forward ? events : events.toReversed())
      .filter(([seq]) => seq >= first && (last === 0 || seq <= last))
      .filter(([, time]) => time >= since && (until === 0 || time <= until));
    return value(request.call, found.slice(0, Math.min(limit, 3)));
  };
  return { answer, queries, events };
}

const seqs = (events: readonly { seq: number }[]) => events.map((event) => event.seq);

describe("ranges of history and events", () => {
  it("end at a sequence or a time, inclusive, in both directions", async () => {
    const { db, run } = await answering(archive(10).answer);
    const a = db.entity("account/a");
    expect(seqs(await run(a.history({ from: 3, to: 7 })))).toEqual([3, 4, 5, 6, 7]);
    expect(seqs(await run(a.history({ to: 3 })))).toEqual([1, 2, 3]);
    expect(seqs(await run(a.history({ from: 7, to: 4, direction: "backward" })))).toEqual([7, 6, 5, 4]);
    expect(seqs(await run(a.history({ to: 9, direction: "backward" })))).toEqual([10, 9]);
    expect(seqs(await run(a.history({ since: 240_000, until: new Date(360_000) })))).toEqual([4, 5, 6]);
    expect(seqs(await run(a.history({ since: new Date(480_000) })))).toEqual([8, 9, 10]);
    expect(seqs(await run(a.history({ from: 2, to: 9, limit: 4 })))).toEqual([2, 3, 4, 5]);
  });

  it("ask for no page behind their end", async () => {
    const { answer, queries } = archive(10);
    const { db, run } = await answering(answer);
    await run(db.entity("account/a").history({ from: 3, to: 7 }));
    await run(db.entity("account/a").history({ from: 2, direction: "backward" }));
    expect(queries).toEqual([
      { from: 3, to: 7, limit: 100 },
      { from: 6, to: 7, limit: 97 },
      { from: 2, to: 0, limit: 100 },
    ]);
  });

  it("that a caller computed down to 0 hold nothing, rather than everything", async () => {
    const { db, run } = await answering(archive(10).answer);
    const a = db.entity("account/a");
    expect(await run(a.history({ to: 0 }))).toEqual([]);
    expect(await run(a.history({ until: 0 }))).toEqual([]);
    expect(await run(a.history({ from: 0, direction: "backward" }))).toEqual([]);
    expect(seqs(await run(a.history({ from: 0, limit: 2 })))).toEqual([1, 2]);
    expect(seqs(await run(a.history({ to: 0, direction: "backward", limit: 2 })))).toEqual([10, 9]);
  });

  it("P7 that run backwards are refused before they leave", async () => {
    const { node, db } = await answering(archive(10).answer);
    const a = db.entity("account/a");
    for (const range of [
      { from: 5, to: 4 },
      { from: 4, to: 5, direction: "backward" as const },
      { since: 2, until: 1 },
      { since: new Date(Number.NaN) },
    ]) {
      await expect(a.history(range)).rejects.toMatchObject({ code: "INVALID_REQUEST" });
      await expect(a.events(range).next()).rejects.toMatchObject({ code: "INVALID_REQUEST" });
    }
    expect(node.arrived).toEqual([]);
  });

  it("events go over all pages of a range", async () => {
    const { node, db } = await answering(archive(20).answer);
    const found: number[] = [];
    const reading = (async () => {
      for await (const { seq } of db.entity("account/a").events({ from: 18, to: 2, direction: "backward" }))
        found.push(seq);
    })();
    await node.world.settle();
    await reading;
    expect(found).toEqual(Array.from({ length: 17 }, (_, i) => 18 - i));
  });
});

const collect = async (lines: AsyncIterable<string>) => {
  const found: string[] = [];
  for await (const line of lines) found.push(line);
  return found;
};

describe("export", () => {
  it("ends with the event that was the last when it began", async () => {
    const { answer, events } = archive(7);
    const { db, run } = await answering(answer);
    const reading = collect(
      (async function* () {
        for await (const line of db.entity("account/a").export()) {
          if (line.includes('"heddle"')) events.push(events[6]!.with(0, 8) as unknown as WireEvent);
          yield line;
        }
      })(),
    );
    const lines = await run(reading);
    expect(JSON.parse(lines[0]!)).toMatchObject({
      heddle: "export",
      format: 1,
      context: "bank",
      entity: "account/a",
      seq: 7,
    });
    expect(lines.slice(1, -1).map((line) => JSON.parse(line).seq)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(JSON.parse(lines.at(-1)!)).toMatchObject({ end: true, events: 7, schemas: { "Account.Credited": 1 } });
    for (const line of lines) expect(line.endsWith("\n")).toBe(true);
  });

  it("of an entity that was never written has no events", async () => {
    const { db, run } = await answering(archive(0).answer);
    const lines = await run(collect(db.entity("account/a").export()));
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([{ seq: 0 }, { end: true, events: 0 }]);
  });

  it("ERASED: has no end line when the entity is erased meanwhile", async () => {
    const { answer, events } = archive(7);
    const { db, run } = await answering(answer);
    const lines: string[] = [];
    const reading = (async () => {
      for await (const line of db.entity("account/a").export()) {
        lines.push(line);
        if (lines.length === 3)
          events.splice(0, 7, [8, 999_000, "$heddle", "Erased", { from: 1, to: 7 }, null, null, 1, 0]);
      }
    })();
    await expect(run(reading)).rejects.toMatchObject({
      code: "ERASED",
      facts: { entity: "account/a", seq: 8, time: 999_000 },
    });
    expect(lines.some((line) => line.includes('"end"'))).toBe(false);
  });
});

describe("restore, delete, fork", () => {
  it("restore carries moment, id and expected sequence, and gives a receipt or a rejection", async () => {
    const said = rejection("SEQUENCE_CONFLICT", { expectedSeq: 9, actualSeq: 10 });
    const { node, db, run } = await answering(({ call }) =>
      call === 1 ? receipt(1, 12) : encodeRejectionReply(call, said),
    );
    const alice = db.entity("account/alice");
    expect(await run(alice.restore({ seq: 4 }, { id: "r1", expectedSeq: 9 }))).toMatchObject({ ok: true, seq: 12 });
    expect(await run(alice.restore({ time: new Date(since2026) }))).toEqual(said);
    expect(node.arrived.map((request) => [request.kind, bodyOf(readRestoreBody, request)])).toMatchObject([
      [requestKind.restore, { entity: "account/alice", at: { seq: 4 }, id: "r1", expectedSeq: 9 }],
      [requestKind.restore, { entity: "account/alice", at: { time: since2026 }, id: "", expectedSeq: -1 }],
    ]);
  });

  const erasure = { entity: "account/alice", shard: 1, seq: 8, position: 99, time: 5, from: 1, to: 7, complete: true };

  it("delete waits for the whole, or for the log only, and gives the receipt", async () => {
    const { node, db, run } = await answering((request) => value(request.call, erasure));
    expect(await run(db.entity("account/alice").delete())).toEqual(erasure);
    await run(db.entity("account/alice").delete({ provisional: true }));
    expect(node.arrived.map((request) => bodyOf(readDeleteBody, request).provisional)).toEqual([false, true]);
  });

  it("delete has ten minutes, unless it is given another time, and ends by its signal", async () => {
    const { node, db } = await answering(() => undefined);
    const patient = outcome(db.entity("account/a").delete());
    const hasty = outcome(db.entity("account/a").delete({ timeoutMs: 1_000 }));
    const controller = new AbortController();
    const ended = outcome(db.entity("account/a").delete({ signal: controller.signal }));
    await node.world.settle();
    controller.abort();
    expect((await ended).error).toBe(controller.signal.reason);
    node.onConnect = "silence";
    await node.world.pass(1_010);
    expect((await hasty).error).toMatchObject({ code: "TIMEOUT", facts: { afterMs: 1_000 } });
    await node.world.pass(600_000);
    expect((await patient).error).toMatchObject({ code: "TIMEOUT", facts: { afterMs: 600_000 } });
  });

  it("P7 a receipt of another shape is an error", async () => {
    const { db, run } = await answering((request) => value(request.call, { ...erasure, complete: 1 }));
    await expect(run(db.entity("account/alice").delete())).rejects.toMatchObject({ code: "BAD_FRAME" });
  });

  it("fork reads the source and imports into the other, each by its own hash", async () => {
    const { answer } = archive(2);
    const { node, db, run } = await answering((request) => {
      if (request.kind === requestKind.import) return receipt(request.call);
      return bodyOf(readHistoryBody, request).entity === "account/b" ? value(request.call, []) : answer(request);
    });
    const { entity, seq } = await run(db.entity("account/a").fork("account/b", { at: { seq: 2 } }));
    expect([entity.id, seq]).toEqual(["account/b", 2]);
    const hashes = new Set(node.arrived.map(({ kind, hash }) => `${kind} ${hash}`));
    const [a, b] = ["account/a", "account/b"].map((id) => hashEntity(parseEntityId(id)));
    expect(hashes).toEqual(new Set([`5 ${a}`, `5 ${b}`, `10 ${b}`]));
    const view = newAppendView();
    const imports = node.arrived.filter(({ kind }) => kind === requestKind.import);
    const heads = imports.map(({ body }) => [
      readImportBody(body, 0, body.length, texts, view),
      view.expectedSeq,
      view.id,
    ]);
    expect(heads).toEqual([
      [{ time: 60_000, trusted: true }, 0, ""],
      [{ time: 120_000, trusted: true }, 1, ""],
    ]);
  });

  it("fork refuses an id that is none, and tells a rule that says no as RejectedError", async () => {
    const said = rejection("INVARIANT_VIOLATED", { aggregate: "Account", rule: "r", index: 0 });
    const { answer } = archive(1);
    const { db, run } = await answering((request) => {
      if (request.kind === requestKind.import) return encodeRejectionReply(request.call, said);
      return bodyOf(readHistoryBody, request).entity === "account/b" ? value(request.call, []) : answer(request);
    });
    await expect(db.entity("account/a").fork("nonsense")).rejects.toMatchObject({ code: "INVALID_ENTITY_ID" });
    const failed = run(db.entity("account/a").fork("account/b"));
    await expect(failed).rejects.toBeInstanceOf(RejectedError);
    await expect(failed).rejects.toMatchObject({ rejection: said });
  });
});

describe("all entities", () => {
  const ids = Array.from({ length: 25 }, (_, i) => `account/${i}`).sort();
  const holding = (request: Arrived): Uint8Array => {
    const { prefix, after, limit } = bodyOf(readListBody, request);
    const mine = ids.filter((id) => shardOf(parseEntityId(id), welcome.shardCount) === request.hash);
    const found = mine.filter((id) => id.startsWith(prefix) && id > after).slice(0, limit);
    return value(
      request.call,
      found.map((id) => [id, 1, 5, "", false]),
    );
  };

  it("every shard is asked, by its number where a hash would stand", async () => {
    const { node, db, run } = await answering(holding);
    const page = await run(db.entitiesPage({ kind: "account", limit: 30 }));
    expect(page.map(({ entity }) => entity)).toEqual(ids);
    expect(page.cursor).toBeUndefined();
    expect(node.arrived.map(({ kind, hash }) => [kind, hash])).toEqual(
      [0, 1, 2, 3].map((shard) => [requestKind.list, shard]),
    );
  });

  it("come in pages, and a page's cursor goes on behind it", async () => {
    const { db, run } = await answering(holding);
    const pages = await run(
      (async () => {
        const found = [];
        for await (const page of db.entities({ limit: 10 })) found.push(page);
        return found;
      })(),
    );
    expect(pages.map((page) => page.length)).toEqual([10, 10, 5]);
    expect(pages.flat().map(({ entity }) => entity)).toEqual(ids);
    const rest = await run(db.entitiesPage({ limit: 100, cursor: pages[0]!.cursor }));
    expect(rest.map(({ entity }) => entity)).toEqual(ids.slice(10));
  });

  it("their event types are summed over the shards", async () => {
    const row = { aggregate: "Account", type: "Credited", schemaVersion: 1 };
    const { node, db, run } = await answering((request) => value(request.call, [{ ...row, count: request.hash }]));
    expect(await run(db.types())).toEqual([{ ...row, count: 6 }]);
    expect(node.arrived.map(({ kind, body }) => [kind, body.length])).toEqual(
      new Array(4).fill([requestKind.types, 0]),
    );
  });

  it("P7 a reply of another shape, a cursor that is none and an abort are errors", async () => {
    for (const shape of [{}, [5], [["a/b"]], [[5, 1, 1, "", false]]]) {
      const { db, run } = await answering((request) => value(request.call, shape));
      await expect(run(db.entitiesPage()), JSON.stringify(shape)).rejects.toMatchObject({ code: "BAD_FRAME" });
    }
    for (const shape of [{}, [null], [{ aggregate: "A", type: 5 }], [{ aggregate: "A", type: "T", count: "1" }]]) {
      const { db, run } = await answering((request) => value(request.call, shape));
      await expect(run(db.types()), JSON.stringify(shape)).rejects.toMatchObject({ code: "BAD_FRAME" });
    }
    const { db, run } = await answering(holding);
    await expect(run(db.entitiesPage({ cursor: "x" }))).rejects.toMatchObject({ code: "INVALID_REQUEST" });
    await expect(run(db.entities({ limit: 0 }).next())).rejects.toMatchObject({ code: "INVALID_REQUEST" });
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(run(db.entitiesPage({ signal }))).rejects.toThrow("enough");
    await expect(run(db.types({ signal }))).rejects.toThrow("enough");
  });
});

describe("import", () => {
  it("writes what an export gave, and tells what it did", async () => {
    const { answer } = archive(4);
    const exporting = await answering(answer);
    const lines = await exporting.run(collect(exporting.db.entity("account/a").export()));
    const { node, db, run } = await answering(({ kind, call }) => {
      return kind === requestKind.import ? receipt(call) : value(call, []);
    });
    const result = await run(db.import(lines, { as: "account/b", trusted: true }));
    expect(result).toEqual({ entities: 1, events: 4, present: 0, renumbered: 0, erased: 0 });
    const view = newAppendView();
    const last = node.arrived.at(-1)!;
    expect(readImportBody(last.body, 0, last.body.length, texts, view)).toEqual({ time: 240_000, trusted: true });
    expect(view).toMatchObject({ entity: "account/b", expectedSeq: 3, aggregate: "Account" });
  });

  it("P7 a target that is no id, damage, and what the node says reach the caller", async () => {
    const full = new HeddleError("DISK_FULL", { shard: 1, path: "/data" });
    const { db, run } = await answering(({ kind, call }) => {
      return kind === requestKind.import ? encodeErrorReply(call, full) : value(call, []);
    });
    await expect(db.import([], { as: "nonsense" })).rejects.toMatchObject({ code: "INVALID_ENTITY_ID" });
    await expect(run(db.import(["{}"]))).rejects.toMatchObject({ code: "EXPORT_DAMAGED", facts: { line: 1 } });
    const { answer } = archive(1);
    const exporting = await answering(answer);
    const lines = await exporting.run(collect(exporting.db.entity("account/a").export()));
    await expect(run(db.import(lines))).rejects.toMatchObject({ code: "DISK_FULL" });
  });
});
