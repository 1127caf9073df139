// Goal: a malformed domain module is refused with a sentence that says what and where; a whole one runs as written.
// Schemas are tested in schema.unit.spec.ts, upcasters and schema versions in upcasters.unit.spec.ts, finding modules on disk in load-context.int.spec.ts.
import { type EntityId, isHeddleError, limits, parseEntityId } from "@heddle/kernel";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { compileAggregate, compileContext, type Decision } from "./compile.ts";
import { type AnyAggregate, command, defineAggregate, event, reject } from "./define-aggregate.ts";
import { type AnyContext, defineContext } from "./define-context.ts";

const amount = z.object({ amount: z.int().positive() });

const Account = defineAggregate("Account", {
  version: 2,
  initial: () => ({ balance: 0 }),
  events: {
    Credited: event(amount, (s, e) => ({ balance: s.balance + e.amount })),
    Debited: event(amount, (s, e) => ({ balance: s.balance - e.amount })),
  },
  invariants: {
    "balance is never negative": (s) => s.balance >= 0,
    "balance is at most 100": (s) => s.balance <= 100,
  },
  commands: {
    Withdraw: command(amount, (s, input) =>
      s.balance < input.amount
        ? reject("INSUFFICIENT_FUNDS", { balance: s.balance })
        : { type: "Debited", payload: { amount: input.amount } },
    ),
    Reset: command(z.object({}), (s, _, { entity, now }) => [
      { type: "Debited", payload: { amount: s.balance } },
      { type: "Credited", payload: { amount: entity.length + now } },
    ]),
  },
});

const Limit = defineAggregate("Limit", {
  version: 1,
  initial: () => 0,
  events: {
    LimitSet: event(amount, (_, e) => e.amount),
    Credited: event(amount, (s) => s),
  },
  commands: {
    SetLimit: command(amount, (_, input) => ({ type: "LimitSet", payload: input })),
    Reset: command(z.object({}), () => ({ type: "LimitSet", payload: { amount: 1 } })),
  },
});

const context = { entity: parseEntityId("account/alice"), now: 1_000 } satisfies { entity: EntityId; now: number };

describe("compile: a whole context", () => {
  const bank = compileContext(defineContext("bank", { aggregates: [Account, Limit] }));

  it("keeps names, order and versions", () => {
    expect(bank.name).toBe("bank");
    expect(bank.aggregateNames).toEqual(["Account", "Limit"]);
    expect([...bank.aggregates.values()].map(({ index, name, version }) => [index, name, version])).toEqual([
      [0, "Account", 2],
      [1, "Limit", 1],
    ]);
    expect([...bank.aggregates.get("Account")!.events.keys()]).toEqual(["Credited", "Debited"]);
  });

  it("every event that says nothing else has schema version 1", () => {
    for (const aggregate of bank.aggregates.values()) {
      for (const event of aggregate.events.values()) expect(event.schemaVersion).toBe(1);
    }
  });

  it("folds as written, from the initial state", () => {
    const account = bank.aggregates.get("Account")!;
    const credited = account.events.get("Credited")!;
    const debited = account.events.get("Debited")!;
    const state = debited.fold(credited.fold(account.initial(), { amount: 50 }), { amount: 20 });
    expect(state).toEqual({ balance: 30 });
  });

  it("P7 validates payloads and inputs", () => {
    const account = bank.aggregates.get("Account")!;
    expect(account.events.get("Credited")!.validate({ amount: 5, more: 1 })).toMatchObject({ value: { amount: 5 } });
    expect(account.events.get("Credited")!.validate({ amount: -5 }).issues?.[0]?.path).toBe("amount");
    expect(account.commands.get("Withdraw")!.validate({}).issues?.[0]?.path).toBe("amount");
  });

  it("P3 names the first rule that does not hold", () => {
    const account = bank.aggregates.get("Account")!;
    expect(account.brokenInvariant({ balance: 0 })).toBeUndefined();
    expect(account.brokenInvariant({ balance: -1 })).toBe("balance is never negative");
    expect(account.brokenInvariant({ balance: 101 })).toBe("balance is at most 100");
    expect(bank.aggregates.get("Limit")!.brokenInvariant(-7)).toBeUndefined();
  });

  it("finds the aggregate of an event or command that only one declares", () => {
    expect(bank.aggregateOfEvent("Debited")?.name).toBe("Account");
    expect(bank.aggregateOfEvent("LimitSet")?.name).toBe("Limit");
    expect(bank.aggregateOfCommand("Withdraw")?.name).toBe("Account");
  });

  it("finds no aggregate for a name that several or none declare, nor for what every object inherits", () => {
    expect(bank.aggregateOfEvent("Credited")).toBeUndefined();
    expect(bank.aggregateOfEvent("Unknown")).toBeUndefined();
    expect(bank.aggregateOfCommand("Reset")).toBeUndefined();
    expect(bank.aggregateOfEvent("constructor")).toBeUndefined();
  });

  it("one fold may serve several events, each with its own schema", () => {
    const keep = (s: number) => s;
    const pair = compileAggregate(
      defineAggregate("Pair", {
        version: 1,
        initial: () => 0,
        events: { A: event(z.object({ a: z.string() }), keep), B: event(z.object({ b: z.string() }), keep) },
      }),
    );
    expect(pair.events.get("A")!.validate({ a: "x" }).issues).toBeUndefined();
    expect(pair.events.get("B")!.validate({ a: "x" }).issues?.[0]?.path).toBe("b");
  });
});

