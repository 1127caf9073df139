// Goal: a reminder comes when its time has come, once, whatever happens to the process, its disk and its clock; and what did not
// come is what its own policy left out.
// Method: a shard and a runner over simulated disk, clock and thread. Schedules and policies by themselves: schedule and release
// unit specs. Over a real node: test/e2e/reminders.e2e.spec.ts.
import { type Survival, seededRandom } from "@heddle/testkit";
import { afterEach, describe, expect, it } from "vitest";
import { missedAfterMs } from "./release.ts";
import { closeAll, codeOf, RemindingShard, start, valueIn } from "./reminding-shard.spec-support.ts";

afterEach(closeAll);

const bell = "bell/1";
const hourMs = 3_600_000;

async function withBell(options?: ConstructorParameters<typeof RemindingShard>[0]): Promise<RemindingShard> {
  const under = new RemindingShard(options);
  await under.append(bell);
  return under;
}

describe("reminders: delivery", () => {
  it("comes when its time has come and not before, with an id and metadata that say which it is", async () => {
    const under = await withBell();
    expect(valueIn(await under.remind(bell, "once", { schedule: { at: start + 10_000 } }))).toEqual({
      ok: true,
      name: "once",
      due: start + 10_000,
    });
    await under.pass(9_750);
    expect(await under.brought(bell)).toEqual([]);
    await under.pass(500);
    expect(await under.brought(bell)).toEqual([{ name: "once", due: start + 10_000, time: start + 10_000 }]);
    expect(await under.reminders(bell)).toEqual([]);
  });

  it("is counted as pending while there is no room on the disk", async () => {
    const under = await withBell();
    await under.remind(bell, "one", { schedule: { at: start + 60_000 } });
    await under.checkpoint();
    under.disk.setFreeBytes(0);
    const refused = expect(under.append(bell)).rejects.toThrow("DISK_FULL");
    await under.pass(1_000);
    await refused;
    expect(under.shard.state).toBe("full");
    expect(under.runner.stats()).toMatchObject({ pending: 1, due: 0 });
    under.disk.setFreeBytes(Number.POSITIVE_INFINITY);
    await under.pass(1_000);
    expect(under.shard.state).toBe("open");
    expect(under.runner.stats()).toMatchObject({ pending: 1, due: 0 });
  });

  it("brings a command, an event, or several events", async () => {
    const under = await withBell();
    await under.remind(bell, "command", { brings: { command: "Ring", input: { by: "a" } } });
    await under.remind(bell, "event", { brings: { type: "Rung", payload: { by: "b" } } });
    const rung = { type: "Rung", payload: { by: "c" } };
    await under.remind(bell, "events", { brings: { events: [rung, rung] } });
    await under.pass(1_000);
    expect((await under.brought(bell)).map(({ name }) => name)).toEqual(["command", "event", "events", "events"]);
  });

  it("repeats by its cron expression until it is cancelled", async () => {
    const under = await withBell();
    await under.remind(bell, "hourly", { schedule: { cron: "0 * * * *", timeZone: "UTC" } });
    await under.pass(1_000);
    for (let hour = 0; hour < 3; hour++) {
      under.clock.nowMs += hourMs - 1_000;
      under.clock.monotonicMs += hourMs - 1_000;
      await under.pass(1_000);
    }
    expect((await under.brought(bell)).map(({ due }) => due)).toEqual([1, 2, 3].map((hour) => start + hour * hourMs));
    expect(await under.reminders(bell)).toMatchObject([
      { name: "hourly", due: start + 4 * hourMs, last: { due: start + 3 * hourMs, outcome: "delivered" } },
    ]);
    expect(valueIn(await under.cancel(bell, "hourly"))).toEqual({ ok: true, name: "hourly" });
    await under.set(start + 9 * hourMs);
    expect(await under.brought(bell)).toHaveLength(3);
    expect(codeOf(await under.cancel(bell, "hourly"))).toBe("NO_SUCH_REMINDER");
  });

  it("takes the place of one with the same name", async () => {
    const under = await withBell();
    await under.remind(bell, "one", {
      schedule: { at: start + 1_000 },
      brings: { type: "Rung", payload: { by: "a" } },
    });
    await under.remind(bell, "one", {
      schedule: { at: start + 5_000 },
      brings: { type: "Rung", payload: { by: "b" } },
    });
    await under.pass(3_000);
    expect(await under.brought(bell)).toEqual([]);
    await under.pass(3_000);
    expect((await under.brought(bell)).map(({ due }) => due)).toEqual([start + 5_000]);
  });

  it("P4: set twice with one id it is set once, also when it has been delivered in between", async () => {
    const under = await withBell();
    const fields = { schedule: { cron: "*/10 * * * * *", timeZone: "UTC" }, id: "set-1" };
    const first = valueIn(await under.remind(bell, "ten", fields));
    await under.pass(11_000);
    await under.cancel(bell, "ten");
    expect(valueIn(await under.remind(bell, "ten", fields))).toEqual(first);
    expect(await under.reminders(bell)).toEqual([]);
    expect(codeOf(await under.remind(bell, "other", fields))).toBe("ID_REUSED");
  });

  it("what a rule says no to is an outcome, not a retry", async () => {
    const under = await withBell();
    await under.append("bell/closed", "Closed", {});
    await under.remind("bell/closed", "command", { schedule: { at: start + 1_000 } });
    const brings = { type: "Rung", payload: { by: "x" } };
    await under.remind("bell/closed", "event", { schedule: { cron: "*/30 * * * * *", timeZone: "UTC" }, brings });
    await under.pass(31_000);
    expect(under.runner.stats()).toMatchObject({ refused: 2, delivered: 0, retries: 0, due: 0 });
    expect(await under.reminders("bell/closed")).toMatchObject([
      { name: "event", last: { due: start + 30_000, outcome: "refused", code: "INVARIANT_VIOLATED" } },
    ]);
  });

  it("delivers all that is due of an entity, however many it has", async () => {
    const under = await withBell();
    for (let i = 0; i < 200; i++) await under.remind(bell, `r${i}`, { schedule: { at: start + 1_000 } });
    expect(await under.reminders(bell)).toHaveLength(200);
    await under.pass(3_000);
    expect(new Set((await under.brought(bell)).map(({ name }) => name)).size).toBe(200);
    expect(await under.brought(bell)).toHaveLength(200);
  });

  it("takes one commit group for what is due of an entity, with what is on record of it", async () => {
    const under = await withBell();
    for (let i = 0; i < 20; i++) await under.remind(bell, `r${i}`, { schedule: { at: start + 1_000 } });
    const { groups } = under.shard.stats();
    await under.pass(3_000);
    expect(under.shard.stats().groups - groups).toBe(1);
    expect(under.runner.stats()).toMatchObject({ delivered: 20, due: 0, pending: 0 });
  });

  it("goes the way of a frame while the shard takes nothing in, and comes once", async () => {
    const under = await withBell();
    await under.remind(bell, "one", { schedule: { at: start + 1_000 } });
    under.disk.holdSyncs();
    const other = under.append("bell/other");
    // It begins when all is durable: until then frames wait, and nothing is decided.
    under.shard.requestCheckpoint();
    await under.pass(3_000);
    expect(under.runner.stats()).toMatchObject({ due: 1, delivered: 0 });
    under.disk.releaseSyncs();
    await other;
    await under.pass(1_000);
    expect(await under.brought(bell)).toHaveLength(1);
    expect(await under.reminders(bell)).toEqual([]);
  });

  it("lists entities by their next reminder", async () => {
    const under = new RemindingShard();
    for (let i = 0; i < 30; i++) {
      await under.append(`bell/${i}`);
      await under.remind(`bell/${i}`, "late", { schedule: { at: start + hourMs } });
      await under.remind(`bell/${i}`, "soon", { schedule: { at: start + hourMs - i * 1_000 } });
      if (i === 15) await under.checkpoint();
    }
    const list = await under.list();
    expect(list.map(([entity]) => entity)).toEqual(Array.from({ length: 30 }, (_, i) => `bell/${29 - i}`));
    expect(list[0]).toEqual(["bell/29", start + hourMs - 29_000, "soon", 2]);
  });
});

