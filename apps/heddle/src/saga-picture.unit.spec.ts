// Goal: an operator sees at a glance what a saga did, where it stands, and what to do. Golden texts.
import type { Receipt, SagaRecord } from "@heddle/protocol";
import pc from "picocolors";
import { describe, expect, it } from "vitest";
import { sagaPicture } from "./saga-picture.ts";

const begun = Date.UTC(2026, 10, 20, 9, 0, 0);
const colours = pc.createColors(false);
const receipt = (seq: number, more: Partial<Receipt> = {}): Receipt => {
  const fields = { seq, firstSeq: seq, count: 1, shard: 2, position: 512, time: begun + seq, duplicate: false };
  return { ok: true, ...fields, ...more };
};
const event = (type: string, amount: number) => ({ aggregate: "Account", events: [{ type, payload: { amount } }] });

const record = (given: Partial<SagaRecord>): SagaRecord => ({
  saga: "transfer-002",
  state: "COMMITTED",
  startedAt: begun,
  deadline: begun + 30_000,
  endedAt: begun + 12,
  steps: [
    {
      entity: "account/alice",
      state: "done",
      stage: 0,
      receipt: receipt(7),
      forward: event("Debited", 5),
      back: event("Credited", 5),
    },
    {
      entity: "account/bob",
      state: "done",
      stage: 1,
      receipt: receipt(4, { firstSeq: 3, count: 2 }),
      forward: { aggregate: "Account", command: "Deposit", input: { amount: 5 } },
      back: null,
    },
  ],
  interventions: [],
  ...given,
});
const [alice, bob] = record({}).steps as [SagaRecord["steps"][0], SagaRecord["steps"][0]];
const picture = (given: Partial<SagaRecord>, columns = 120) => sagaPicture(record(given), colours, columns);