describe("compile: kinds", () => {
  const kinds = ["account", "a-b_2"];
  const declared = compileContext(defineContext("bank", { aggregates: [Account], kinds }));

  it("a module that declares them lets no entity of another kind begin", () => {
    expect(declared.kinds).toEqual(kinds);
    for (const entity of ["account/alice", "account/a/b", "account/{tag}", "a-b_2/x"]) declared.checkKind(entity);
    for (const entity of ["acount/alice", "accounts/alice", "a/account/x", "x/{account}/a-b_2"]) {
      const kind = entity.split("/")[0];
      expect(() => declared.checkKind(entity)).toThrow(
        expect.objectContaining({ code: "UNKNOWN_KIND", facts: { entity, kind, known: kinds } }),
      );
    }
  });

  it("one that declares none lets any begin, and entities of Heddle's own are nobody's to declare", () => {
    const open = compileContext(defineContext("bank", { aggregates: [Account] }));
    expect(open.kinds).toBeUndefined();
    open.checkKind("acount/alice");
    for (const own of ["$saga/transfer-1", "$reminders/card/7"]) declared.checkKind(own);
  });

  it("what is done to the list later changes nothing", () => {
    const list = ["account"];
    const compiled = compileContext(defineContext("bank", { aggregates: [Account], kinds: list }));
    list[0] = "card";
    list.push("fees");
    compiled.checkKind("account/alice");
    expect(() => compiled.checkKind("fees/all")).toThrow(expect.objectContaining({ code: "UNKNOWN_KIND" }));
    expect(compiled.kinds).toEqual(["account"]);
  });
});

describe("compile: user code that throws", () => {
  const broken = compileAggregate(
    defineAggregate("Broken", {
      version: 1,
      initial: () => 0,
      events: {
        Fell: event(z.object({}), () => {
          throw new RangeError("in the fold");
        }),
      },
      invariants: {
        rule: () => {
          throw new RangeError("in the rule");
        },
      },
      commands: {
        Fall: command(z.object({}), () => {
          throw new RangeError("in the decider");
        }),
      },
    }),
  );

  it("passes through from fold, rule and decider; the shard turns it into DOMAIN_FAILED", () => {
    expect(() => broken.events.get("Fell")!.fold(0, {})).toThrow(RangeError);
    expect(() => broken.brokenInvariant(0)).toThrow(RangeError);
    expect(() => broken.commands.get("Fall")!.decide(0, {}, context)).toThrow(RangeError);
  });
});

describe("compile: what a rule answers", () => {
  const answering = (answer: unknown) =>
    compileAggregate(
      defineAggregate("Ruled", {
        version: 1,
        initial: () => 0,
        events: { A: event(z.object({}), (s) => s) },
        invariants: { rule: () => answer as boolean },
      }),
    ).brokenInvariant(0);

  it("P3 only true means that a rule holds: a promise, a number or nothing does not", () => {
    expect(answering(true)).toBeUndefined();
    for (const answer of [
      false,
      1,
      "yes",
      {},
      undefined,
      null,
      Promise.resolve(true),
      Promise.reject(new Error("x")),
    ]) {
      expect(answering(answer)).toBe("rule");
    }
  });
});