describe("reminders: bad input (P7)", () => {
  it.each([
    ["a cron expression that is none", { schedule: { cron: "every day", timeZone: "UTC" } }, "INVALID_REQUEST"],
    ["a time zone that is none", { schedule: { cron: "* * * * *", timeZone: "Middle/Earth" } }, "INVALID_REQUEST"],
    ["a time that never comes", { schedule: { cron: "0 0 30 2 *", timeZone: "UTC" } }, "INVALID_REQUEST"],
    ["an input that does not fit", { brings: { command: "Ring", input: { by: 7 } } }, "INVALID_PAYLOAD"],
    ["a command that is not there", { brings: { command: "Sing", input: {} } }, "UNKNOWN_COMMAND"],
    ["an event that is not there", { brings: { type: "Sung", payload: {} } }, "UNKNOWN_EVENT_TYPE"],
    ["an aggregate that is not there", { aggregate: "Choir" }, "UNKNOWN_AGGREGATE"],
    ["an aggregate of Heddle's own", { aggregate: "$reminders" }, "UNKNOWN_AGGREGATE"],
  ])("refuses %s, and writes nothing", async (_, fields, code) => {
    const under = await withBell();
    expect(codeOf(await under.remind(bell, "bad", fields))).toBe(code);
    expect(await under.reminders(bell)).toEqual([]);
    expect(under.partition.head(`$reminders/${bell}`)).toBeUndefined();
  });

  it("refuses an entity without events, one of Heddle's own, and an erased one", async () => {
    const under = await withBell();
    expect(codeOf(await under.remind("bell/none", "r", {}))).toBe("INVALID_REQUEST");
    expect(codeOf(await under.remind("bel/none", "r", {}))).toBe("UNKNOWN_KIND");
    expect(under.partition.head("$reminders/bel/none")).toBeUndefined();
    expect(codeOf(await under.remind(`$reminders/${bell}`, "r", {}))).toBe("INVALID_ENTITY_ID");
    await under.delete(bell);
    expect(codeOf(await under.remind(bell, "r", {}))).toBe("ERASED");
  });

  it("refuses the reminder beyond the most that an entity may have, and takes one that replaces another", async () => {
    const under = await withBell();
    for (let i = 0; i < 1_000; i++) await under.remind(bell, `r${i}`, { schedule: { at: start + hourMs } });
    expect(codeOf(await under.remind(bell, "one-more", {}))).toBe("INVALID_REQUEST");
    expect(codeOf(await under.remind(bell, "r7", { schedule: { at: start + 2 * hourMs } }))).toBe("value");
    expect(await under.reminders(bell)).toHaveLength(1_000);
  });
});

