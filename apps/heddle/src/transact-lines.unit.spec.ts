// Goal: lines become what a transaction's function does, or are refused with their number. What a node makes of it:
// transact.int.spec.ts.
import type { Receipt, Transaction } from "@heddle/client";
import { describe, expect, it } from "vitest";
import { doLines, lineOf, parseTransactLines, resultsOf } from "./transact-lines.ts";

/** Keeps what it is asked to do, in order. */
function recorded() {
  const calls: unknown[][] = [];
  const note =
    (name: string) =>
    (...args: unknown[]) => {
      calls.push([name, ...args.map((arg) => JSON.parse(JSON.stringify(arg ?? null)))]);
      return { state: `${args[0]}'s`, seq: calls.length };
    };
  const get = async (...args: unknown[]) => note("get")(...args);
  const tx = { get, append: note("append"), execute: note("execute"), require: note("require") };
  return { tx: tx as unknown as Transaction, calls };
}

const text = [
  '{"entity":"account/alice","command":"Withdraw","input":{"amount":5},"expectedSeq":3}',
  "",
  '{"entity":"limit/x","aggregate":"Limit","read":true,"expectedSeq":7}',
  '{"entity":"account/bob","type":"Credited","payload":{"amount":5},"metadata":{"by":"me"},"newLife":true}\r',
  '{"entity":"account/bob","events":[{"type":"Noted"},{"type":"Credited","payload":{"amount":1}}]}',
  '{"entity":"account/carol","read":true}',
  '{"entity":"account/alice","command":"Close"}',
].join("\n");

describe("transact lines", () => {
  it("are done in their order, reads and their conditions before everything else", async () => {
    const { tx, calls } = recorded();
    await doLines(tx, parseTransactLines(`\uFEFF${text}\n`));
    expect(calls).toEqual([
      ["get", "limit/x", "Limit"],
      ["get", "account/carol", null],
      ["require", "limit/x", 7],
      ["execute", "account/alice", "Withdraw", { amount: 5 }, { expectedSeq: 3 }],
      [
        "append",
        "account/bob",
        [{ type: "Credited", payload: { amount: 5 } }],
        { metadata: { by: "me" }, newLife: true },
      ],
      [
        "append",
        "account/bob",
        [
          { type: "Noted", payload: {} },
          { type: "Credited", payload: { amount: 1 } },
        ],
        {},
      ],
      ["execute", "account/alice", "Close", {}, {}],
    ]);
  });

  it("get their results in their own order, and a rejection finds its line", async () => {
    const { tx } = recorded();
    const lines = parseTransactLines(text);
    const states = await doLines(tx, lines);
    const receipts = [10, 20, 21, 11].map((seq) => ({ ok: true, seq }) as Receipt);
    expect(resultsOf(lines, states, receipts)).toEqual([
      { entity: "account/alice", ok: true, seq: 10 },
      { entity: "limit/x", state: "limit/x's", seq: 1 },
      { entity: "account/bob", ok: true, seq: 20 },
      { entity: "account/bob", ok: true, seq: 21 },
      { entity: "account/carol", state: "account/carol's", seq: 2 },
      { entity: "account/alice", ok: true, seq: 11 },
    ]);
    const numbers = [0, 1, 2, 3, 4].map((operation) => lineOf({ facts: { operation } } as never, lines).line);
    expect(numbers).toEqual([3, 1, 4, 5, 7]);
  });

  it.each([
    ["", "there are no operations"],
    ["\n \n", "there are no operations"],
    ["{", "line 1: it is not JSON"],
    ['\n\n{"entity":"alice","read":true}', "line 3: entity: there is no slash"],
    ["[]", "line 1: wanted an object"],
    ["{}", "line 1: entity: wanted a string, found undefined"],
    ['{"entity":"$saga/x","read":true}', "line 1: entity: the kind is not a lower-case word"],
    ['{"entity":"a/b"}', "line 1: wanted one of type and payload, events, command and input, or read, found none"],
    ['{"entity":"a/b","type":"X","command":"Y"}', "found several"],
    ['{"entity":"a/b","type":"X","id":"x"}', "line 1: id: there is no such field"],
    ['{"entity":"a/b","type":5}', "type: wanted the name of an event"],
    ['{"entity":"a/b","events":[]}', "events: wanted a list"],
    ['{"entity":"a/b","events":[null]}', "type: wanted the name of an event"],
    ['{"entity":"a/b","events":[{"type":"X"}],"payload":{}}', "payload: it goes with type"],
    ['{"entity":"a/b","command":""}', "command: wanted the name of a command"],
    ['{"entity":"a/b","type":"X","input":{}}', "input: it goes with command"],
    ['{"entity":"a/b","read":false}', "read: wanted true"],
    ['{"entity":"a/b","read":true,"metadata":1}', "a read writes nothing"],
    ['{"entity":"a/b","type":"X","aggregate":""}', "aggregate: wanted text"],
    ['{"entity":"a/b","type":"X","expectedSeq":-1}', "expectedSeq: wanted a whole number"],
    ['{"entity":"a/b","type":"X","newLife":1}', "newLife: wanted true or false"],
  ])("P7: %j is refused: %s", (line, sentence) => {
    expect(() => parseTransactLines(line)).toThrow(sentence);
  });
});
