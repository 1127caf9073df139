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
  \`export\` and \`entities\` print many. An error is then \`{"ok":false,"error":{"code","message","advice",…}}\`.
- **Progress** is a bar on a terminal and a line every tenth of the way elsewhere; with \`--json\` there is none.
- **Colours** appear on a terminal only, and never with \`NO_COLOR\`.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | the answer is no: a rejection, what was sent was refused, a saga that was undone or is stuck, faults or leftovers that an audit, a doctor or a proof found |
| 2 | the command line makes no sense; nothing was done |
| 3 | it could not be done: no connection, a folder in use, a full disk; also when a second signal cuts \`serve\` off |
| 4 | of \`rehearse\`: nothing is broken, but states would differ |

What an end of a saga means for \`sagas run\`, \`sagas retry\` and \`sagas resolve\`: [errors](errors.md#ends-of-sagas).
\`bench\` has exit codes of its own, which \`heddle bench -- --help\` lists.

## What an import reads

What \`export\` printed: entities with all that belongs to them, each from a line \`{"heddle":"export",…}\` to one with
\`"end":true\`. Every line carries a checksum, so what was changed or cut is found, and named by its line. Entities before it
may be there then; the same import goes on with the rest.

Anything else is one event a line, each a JSON object; blank lines are passed over:

| field | |
| --- | --- |
| \`entity\`, \`type\`, \`payload\` | wanted |
| \`aggregate\` | may be left out where the event's type tells it |
| \`id\` | makes the append take effect once for good. Left out: made of the hash of the whole file and the line's number |
| \`metadata\` | kept with the event |
| \`seq\`, \`time\`, \`schemaVersion\`, \`position\` | as \`history --json\` has them; the node gives its own. Lines of the same entity, \`position\` and \`id\` that follow each other are one append, all or nothing |

Any other field makes the line a bad one. A line that is bad or refused is told by its number and the others are imported.
`;

/** The rules by which an audit and a proof are judged stand with them, so they are told here too. */
async function ruleSections(): Promise<string[]> {
  const { auditRules, erasureChecks } = await import("@heddle/runtime/internal");
  return [
    ruleSection("What an audit checks", "rule", auditRules),
    ruleSection("What verify-erasure checks", "check", erasureChecks),
  ];
}

function ruleSection(title: string, name: string, rules: Readonly<Record<string, string>>): string {
  const rows = Object.entries(rules).map(([rule, sentence]) => `| \`${rule}\` | ${sentence} |`);
  return [`## ${title}`, "", `| ${name} | |`, "| --- | --- |", ...rows].join("\n");
}

export async function cliReference(): Promise<string> {
  const sections = commandsOf(plainProgram()).map(
    (command) => `## ${pathOf(command)}\n\n\`\`\`\n${helpOf(command).trim()}\n\`\`\``,
  );
  return `${[introduction.trimEnd(), ...(await ruleSections()), ...sections].join("\n\n")}\n`;
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