describe("reminders: what was missed", () => {
  const outage = 10 * 60_000;

  it.each([
    ["all", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]],
    ["latest", [10]],
    ["skip", [10]],
  ] as const)("ten minutes down, every minute, policy %s", async (missed, minutes) => {
    const under = await withBell();
    await under.remind(bell, "minutely", { schedule: { cron: "* * * * *", timeZone: "UTC" }, missed });
    await under.shard.close();
    under.clock.nowMs += outage;
    under.clock.monotonicMs += outage;
    under.open();
    await under.pass(2_000);
    expect((await under.brought(bell)).map(({ due }) => (due - start) / 60_000)).toEqual(minutes);
    await under.pass(60_000);
    expect((await under.brought(bell)).at(-1)!.due).toBe(start + 11 * 60_000);
  });

  it("one that was due once during the outage: all and latest bring it, skip passes it over for good", async () => {
    const under = await withBell();
    for (const missed of ["all", "latest", "skip"] as const) {
      await under.remind(bell, missed, { schedule: { at: start + 1_000 }, missed });
    }
    await under.shard.close();
    await under.set(start + outage).catch(() => {});
    under.open();
    await under.pass(1_000);
    expect((await under.brought(bell)).map(({ name }) => name).sort()).toEqual(["all", "latest"]);
    expect(await under.reminders(bell)).toEqual([]);
    expect(under.runner.stats()).toMatchObject({ missed: 1, delivered: 2, pending: 0 });
  });

  it("a clock that is set forward makes due what lies in between, one that is set back makes nothing come twice", async () => {
    const under = await withBell();
    await under.remind(bell, "minutely", { schedule: { cron: "* * * * *", timeZone: "UTC" } });
    await under.set(start + 5 * 60_000 + 500);
    await under.pass(1_000);
    expect((await under.brought(bell)).map(({ due }) => due)).toEqual([start + 5 * 60_000]);
    await under.set(start + 60_000);
    await under.pass(3 * 60_000);
    expect(await under.brought(bell)).toHaveLength(1);
    await under.pass(2 * 60_000);
    expect((await under.brought(bell)).map(({ due }) => due)).toEqual([start + 5 * 60_000, start + 6 * 60_000]);
  });

  it("D1 D3: a clock that is set back while the disk is full makes nothing early that was under way, and loses none", async () => {
    const under = await withBell();
    await under.remind(bell, "one", { schedule: { at: start + 60_000 } });
    under.disk.setFreeBytes(0);
    await under.pass(61_000);
    expect(under.runner.stats().delivered).toBe(0);
    expect(under.runner.stats().retries).toBeGreaterThan(0);
    await under.set(start + 30_000);
    under.disk.setFreeBytes(Number.POSITIVE_INFINITY);
    await under.pass(29_000);
    expect(await under.brought(bell)).toEqual([]);
    await under.pass(2_000);
    expect(await under.brought(bell)).toEqual([{ name: "one", due: start + 60_000, time: start + 60_000 }]);
    expect(await under.reminders(bell)).toEqual([]);
  });

  it("P8: after an outage no more leave in a second than the bound says, and all of them leave", async () => {
    const under = new RemindingShard({ perSecond: 100 });
    for (let i = 0; i < 500; i++) {
      await under.append(`bell/${i}`);
      await under.remind(`bell/${i}`, "r", { schedule: { at: start + 1_000 } });
    }
    await under.shard.close();
    await under.set(start + outage).catch(() => {});
    under.open();
    let before = 0;
    for (let second = 0; second < 6; second++) {
      await under.pass(1_000, 10);
      const { delivered } = under.runner.stats();
      expect(delivered - before).toBeLessThanOrEqual(100 + 6);
      before = delivered;
    }
    expect(before).toBe(500);
    expect(under.runner.stats()).toMatchObject({ due: 0, lagMs: 0 });
  });
});