describe("compile: what a decider answers", () => {
  const deciding = (answer: unknown): Decision =>
    compileAggregate(
      defineAggregate("Decider", {
        version: 1,
        initial: () => 0,
        events: { A: event(z.object({}), (s) => s), B: event(z.object({}), (s) => s) },
        commands: { Do: command(z.object({}), () => answer as { type: "A"; payload: Record<string, never> }) },
      }),
    )
      .commands.get("Do")!
      .decide(0, {}, context);

  it("one event, several, or a rejection", () => {
    const a = { type: "A", payload: {} };
    const b = { type: "B", payload: {} };
    expect(deciding(a)).toEqual({ kind: "events", events: [a] });
    expect(deciding([a, b])).toEqual({ kind: "events", events: [a, b] });
    expect(deciding(reject("NO"))).toEqual({ kind: "rejected", code: "NO", facts: {} });
  });

  it("a promise that fails leaves no unhandled rejection behind, which would end the thread", async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", note);
    expect(() => deciding(Promise.reject(new Error("late")))).toThrow(/it returned a promise/);
    // A macrotask later every rejection that nobody took has been reported.
    await new Promise((resolve) => setImmediate(resolve));
    process.off("unhandledRejection", note);
    expect(unhandled).toEqual([]);
  });

  it("gets state, input and context", () => {
    const account = compileAggregate(Account);
    expect(account.commands.get("Reset")!.decide({ balance: 7 }, {}, context)).toEqual({
      kind: "events",
      events: [
        { type: "Debited", payload: { amount: 7 } },
        { type: "Credited", payload: { amount: 1_013 } },
      ],
    });
    expect(account.commands.get("Withdraw")!.decide({ balance: 7 }, { amount: 8 }, context)).toEqual({
      kind: "rejected",
      code: "INSUFFICIENT_FUNDS",
      facts: { balance: 7 },
    });
  });

  it.each([
    ["nothing", undefined, "it returned nothing, wanted an event"],
    ["null", null, "it returned null"],
    ["a number", 7, "it returned a number"],
    ["text", "A", "it returned a string"],
    ["an empty array", [], "it returned an empty array"],
    ["an object without a type", { payload: {} }, "it returned an object"],
    ["a promise", Promise.resolve({ type: "A", payload: {} }), "it returned a promise"],
    ["an unknown event", { type: "C", payload: {} }, 'the event "C", which the aggregate does not have; known: A, B'],
    ["an inherited name as type", { type: "constructor", payload: {} }, 'the event "constructor"'],
    ["a list with one that is no event", [{ type: "A", payload: {} }, 7], "it returned a number"],
    ["a rejection without a code", reject(""), 'it rejected with the code ""'],
    ["a rejection with odd facts", { kind: "rejected", code: "NO", facts: 7 }, "a number as facts"],
    [
      "more events than one append may hold",
      Array.from({ length: limits.appendEventsMax + 1 }, () => ({ type: "A", payload: {} })),
      "at most 10000 are allowed",
    ],
  ])("anything else is DOMAIN_FAILED, naming the command: %s", (_, answer, message) => {
    try {
      deciding(answer);
    } catch (error) {
      if (!isHeddleError(error, "DOMAIN_FAILED")) throw error;
      expect(error.facts.where).toBe("command Decider.Do");
      expect(error.facts.message).toContain(message);
      return;
    }
    expect.unreachable("the decision was accepted");
  });
});

