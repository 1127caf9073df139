// What a command is to the program that it is added to.
import type { Command } from "commander";
import type { ExitCode } from "./exit-codes.ts";
import type { Terminal } from "./terminal.ts";

/** Runs a command's work; what it throws is told, and becomes an exit code. */
export type Run = (
  values: { readonly json?: boolean },
  work: (terminal: Terminal) => ExitCode | Promise<ExitCode>,
) => Promise<void>;

/** Adds one command to the program. Every file in commands/ has one or two. */
export type AddCommand = (program: Command, run: Run) => void;