describe("reminders: over crashes (P5)", () => {
  const points = [
    "log:written",
    "log:synced",
    "shard:before-reply",
    "shard:after-reply",
    "reminder:delivered",
    "reminder:recorded",
    "checkpoint:begun",
    "checkpoint:before-commit",
    "partition:entities-durable",
    "partition:covered",
  ];
  const survivals: Survival[] = ["nothing", "everything"];

  it.each(points.flatMap((point) => survivals.map((survival) => [point, survival] as const)))(
    "killed at %s, of what was not synced %s survives: each occurrence comes once",
    async (point, survival) => {
      const under = await withBell();
      await under.remind(bell, "minutely", { schedule: { cron: "* * * * *", timeZone: "UTC" }, missed: "all" });
      for (let i = 0; i < 3; i++) await under.remind(bell, `once${i}`, { schedule: { at: start + 90_000 } });
      await under.checkpoint();
      under.armCrash(point, survival, 2);
      await under.pass(120_000);
      if (point.startsWith("checkpoint:") || point.startsWith("partition:")) {
        for (let i = 0; i < 3 && !under.isDead; i++) {
          await under.checkpoint();
          await under.pass(10_000);
        }
      }
      if (under.isDead) {
        await under.partition.close();
        under.open();
      }
      await under.pass(60_000 + start + 240_000 - under.clock.nowMs);
      const brought = await under.brought(bell);
      expect(brought.filter(({ name }) => name !== "minutely")).toHaveLength(3);
      const minutes = brought.filter(({ name }) => name === "minutely").map(({ due }) => (due - start) / 60_000);
      expect(minutes).toEqual([1, 2, 3, 4, 5].slice(0, minutes.length));
      expect(minutes.length).toBeGreaterThanOrEqual(4);
      for (const { due, time } of brought) expect(time).toBeGreaterThanOrEqual(due);
    },
  );

  it.each([
    ["written", "EIO"],
    ["synced", "EIO"],
    ["written", "ENOSPC"],
  ] as const)(
    "D2 D3: a group that cannot be %s (%s) takes the deliveries with it and the record of them: all come, each once",
    async (what, code) => {
      const under = await withBell();
      for (let i = 0; i < 3; i++) await under.remind(bell, `once${i}`, { schedule: { at: start + 1_000 } });
      const cron = { cron: "*/5 * * * * *", timeZone: "UTC" };
      await under.remind(bell, "again", { schedule: cron, missed: "all" });
      await under.pass(750);
      if (what === "written") under.disk.failNextWrite(code);
      else under.disk.failNextSync(code);
      await under.pass(20_000);
      const brought = await under.brought(bell);
      expect(brought.filter(({ name }) => name !== "again").map(({ name }) => name)).toEqual([
        "once0",
        "once1",
        "once2",
      ]);
      const seconds = brought.filter(({ name }) => name === "again").map(({ due }) => (due - start) / 1_000);
      expect(seconds).toEqual([5, 10, 15, 20]);
      expect(under.runner.stats()).toMatchObject({ refused: 0, due: 0 });
      expect((await under.reminders(bell)).map(({ name, last }) => [name, last?.due])).toEqual([
        ["again", start + 20_000],
      ]);
    },
  );

  it("10,000 reminders of a thousand entities, a restart in the middle, little memory: each comes once", async () => {
    const under = new RemindingShard({ limits: { activeEntitiesMax: 100 } });
    const bells = Array.from({ length: 1_000 }, (_, i) => `bell/${i}`);
    await under.together(() => bells.map((entity) => under.append(entity)));
    await under.together(() =>
      bells.flatMap((entity, i) =>
        Array.from({ length: 10 }, (_, n) => {
          const at = start + hourMs + (((i * 10 + n) * 7_919) % 60_000);
          return under.remind(entity, `r${n}`, { schedule: { at } });
        }),
      ),
    );
    await under.set(start + hourMs - 1);
    await under.pass(20_000);
    await under.restart();
    await under.pass(15_000);
    await under.crash("nothing");
    under.open();
    await under.pass(30_000);
    for (const entity of bells) {
      const brought = await under.brought(entity);
      expect(brought.map(({ name }) => name).sort(), entity).toEqual(Array.from({ length: 10 }, (_, n) => `r${n}`));
      for (const { due, time } of brought) expect(time).toBeGreaterThanOrEqual(due);
    }
    expect(await under.list()).toEqual([]);
  });

  it("erased with its entity: no byte of what it was to bring is left, and nothing comes (P6)", async () => {
    const under = await withBell();
    const brings = { command: "Ring", input: { by: "MARKER-IN-AN-INPUT" } };
    await under.remind(bell, "secret", { schedule: { at: start + 60_000 }, brings });
    await under.remind(bell, "secret-too", { schedule: { cron: "* * * * *", timeZone: "UTC" }, brings });
    await under.checkpoint();
    await under.pass(61_000);
    await under.checkpoint();
    expect(under.filesWith("MARKER-IN-AN-INPUT").length).toBeGreaterThan(1);
    expect(valueIn(await under.delete(bell))).toMatchObject({ complete: true });
    expect(under.filesWith("MARKER-IN-AN-INPUT")).toEqual([]);
    await under.pass(180_000);
    expect(under.reports.filter(({ level }) => level === "error")).toEqual([]);
    expect(under.runner.stats()).toMatchObject({ due: 0, pending: 0 });
  });
});

