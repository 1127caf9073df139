// failedTests: which tests failed, a line each, from the report that Vitest's JSON reporter wrote.
import fs from "node:fs";
import path from "node:path";

/** The parts of the report that are read. */
interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

/** `file > test: first line of the failure`, in the order of the report; none when there is no report. `root`: files are told from there. */
export function failedTests(report: string, root: string): string[] {
  if (!fs.existsSync(report)) return [];
  const { testResults } = JSON.parse(fs.readFileSync(report, "utf8")) as Report;
  return testResults.flatMap(({ name, status, message, assertionResults }) => {
    const file = path.relative(root, name);
    const failed = assertionResults.filter((test) => test.status === "failed");
    // A file that could not be read, or whose hooks failed, has no failed test.
    if (failed.length === 0) return status === "failed" ? [lineOf(file, message)] : [];
    return failed.map((test) => lineOf(`${file} > ${test.fullName}`, test.failureMessages[0] ?? ""));
  });
}

function lineOf(what: string, message: string): string {
  const first = message.trim().split("\n")[0]!;
  return first === "" ? what : `${what}: ${first}`;
}
