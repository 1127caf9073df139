// heddle get: the state of an entity, now or at an earlier moment.
import type { AddCommand } from "../add-command.ts";
import { exitCodes } from "../exit-codes.ts";
import { toJson, toPrettyJson } from "../json.ts";
import { givenMoment, type MomentOptionValues, withMomentOptions } from "../moment-options.ts";
import { type NodeOptionValues, withNode, withNodeOptions } from "../node-options.ts";

interface GetValues extends NodeOptionValues, MomentOptionValues {}

export const addGet: AddCommand = (program, run) => {
  withNodeOptions(
    withMomentOptions(
      program
        .command("get")
        .summary("print the state of an entity, now or then")
        .description(
          "Prints the state of one aggregate of an entity. It has seen every event that was acknowledged before; with --seq\n" +
            "or --time, every event up to then, folded with the node's domain module.",
        )
        .argument("<entity>", "kind/name, such as account/alice")
        .argument("[aggregate]", "may be left out where the context has only one", ""),
    ),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle get account/alice
  heddle get account/alice Account --json
  heddle get account/alice --seq 7
  heddle get account/alice --time 2026-11-20T12:00:00Z`,
    )
    .action((entity: string, aggregate: string, values: GetValues) =>
      run(values, async (terminal) => {
        const at = givenMoment(values);
        const { state, seq } = await withNode(values, (db) =>
          at === undefined ? db.entity(entity).get(aggregate) : db.entity(entity).getAt(aggregate, at),
        );
        if (values.json === true) terminal.out(toJson({ entity, state, seq }));
        else {
          terminal.out(toPrettyJson(state));
          const nothing = at === undefined ? `${entity} was never written` : `${entity}, before its first event`;
          terminal.say(terminal.sayColours.dim(seq === 0 ? nothing : `${entity}, sequence ${seq}`));
        }
        return exitCodes.ok;
      }),
    );
};
