// heddle groups: consumer groups, how far they are, and the end of one that nobody needs.
import type { ListedGroup } from "@heddle/client";
import type { Command } from "commander";
import type { AddCommand, Run } from "../add-command.ts";
import { exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { type NodeOptionValues, withNode, withNodeOptions } from "../node-options.ts";
import type { Colours, Terminal } from "../terminal.ts";
import { bytes, duration, table } from "../text.ts";

export const addGroups: AddCommand = (program, run) => {
  const groups = program
    .command("groups")
    .summary("look after consumer groups (ls, forget)")
    .description(
      "Members of a consumer group share the events of a node: db.subscribe({ group }) in the SDK. The node keeps how far\n" +
        "each group is.",
    );
  addList(groups, run);
  addForget(groups, run);
};

function addList(groups: Command, run: Run): void {
  withNodeOptions(
    groups
      .command("ls")
      .summary("list consumer groups")
      .description(
        "Lists every group: its members, which part of all entities each has, and how far the group is behind.",
      ),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle groups ls
  heddle groups ls --json

With --json each group is a line.`,
    )
    .action((values: NodeOptionValues) =>
      run(values, async (terminal) => {
        const listed = await withNode(values, (db) => db.groups());
        if (values.json === true) for (const group of listed) terminal.out(toJson(group));
        else printList(listed, terminal);
        return exitCodes.ok;
      }),
    );
}

function printList(listed: readonly ListedGroup[], terminal: Terminal): void {
  if (listed.length === 0) {
    terminal.say(terminal.sayColours.dim("no consumer groups"));
    return;
  }
  for (const line of groupTable(listed)) terminal.out(line);
  for (const line of memberLines(listed, terminal.outColours)) terminal.out(line);
}

export function groupTable(listed: readonly ListedGroup[]): string[] {
  return table(
    [
      { title: "group" },
      { title: "members", align: "right" },
      { title: "behind", align: "right" },
      { title: "events" },
    ],
    listed.map((group) => [group.group, String(group.members.length), bytes(group.lagBytes), eventsOf(group)]),
  );
}

function eventsOf({ kind, aggregate, types }: ListedGroup): string {
  const parts = [
    ...(kind === undefined ? [] : [`of ${kind}/…`]),
    ...(aggregate === undefined ? [] : [`of ${aggregate}`]),
    ...(types === undefined ? [] : [types.join(", ")]),
  ];
  return parts.length === 0 ? "all" : parts.join(", ");
}

export function* memberLines(listed: readonly ListedGroup[], { yellow, dim }: Colours): Generator<string> {
  for (const { group, members } of listed) {
    for (const { member, slots, state, silentMs } of members) {
      const line = `${group}: ${member} has ${slots} of 32 slots, ${state}`;
      yield state === "silent" ? yellow(`${line} for ${duration(silentMs)}`) : dim(line);
    }
  }
}

function addForget(groups: Command, run: Run): void {
  withNodeOptions(
    groups
      .command("forget")
      .summary("let a consumer group be no more")
      .description(
        "Forgets a group and how far it was. One of the same name begins anew. A group that has members is refused: end\n" +
          "them first.",
      )
      .argument("<group>", "the group's name"),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle groups forget billing`,
    )
    .action((group: string, values: NodeOptionValues) =>
      run(values, async (terminal) => {
        const wasThere = await withNode(values, (db) => db.forgetGroup(group));
        if (values.json === true) terminal.out(toJson({ ok: wasThere, group }));
        else if (wasThere) terminal.out(`${terminal.outColours.green(group)} is forgotten`);
        else terminal.say(terminal.sayColours.yellow(`there is no group ${group}`));
        return wasThere ? exitCodes.ok : exitCodes.no;
      }),
    );
}
