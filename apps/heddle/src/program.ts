// Program: every command of heddle, put together. Builds only; nothing runs before `parseAsync`.
import { Command } from "commander";
import type { AddCommand, Run } from "./add-command.ts";
import { addAppend, addExecute } from "./commands/append.ts";
import { addAudit } from "./commands/audit.ts";
import { addBackup } from "./commands/backup.ts";
import { addBench } from "./commands/bench.ts";
import { addChain } from "./commands/chain.ts";
import { addDelete } from "./commands/delete.ts";
import { addDoctor } from "./commands/doctor.ts";
import { addEntities } from "./commands/entities.ts";
import { addExport } from "./commands/export.ts";
import { addGet } from "./commands/get.ts";
import { addGroups } from "./commands/groups.ts";
import { addHistory } from "./commands/history.ts";
import { addImport } from "./commands/import.ts";
import { addIndex } from "./commands/index-rebuild.ts";
import { addProject } from "./commands/project.ts";
import { addProjections } from "./commands/projections.ts";
import { addQuery } from "./commands/query.ts";
import { addRehearse } from "./commands/rehearse.ts";
import { addReminders } from "./commands/reminders.ts";
import { addRestore } from "./commands/restore.ts";
import { addFork, addRewind } from "./commands/rewind.ts";
import { addSagas } from "./commands/sagas.ts";
import { addSchema } from "./commands/schema.ts";
import { addServe } from "./commands/serve.ts";
import { addTransact } from "./commands/transact.ts";
import { addVerifyErasure } from "./commands/verify-erasure.ts";
import { exitCodes } from "./exit-codes.ts";
import type { Terminal } from "./terminal.ts";

export interface ProgramOptions {
  readonly version: string;
  readonly terminal: Terminal;
  readonly run: Run;
}

const exitCodeHelp = `
Exit codes: ${exitCodes.ok} done; ${exitCodes.no} the answer is no (a rejection, a refused line, a fault found);
            ${exitCodes.usage} the command line makes no sense; ${exitCodes.failed} it could not be done;
            ${exitCodes.differs} a rehearsal found states that would differ, and nothing broken.
Environment: HEDDLE_URL is the node to talk to, NO_COLOR turns colours off.

First steps:
  heddle serve --domain ./apps/examples/bank --data ./data
  heddle append account/alice Credited '{"amount":5000}'
  heddle get account/alice
  heddle help append`;

export function buildProgram({ version, terminal, run }: ProgramOptions): Command {
  const program = new Command("heddle")
    .description("An actor for every entity, a durable log under every actor.")
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .addHelpText("after", exitCodeHelp)
    .showHelpAfterError("(heddle help lists the commands, heddle help <command> shows one with examples)")
    .configureOutput({
      writeOut: (text) => terminal.out(text.trimEnd()),
      writeErr: (text) => terminal.say(text.trimEnd()),
      outputError: (text, write) => write(text.replace(/^error: /, `${terminal.sayColours.red("heddle:")} `)),
      // The same text on every screen, as the reference holds it.
      getOutHelpWidth: () => helpColumns,
      getErrHelpWidth: () => helpColumns,
      getOutHasColors: () => terminal.outColours.isColorSupported,
      getErrHasColors: () => terminal.sayColours.isColorSupported,
    })
    .configureHelp({ styleTitle: (title) => terminal.outColours.bold(title) })
    .exitOverride();
  for (const add of commands) add(program, run);
  return program;
}

const helpColumns = 120;

const commands: readonly AddCommand[] = [
  addServe,
  addAppend,
  addExecute,
  addTransact,
  addGet,
  addHistory,
  addEntities,
  addSagas,
  addReminders,
  addQuery,
  addProjections,
  addGroups,
  addProject,
  addSchema,
  addRewind,
  addFork,
  addExport,
  addImport,
  addDelete,
  addVerifyErasure,
  addBackup,
  addRestore,
  addAudit,
  addRehearse,
  addChain,
  addDoctor,
  addIndex,
  addBench,
];
