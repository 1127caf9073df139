// heddle entities: which entities there are.
import type { EntityPage, Heddle, ListedEntity } from "@heddle/client";
import { limits } from "@heddle/kernel";
import type { AddCommand } from "../add-command.ts";
import { exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { type NodeOptionValues, withNode, withNodeOptions } from "../node-options.ts";
import { wholeNumber } from "../options.ts";
import { UsageError } from "../report-error.ts";
import type { Terminal } from "../terminal.ts";
import { time } from "../text.ts";

interface EntitiesValues extends NodeOptionValues {
  readonly kind?: string;
  readonly prefix?: string;
  readonly limit?: number;
  readonly cursor?: string;
  readonly all?: boolean;
  readonly erased?: boolean;
}

const defaultLimit = 50;
const allPageEntities = 2_000;

export const addEntities: AddCommand = (program, run) => {
  withNodeOptions(
    program
      .command("entities")
      .summary("list entities")
      .description(
        "Lists entities in the order of their ids, sleeping ones too, without waking any: the last sequence, and when the\n" +
          "last event was written. A page says how to go on.",
      )
      .option("--kind <kind>", "only this kind, such as account")
      .option("--prefix <text>", "only names that begin so; without --kind, ids that begin so")
      .option("--limit <n>", `entities in a page (default: ${defaultLimit})`, wholeNumber(1, limits.listEntitiesMax))
      .option("--cursor <cursor>", "go on where a page ended")
      .option("--all", "all of them, page after page")
      .option("--erased", "those that were erased, too"),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle entities
  heddle entities --kind account --prefix al --limit 200
  heddle entities --all --json | jq -r 'select(.entity) | .entity'

With --json each entity is a line, and the last line is {"cursor": …}: null when there are no more.`,
    )
    .action((values: EntitiesValues) =>
      run(values, async (terminal) => {
        if (values.all === true && values.limit !== undefined) {
          throw new UsageError("--all has no --limit", "Leave out one of the two.");
        }
        const lines = new EntityLines(terminal, values);
        await withNode(values, (db) => list(db, values, lines, terminal));
        lines.end();
        return exitCodes.ok;
      }),
    );
};

async function list(db: Heddle, values: EntitiesValues, lines: EntityLines, terminal: Terminal): Promise<void> {
  const { kind, prefix, cursor, erased, all, limit = all === true ? allPageEntities : defaultLimit } = values;
  const query = { kind, prefix, cursor, erased, limit };
  if (all !== true) {
    lines.page(await db.entitiesPage(query));
    return;
  }
  for await (const page of db.entities(query)) {
    lines.page(page);
    await terminal.drained();
  }
}

/** The id comes last: pages of different widths still line up. */
class EntityLines {
  readonly #terminal: Terminal;
  readonly #values: EntitiesValues;
  #any = false;
  #cursor: string | undefined;

  constructor(terminal: Terminal, values: EntitiesValues) {
    this.#terminal = terminal;
    this.#values = values;
  }

  page(page: EntityPage): void {
    this.#cursor = page.cursor;
    for (const listed of page) this.#line(listed);
  }

  end(): void {
    const { json, kind, prefix, erased, limit } = this.#values;
    if (json === true) {
      this.#terminal.out(toJson({ cursor: this.#cursor ?? null }));
      return;
    }
    const { dim } = this.#terminal.sayColours;
    if (!this.#any) this.#terminal.say(dim("there are no such entities"));
    if (this.#cursor === undefined) return;
    const options = [
      ...(kind === undefined ? [] : ["--kind", kind]),
      ...(prefix === undefined ? [] : ["--prefix", prefix]),
      ...(limit === undefined ? [] : ["--limit", String(limit)]),
      ...(erased === true ? ["--erased"] : []),
    ];
    this.#terminal.say(dim(["more: heddle entities", ...options, "--cursor", this.#cursor].join(" ")));
  }

  #line(listed: ListedEntity): void {
    if (this.#values.json === true) {
      this.#terminal.out(toJson(listed));
      return;
    }
    if (!this.#any) this.#terminal.out(`${"seq".padStart(10)}  ${"last event (UTC)".padEnd(23)}  entity`);
    this.#any = true;
    const { entity, seq, erased } = listed;
    const mark = erased ? this.#terminal.outColours.yellow("  erased") : "";
    this.#terminal.out(`${String(seq).padStart(10)}  ${time(listed.time)}  ${entity}${mark}`);
  }
}
