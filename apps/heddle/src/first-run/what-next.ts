// What to try after the first run. Every line works as it is printed, in a shell at the repository's top; a test runs them.
import path from "node:path";
import { defaultUrl } from "../node-options.ts";

export interface NextStep {
  readonly title: string;
  /** For a POSIX shell. May have several lines. */
  readonly command: string;
}

export interface RunningNode {
  /** `heddle://host:port` */
  readonly url: string;
  readonly data: string;
  /** Path of the domain module. */
  readonly domain: string;
  /** An airport that has many events. */
  readonly entity: string;
  /** The id of a flight. */
  readonly saga: string;
  /** The folder that the commands are to be run in. */
  readonly cwd: string;
}

export function whatNext({ url, data, domain, entity, saga, cwd }: RunningNode): readonly NextStep[] {
  const atNode = url === defaultUrl ? "" : ` --url ${url}`;
  return [
    { title: "HTTP", command: `curl -s ${url.replace("heddle:", "http:")}/v1/entities/${entity}` },
    {
      title: "SDK",
      command: [
        `npx node --input-type=module -e '`,
        `  import { Heddle } from "@heddle/client";`,
        `  await using db = new Heddle("${url}/flights");`,
        `  console.log(await db.entity("${entity}").get("Airport"));`,
        `'`,
      ].join("\n"),
    },
    { title: "CLI", command: `npx heddle history ${entity} 5${atNode}` },
    { title: "A flight, step by step", command: `npx heddle sagas show ${saga}${atNode}` },
    {
      title: "Audit",
      command: `npx heddle audit --domain ${shellPath(domain, cwd)} --data ${shellPath(data, cwd)}`,
    },
  ];
}

/** Relative where that is shorter, and quoted where a shell would take it apart. */
export function shellPath(target: string, cwd: string): string {
  const relative = path.relative(cwd, target);
  const shown = relative.startsWith("..") || path.isAbsolute(relative) ? path.resolve(target) : `./${relative}`;
  return /^[\w@%+=:,./-]+$/.test(shown) ? shown : `'${shown.replaceAll("'", `'\\''`)}'`;
}
