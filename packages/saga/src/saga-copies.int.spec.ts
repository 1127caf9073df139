// P6 for sagas: their records hold what they gave to entities, and go with the first of these that is erased.
import { sagaEntity } from "@heddle/protocol/internal";
import { afterEach, describe, expect, it } from "vitest";
import { alice, bank, bob, carol, credit, freeze, give, take } from "./bank.spec-support.ts";
import { closeAll, openSagas, type SagasUnderTest } from "./sagas-under-test.spec-support.ts";

afterEach(closeAll);

const marker = "MARKER-IN-A-STEP";

async function openBank(shardCount = 3): Promise<SagasUnderTest> {
  const under = openSagas(bank, { shardCount });
  for (const entity of [alice, bob, carol]) await under.append(credit(entity, 100)).answer();
  return under;
}

const note = (entity: string) => ({
  entity,
  aggregate: "Notes",
  forward: { type: "Noted", payload: { text: `${marker} there` } },
  back: { type: "Noted", payload: { text: `${marker} back` } },
});

describe("an entity that is erased", () => {
  it.each([1, 3])(
    "takes the records of its sagas with it, on %i shards: no byte of what they gave it is left",
    async (shards) => {
      const under = await openBank(shards);
      for (const id of ["t1", "t2", "t3", "t4"]) {
        expect((await under.saga(id, [[note(alice)], [give(bob, 1)]]).result()).resultType).toBe("COMMITTED");
      }
      // One that was undone, and has two entries of the entity.
      await under.append(freeze(carol)).answer();
      expect((await under.saga("t5", [[note(alice)], [give(carol, 1)]]).result()).resultType).toBe("COMPENSATED");
      await under.checkpoint();
      expect(under.filesWith(marker)).not.toEqual([]);
      expect(await under.erase(alice)).toMatchObject({ kind: "value", value: { complete: true } });
      expect(under.filesWith(marker)).toEqual([]);
      for (const id of ["t1", "t5"]) {
        expect((await under.saga(id, [[note(bob)], [give(carol, 1)]]).error()).code).toBe("ERASED");
      }
      expect(await under.list()).toEqual([]);
      expect(await under.state(bob, "Account")).toMatchObject({ balance: 104 });
    },
  );

  it("leaves the sagas of others alone, also one whose id an append of its own was given", async () => {
    const under = await openBank();
    await under.saga("t1", [[take(bob, 5)], [give(carol, 5)]]).result();
    await under.append({ ...credit(alice, 1), id: "saga:t1:0:f" }).answer();
    await under.append({ ...credit(alice, 1), id: "saga:none:0:f" }).answer();
    await under.append({ ...credit(alice, 1), id: `saga:${"x".repeat(190)}:0:f`.slice(0, 200) }).answer();
    expect(await under.erase(alice)).toMatchObject({ kind: "value", value: { complete: true } });
    expect((await under.show("t1")).state).toBe("COMMITTED");
  });

  it("waits for a saga that needs its record still, and holds up no other erasure meanwhile", async () => {
    const under = await openBank();
    under.at("saga:compensation", () => void under.append(freeze(bob)));
    expect((await under.saga("t1", [[give(bob, 30)], [take(carol, 1_000)]]).result()).resultType).toBe("STUCK");
    expect(await under.erase(bob)).toMatchObject({ kind: "error", error: { code: "OVERLOADED" } });
    expect(await under.erase(alice)).toMatchObject({ kind: "value", value: { complete: true } });
    expect((await under.show("t1")).state).toBe("STUCK");
    await under.operate("t1", { as: "COMPENSATED", reason: "paid by hand" }).answer();
    expect(await eventually(under, bob)).toMatchObject({ kind: "value", value: { complete: true } });
    expect((await under.saga("t1", [[take(bob, 5)], [give(carol, 5)]]).error()).code).toBe("ERASED");
  });

  it("has its records erased by the next process, too, wherever the one before ended", async () => {
    for (const point of [
      "erasure:begun",
      "erasure:counted",
      "erasure:overwritten",
      "erasure:forgotten",
      "erasure:scrubbed",
    ]) {
      const under = await openBank();
      await under.saga("t1", [[note(alice)], [give(bob, 1)]]).result();
      await under.checkpoint();
      under.at(point, () => under.powerCut("everything"));
      const asked = under.erase(alice).catch(() => undefined);
      await under.until(() => under.isDown);
      await under.startAgain();
      void asked;
      expect(await eventually(under, alice), point).toMatchObject({ kind: "value", value: { complete: true } });
      expect(await eventually(under, sagaEntity("t1")), point).toMatchObject({ kind: "value" });
      expect(under.filesWith(marker), point).toEqual([]);
      await under.end();
    }
  });
});

// What the SDK does: asks again until there is an answer.
async function eventually(under: SagasUnderTest, entity: string): ReturnType<SagasUnderTest["erase"]> {
  for (;;) {
    under.tick();
    const reply = await under.erase(entity);
    if (reply.kind !== "error" || !reply.error.retryable) return reply;
    await under.pass(100);
  }
}