describe("the picture of a saga", () => {
  it("goes from stage to stage, with each step's receipt and what undoes it", () => {
    expect(picture({ name: "transfer" })).toEqual([
      "transfer-002 is COMMITTED: all of its steps are done",
      "saga transfer, begun 2026-11-20 09:00:00.000, ended 2026-11-20 09:00:00.012, after 12 ms",
      "",
      "● stage 1 of 2",
      "├─ ✓ 1  account/alice  done",
      '│      Account.Debited {"amount":5}',
      "│      sequence 7, shard 2, 2026-11-20 09:00:00.007",
      '│      undone by Account.Credited {"amount":5}',
      "● stage 2 of 2",
      "├─ ✓ 2  account/bob  done",
      '│      Account.Deposit {"amount":5}',
      "│      sequences 3 to 4, shard 2, 2026-11-20 09:00:00.004",
      "│      nothing undoes it",
      "■ COMMITTED",
    ]);
  });

  it("shows what said no, and what was undone for it", () => {
    const problem = { code: "COMMAND_REJECTED", message: "Deposit was rejected: FROZEN", facts: {} };
    const { receipt: _, ...unwritten } = bob;
    const lines = picture({
      state: "COMPENSATED",
      steps: [
        { ...alice, state: "compensated", compensation: receipt(8) },
        { ...unwritten, state: "refused", problem },
      ],
    });
    expect(lines[0]).toBe("transfer-002 is COMPENSATED: what was done is undone");
    expect(lines.slice(4, 9)).toEqual([
      "├─ ↶ 1  account/alice  compensated",
      '│      Account.Debited {"amount":5}',
      "│      sequence 7, shard 2, 2026-11-20 09:00:00.007",
      '│      undone by Account.Credited {"amount":5}',
      "│      sequence 8, shard 2, 2026-11-20 09:00:00.008",
    ]);
    expect(lines.slice(10)).toEqual([
      "├─ ✗ 2  account/bob  refused",
      '│      Account.Deposit {"amount":5}',
      "│      nothing undoes it",
      "│      COMMAND_REJECTED: Deposit was rejected: FROZEN",
      "■ COMPENSATED",
    ]);
  });

  it("puts the steps of one stage side by side, and says by when a running saga must have ended", () => {
    const { receipt: _, ...unanswered } = bob;
    const { endedAt: _end, ...running } = record({
      state: "RUNNING",
      steps: [
        { ...alice, stage: 3 },
        { ...unanswered, stage: 3, state: "waiting" },
      ],
    });
    expect(sagaPicture(running, colours, 120)).toEqual([
      "transfer-002 is RUNNING: its steps are under way",
      "begun 2026-11-20 09:00:00.000, to commit by 2026-11-20 09:00:30.000",
      "",
      "● stage 1 of 1, 2 steps side by side",
      "├─ ✓ 1  account/alice  done",
      '│      Account.Debited {"amount":5}',
      "│      sequence 7, shard 2, 2026-11-20 09:00:00.007",
      '│      undone by Account.Credited {"amount":5}',
      "├─ · 2  account/bob  waiting",
      '│      Account.Deposit {"amount":5}',
      "│      nothing undoes it",
      "… RUNNING",
    ]);
  });

  it("says of a stuck saga what keeps it, who did what about it, and which commands go on", () => {
    const problem = { code: "INVARIANT_VIOLATED", message: 'event 0 would break the rule "open"', facts: {} };
    const lines = picture({
      state: "STUCK",
      steps: [
        { ...alice, state: "stuck", problem },
        { ...bob, state: "unknown" },
      ],
      interventions: [
        { action: "retry", reason: "the account is open again", by: "ann", time: begun + 60_000 },
        { action: "resolve", as: "COMPENSATED", reason: "paid in cash", by: "", time: begun + 61_000 },
      ],
    });
    expect(lines[1]).toContain("stuck since 2026-11-20 09:00:00.012");
    expect(lines.slice(8, 10)).toEqual([
      '│      INVARIANT_VIOLATED: event 0 would break the rule "open"',
      "● stage 2 of 2",
    ]);
    expect(lines.slice(14)).toEqual([
      "▲ STUCK",
      "",
      "operators",
      "  2026-11-20 09:01:00.000  retry by ann: the account is open again",
      "  2026-11-20 09:01:01.000  resolve as COMPENSATED: paid in cash",
      "",
      "What can be done",
      "  step 1: make account/alice take Credited, then retry",
      "  step 2: bring the shard of account/bob back, then retry",
      "  heddle sagas retry transfer-002 --reason '…'",
      "  or, after repairing by hand what stands above, say how it ended; this writes to no entity:",
      "  heddle sagas resolve transfer-002 --as compensated --reason '…'",
    ]);
  });

  it("does not say that a resolved saga did what was declared", () => {
    const interventions = [
      { action: "resolve", as: "COMPENSATED", reason: "in cash", by: "ann", time: begun },
    ] as const;
    const lines = picture({ state: "COMPENSATED", steps: [{ ...alice, state: "stuck" }], interventions });
    expect(lines[0]).toBe("transfer-002 is COMPENSATED: an operator declared it so");
    expect(lines.at(-1)).toBe("  2026-11-20 09:00:00.000  resolve as COMPENSATED by ann: in cash");
  });

  it("P7: keeps what others wrote from steering the terminal", () => {
    const interventions = [{ action: "retry", reason: "a\u001b[2Jb\nc", by: "\u0007", time: begun }] as const;
    expect(picture({ interventions }).at(-1)).toBe("  2026-11-20 09:00:00.000  retry by  : a [2Jb c");
  });

  it("cuts long payloads at the screen's edge, and never a command that is to be copied", () => {
    const long = { aggregate: "Account", events: [{ type: "Noted", payload: { text: "x".repeat(200) } }] };
    const id = "it's a long id ".repeat(6).trim();
    const lines = picture({ saga: id, state: "STUCK", steps: [{ ...alice, state: "stuck", forward: long }] }, 70);
    expect(lines[5]).toMatch(/^│ {6}Account\.Noted .*…$/u);
    expect(lines[5]).toHaveLength(70);
    expect(lines.at(-1)).toBe(`  heddle sagas resolve '${id.replaceAll("'", `'\\''`)}' --as compensated --reason '…'`);
  });
});