describe("compile: malformed modules", () => {
  const fine = event(amount, (s: number) => s);
  const aggregate = (definition: unknown, name: unknown = "Account"): AnyAggregate =>
    (defineAggregate as (name: unknown, definition: unknown) => AnyAggregate)(name, definition);
  const whole = { version: 1, initial: () => 0, events: { Credited: fine } };
  const contextOf = (aggregates: unknown, name: unknown = "bank"): AnyContext =>
    (defineContext as (name: unknown, definition: unknown) => AnyContext)(name, { aggregates });
  const only = (definition: unknown, name?: unknown): AnyContext => contextOf([aggregate(definition, name)]);
  const ofKinds = (kinds: unknown): AnyContext =>
    (defineContext as (name: unknown, definition: unknown) => AnyContext)("bank", {
      aggregates: [aggregate(whole)],
      kinds,
    });
  const tooLong = "ä".repeat(limits.nameBytesMax / 2 + 1);
  const thrower = () => {
    throw new RangeError("empty");
  };

  it.each<[string, unknown, string]>([
    ["nothing at all", undefined, "wanted what defineContext returns, found nothing"],
    ["a plain object", { name: "bank", aggregates: [aggregate(whole)] }, "wanted what defineContext returns"],
    ["an aggregate in place of a context", aggregate(whole), "found an aggregate"],
    ["a context without a name", contextOf([aggregate(whole)], ""), "the context's name must be letters"],
    ["a context whose name is no word", contextOf([aggregate(whole)], "my bank"), 'found "my bank"'],
    ["a context whose name is too long", contextOf([aggregate(whole)], "b".repeat(129)), "has 129 bytes, at most 128"],
    ["no list of aggregates", contextOf(undefined), "aggregates must be a list of at least one, found nothing"],
    ["an empty list of aggregates", contextOf([]), "found an empty list"],
    ["a plain object as aggregate", contextOf([whole]), "aggregates[0]: wanted what defineAggregate returns"],
    [
      "an event as aggregate",
      contextOf([aggregate(whole), fine]),
      "aggregates[1]: wanted what defineAggregate returns, found an event",
    ],
    ["two aggregates of one name", contextOf([aggregate(whole), aggregate(whole)]), "two aggregates are named Account"],
    ["an empty list of kinds", ofKinds([]), "kinds must be a list of at least one, found an empty list"],
    ["kinds as text", ofKinds("account"), "kinds must be a list of at least one, found a string"],
    ["kinds that are null", ofKinds(null), "kinds must be a list of at least one, found null"],
    ["a kind that is no text", ofKinds(["account", 7]), "kinds[1] must be a string, found a number"],
    ["a gap among the kinds", ofKinds(["account", undefined, "card"]), "kinds[1] must be a string, found nothing"],
    ["a kind without a letter", ofKinds([""]), "kinds[0] is empty"],
    ["a kind in capitals", ofKinds(["Account"]), 'kinds[0] must be a lower-case word such as account, found "Account"'],
    [
      "an id as a kind",
      ofKinds(["account/alice"]),
      'kinds[0] must be a lower-case word such as account, found "account/',
    ],
    ["a kind with its slash", ofKinds(["account/"]), 'found "account/"'],
    ["a kind of Heddle's own", ofKinds(["$saga"]), 'kinds[0] must be a lower-case word such as account, found "$saga"'],
    ["a kind that is too long", ofKinds(["k".repeat(129)]), "kinds[0] has 129 bytes, at most 128 are allowed"],
    ["a kind that is named twice", ofKinds(["account", "card", "account"]), "kinds names account twice"],
    ["an aggregate without a name", only(whole, ""), "the name of aggregates[0] is empty"],
    [
      "an aggregate whose name is no text",
      only(whole, 7),
      "the name of aggregates[0] must be a string, found a number",
    ],
    ["an aggregate whose name is too long", only(whole, tooLong), "has 130 bytes, at most 128 are allowed"],
    [
      "a name with a line break",
      only(whole, "Acc\nount"),
      'holds a control character or half of a surrogate pair: "Acc\\nount"',
    ],
    [
      "a name that is Heddle's own",
      only(whole, "$heddle"),
      'the name of aggregates[0] begins with $, which is reserved for Heddle\'s own: "$heddle"',
    ],
    [
      "an event whose name is Heddle's own",
      only({ ...whole, events: { Credited: fine, $Erased: fine } }),
      'a name in Account.events begins with $, which is reserved for Heddle\'s own: "$Erased"',
    ],
    [
      "a command whose name is Heddle's own",
      only({ ...whole, commands: { $: command(amount, () => reject("X")) } }),
      'a name in Account.commands begins with $, which is reserved for Heddle\'s own: "$"',
    ],
    ["an aggregate without a definition", only(undefined), "aggregate Account: wanted a definition, found nothing"],
    ["no version", only({ ...whole, version: undefined }), "version must be a whole number from 1, found nothing"],
    ["version 0", only({ ...whole, version: 0 }), "found 0"],
    ["version 1.5", only({ ...whole, version: 1.5 }), "found 1.5"],
    ["a version as text", only({ ...whole, version: "1" }), 'found "1"'],
    ["no initial", only({ ...whole, initial: undefined }), "initial must be a function, found nothing"],
    ["a state as initial", only({ ...whole, initial: { balance: 0 } }), "initial must be a function, found an object"],
    ["an initial that throws", only({ ...whole, initial: thrower }), "initial of Account threw: RangeError: empty"],
    [
      "an initial that returns nothing",
      only({ ...whole, initial: () => {} }),
      "must return the first state, found nothing",
    ],
    ["an initial that is asynchronous", only({ ...whole, initial: async () => 0 }), "found a promise"],
    ["no events", only({ ...whole, events: {} }), "aggregate Account has no events"],
    ["events left out", only({ ...whole, events: undefined }), "Account.events must be an object, found nothing"],
    ["events as a list", only({ ...whole, events: [fine] }), "Account.events must be an object, found a list"],
    [
      "a bare fold as event",
      only({ ...whole, events: { A: (s: number) => s } }),
      "event Account.A: wanted what event(schema, …) returns, found a function",
    ],
    [
      "a command among the events",
      only({ ...whole, events: { A: command(amount, () => reject("X")) } }),
      "found a command",
    ],
    ["an event with an empty name", only({ ...whole, events: { "": fine } }), "a name in Account.events is empty"],
    [
      "an event whose name is too long",
      only({ ...whole, events: { [tooLong]: fine } }),
      "a name in Account.events has 130 bytes",
    ],
    [
      "an event without a schema",
      only({ ...whole, events: { A: made(event, undefined, () => 0) } }),
      "event Account.A: the schema must be a Standard Schema",
    ],
    [
      "an event with a JSON schema",
      only({ ...whole, events: { A: made(event, { type: "object" }, () => 0) } }),
      "the schema must be a Standard Schema",
    ],
    [
      "an event without a fold",
      only({ ...whole, events: { A: made(event, amount, undefined) } }),
      "event Account.A: the fold must be a function, found nothing",
    ],
    [
      "a bare function as command",
      only({ ...whole, commands: { Do: () => 7 } }),
      "command Account.Do: wanted what command(schema, …) returns",
    ],
    [
      "a command without a decider",
      only({ ...whole, commands: { Do: made(command, amount, "no") } }),
      "command Account.Do: the decider must be a function, found a string",
    ],
    [
      "commands as text",
      only({ ...whole, commands: "Withdraw" }),
      "Account.commands must be an object, found a string",
    ],
    [
      "an invariant that is no function",
      only({ ...whole, invariants: { "never negative": true } }),
      'the invariant "never negative" of Account must be a function, found a boolean',
    ],
    [
      "an invariant without a name",
      only({ ...whole, invariants: { "": () => true } }),
      "a name in Account.invariants is empty",
    ],
  ])("P7 refuses %s, saying what and where", (_, malformed, message) => {
    try {
      compileContext(malformed as AnyContext, "./bank.ts");
    } catch (error) {
      if (!isHeddleError(error, "DOMAIN_LOAD_FAILED")) throw error;
      expect(error.facts.module).toBe("./bank.ts");
      expect(error.facts.message).toContain(message);
      return;
    }
    expect.unreachable("the context was accepted");
  });

  it("a $ further back in a name, and a rule that begins with one, are fine", () => {
    const named = only({ ...whole, events: { Paid$: fine }, invariants: { "$ is never negative": () => true } }, "A$");
    expect(compileContext(named).aggregateNames).toEqual(["A$"]);
  });

  it("keeps what initial threw as cause", () => {
    const malformed = only({ ...whole, initial: thrower });
    expect(() => compileContext(malformed)).toThrow(expect.objectContaining({ cause: expect.any(RangeError) }));
  });

  it("names the context where no module is known", () => {
    expect(() => compileContext(only({ ...whole, version: 0 }))).toThrow('the domain module "bank" could not be used');
  });

  it("compiles a single aggregate with the same checks", () => {
    expect(() => compileAggregate(aggregate({ ...whole, version: 0 }))).toThrow(/version must be a whole number/);
  });

  function made(maker: unknown, schema: unknown, run: unknown): unknown {
    return (maker as (schema: unknown, run: unknown) => unknown)(schema, run);
  }
});
