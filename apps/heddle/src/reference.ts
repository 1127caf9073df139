// Reference: docs/reference/cli.md, made from the commands themselves. A spec holds the file against this.
//
// To write it anew after a command has changed: node apps/heddle/src/reference.ts > docs/reference/cli.md
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { buildProgram } from "./program.ts";
import { terminalOf } from "./terminal.ts";

const introduction = `# The command line

\`heddle\` runs a node, talks to one, and looks after data folders. In the repository it is \`npx heddle\`.
This page is made from the commands: \`node apps/heddle/src/reference.ts\` prints it.

- **Results** go to standard output, everything else to standard error. With \`--json\` the result is one line of JSON;
  \`export\` prints a line for each event. An error is then \`{"ok":false,"error":{"code","message","advice",…}}\`.
- **Progress** is a bar on a terminal and a line every tenth of the way elsewhere; with \`--json\` there is none.
- **Colours** appear on a terminal only, and never with \`NO_COLOR\`.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | the answer is no: a rejection, what was sent was refused, an audit or doctor that found faults |
| 2 | the command line makes no sense; nothing was done |
| 3 | it could not be done: no connection, a folder in use, a full disk; also when a second signal cuts \`serve\` off |

\`bench\` has exit codes of its own, which \`heddle bench -- --help\` lists.

## What an import reads

One JSON object a line, blank lines are passed over:

| field | |
| --- | --- |
| \`entity\`, \`type\`, \`payload\` | wanted |
| \`aggregate\` | may be left out where the event's type tells it |
| \`id\` | makes the append take effect once for good. Left out: made of the hash of the whole file and the line's number |
| \`metadata\` | kept with the event |
| \`seq\`, \`time\`, \`schemaVersion\`, \`position\` | what an export adds; the node gives its own. Lines of the same entity, \`position\` and \`id\` that follow each other are one append, all or nothing |

Any other field makes the line a bad one. A line that is bad or refused is told by its number and the others are imported.
What JSON has no word for is text in an export (integers beyond 2^53, binary values, dates), and stays text in an import.
`;

/** The rules by which an audit is judged stand with it, so they are told here too. */
async function auditSection(): Promise<string> {
  const { auditRules } = await import("@heddle/runtime/internal");
  const rows = Object.entries(auditRules).map(([rule, sentence]) => `| \`${rule}\` | ${sentence} |`);
  return ["## What an audit checks", "", "| rule | |", "| --- | --- |", ...rows].join("\n");
}

export async function cliReference(): Promise<string> {
  const sections = commandsOf(plainProgram()).map(
    (command) => `## ${pathOf(command)}\n\n\`\`\`\n${helpOf(command).trim()}\n\`\`\``,
  );
  return `${[introduction.trimEnd(), await auditSection(), ...sections].join("\n\n")}\n`;
}

/** The whole help of a command, as `heddle help` prints it without colours. */
export function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({
    ...command.configureOutput(),
    writeOut: (written) => {
      text += written;
    },
  });
  command.outputHelp();
  return text;
}

export function plainProgram(): Command {
  const nowhere = { write: () => true, once: () => {} };
  return buildProgram({ version: "0.0.0", terminal: terminalOf(nowhere, nowhere, {}), run: async () => {} });
}

/** The program itself, and every command below it that can be run, in the order of the help. */
export function commandsOf(command: Command): Command[] {
  const below = command.commands.flatMap(commandsOf);
  return below.length === 0 || command.parent === null ? [command, ...below] : below;
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.stdout.write(await cliReference());
