// heddle get: the state of an entity.
import { exitCodes } from "../exit-codes.ts";
import { toJson, toPrettyJson } from "../json.ts";
import { type NodeOptionValues, withNode, withNodeOptions } from "../node-options.ts";
import type { AddCommand } from "../program.ts";

export const addGet: AddCommand = (program, run) => {
  withNodeOptions(
    program
      .command("get")
      .summary("print the state of an entity")
      .description(
        "Prints the state of one aggregate of an entity. It has seen every event that was acknowledged before.",
      )
      .argument("<entity>", "kind/name, such as account/alice")
      .argument("[aggregate]", "may be left out where the context has only one", ""),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle get account/alice
  heddle get account/alice Account --json`,
    )
    .action((entity: string, aggregate: string, values: NodeOptionValues) =>
      run(values, async (terminal) => {
        const { state, seq } = await withNode(values, (db) => db.entity(entity).get(aggregate));
        if (values.json === true) terminal.out(toJson({ entity, state, seq }));
        else {
          terminal.out(toPrettyJson(state));
          terminal.say(
            terminal.sayColours.dim(seq === 0 ? `${entity} was never written` : `${entity}, sequence ${seq}`),
          );
        }
        return exitCodes.ok;
      }),
    );
};