describe("reminders: under any schedule", () => {
  it("D1 D2 D3: random reminders, crashes, restarts and clocks: none early, none twice, none lost but by its policy", async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const random = seededRandom(seed);
      const chance = (n: number) => random.safeInteger() % n;
      const under = new RemindingShard({ limits: { activeEntitiesMax: 4 } });
      const bells = ["bell/a", "bell/b", "bell/c", "bell/d", "bell/e", "bell/f"];
      for (const entity of bells) await under.append(entity);
      const wanted = new Map<string, number>();
      for (let step = 0; step < 40; step++) {
        const entity = bells[chance(bells.length)]!;
        const what = chance(10);
        if (what < 5) {
          const at = under.clock.nowMs + chance(120_000);
          const name = `r${step}`;
          const reply = await under.remind(entity, name, {
            schedule: { at },
            missed: chance(2) === 0 ? "all" : "latest",
          });
          expect(codeOf(reply)).toBe("value");
          wanted.set(`${entity} ${name}`, at);
        } else if (what < 6) await under.checkpoint();
        else if (what < 7) await under.restart();
        else if (what < 8) {
          await under.crash(chance(2) === 0 ? "nothing" : "everything");
          under.open();
        } else if (what < 9) await under.pass(chance(20_000));
        else await under.set(under.clock.nowMs + chance(60_000) - 20_000);
      }
      await under.set(Math.max(under.clock.nowMs, ...wanted.values()));
      await under.pass(2_000);
      const found = new Map<string, number>();
      for (const entity of bells) {
        for (const { name, due, time } of await under.brought(entity)) {
          expect(found.has(`${entity} ${name}`), `seed ${seed}: ${entity} ${name} came twice`).toBe(false);
          found.set(`${entity} ${name}`, due);
          // The time of an event never falls; the wall clock may have.
          expect(time, `seed ${seed}: ${entity} ${name} was early`).toBeGreaterThanOrEqual(due);
        }
      }
      expect(found, `seed ${seed}`).toEqual(wanted);
      await under.end();
    }
  });

  it("the tolerance is what the documents say", () => {
    expect(missedAfterMs).toBe(60_000);
  });
});
