// heddle rewind, heddle fork: back to an earlier state, in the same entity or in a new one.
import type { AddCommand } from "../add-command.ts";
import { exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { givenMoment, type MomentOptionValues, wantedMoment, withMomentOptions } from "../moment-options.ts";
import { type NodeOptionValues, withNode, withNodeOptions } from "../node-options.ts";
import { wholeNumber } from "../options.ts";
import { printResult } from "./append.ts";

interface RewindValues extends NodeOptionValues, MomentOptionValues {
  readonly id?: string;
  readonly expectedSeq?: number;
}

export const addRewind: AddCommand = (program, run) => {
  withNodeOptions(
    withMomentOptions(
      program
        .command("rewind")
        .summary("bring an entity back to an earlier state")
        .description(
          "Adds to an entity's history what brings its earlier state back: an event Restored, then copies of the events that\n" +
            "made that state, all of them or none. What happened in between stays in the history. Nothing else is touched.",
        )
        .argument("<entity>", "kind/name, such as account/alice"),
    )
      .option("--id <id>", "makes it take effect once for good: the same id again gives the first receipt")
      .option("--expected-seq <n>", "refuse unless the entity is at this sequence", wholeNumber(0)),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle rewind account/alice --seq 7
  heddle rewind account/alice --time 2026-11-20T12:00:00Z --expected-seq 9
  heddle rewind account/alice --seq 0     (as if nothing had ever happened)`,
    )
    .action((entity: string, values: RewindValues) =>
      run(values, async (terminal) => {
        const at = wantedMoment(values);
        const { id, expectedSeq } = values;
        const result = await withNode(values, (db) => db.entity(entity).restore(at, { id, expectedSeq }));
        return printResult(terminal, entity, result, values.json === true);
      }),
    );
};

interface ForkValues extends NodeOptionValues, MomentOptionValues {}

export const addFork: AddCommand = (program, run) => {
  withNodeOptions(
    withMomentOptions(
      program
        .command("fork")
        .summary("copy an entity's history to a new entity")
        .description(
          "Copies the history of an entity, up to a moment or to its end, to an entity that was never written to: with the\n" +
            "times, sequences and metadata of the events, without their ids. The first entity is not touched. A fork that was\n" +
            "cut off is completed by the same command.",
        )
        .argument("<entity>", "kind/name, such as account/alice")
        .argument("<new>", "id of the copy, such as account/alice-before"),
    ),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle fork account/alice account/alice-before --seq 7
  heddle fork account/alice account/alice-noon --time 2026-11-20T12:00:00Z
  heddle fork account/alice account/alice-copy`,
    )
    .action((entity: string, newId: string, values: ForkValues) =>
      run(values, async (terminal) => {
        const at = givenMoment(values);
        const { seq } = await withNode(values, (db) => db.entity(entity).fork(newId, { at }));
        if (values.json === true) terminal.out(toJson({ ok: true, entity: newId, source: entity, seq }));
        else terminal.out(`${terminal.outColours.green(newId)} is at sequence ${seq}, a copy of ${entity}`);
        return exitCodes.ok;
      }),
    );
};
