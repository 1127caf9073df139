// Keeps web pages away from a node on the same machine.
//
// A node on a loopback address asks for no token, and every page that a person opens can make the browser send requests
// to loopback. Two roads lead there:
//
// - From a page of another origin. Writes need content-type application/json, for which a browser asks leave first
//   (a preflight) and gets none, since this node answers no OPTIONS and sends no access-control headers; answers to
//   reads stay hidden from the page for the same reason. Requests that say they come from another origin are refused
//   all the same, so that nothing rests on one rule of the browser's alone.
// - By DNS rebinding: evil.example first resolves to the attacker and then to 127.0.0.1. To the browser that is one
//   origin, so none of the above applies. But the Host header then says evil.example. A name that no stranger can
//   point at this machine is needed: an IP address, localhost, or a name that the operator has listed.
//
// Programs other than browsers can write any header. Against those, loopback itself is the fence, or a token.
import { isIP } from "node:net";
import type { HeddleError } from "@heddle/kernel";
import { refusal } from "./check-values.ts";

/** Further names that the node answers to, or any: only where every request must carry a token anyway. */
export type HostNames = readonly string[] | "any";

/**
 * Says why a request is refused for its Host or Origin header; `undefined` when it is not. `origins` are pages of other
 * origins that may send it: only where the operator has listed them, and never for requests that a page can make blindly.
 */
export function browserProblem(
  headers: { readonly host?: string | undefined; readonly origin?: string | undefined },
  hostNames: HostNames,
  origins: readonly string[] = [],
): HeddleError | undefined {
  const { host, origin } = headers;
  if (host === undefined) {
    // Browsers always send it; HTTP/1.0 programs may leave it out. With an Origin there would be nothing to compare.
    return origin === undefined ? undefined : refusal("Host", "missing, but there is an Origin header");
  }
  if (hostNames !== "any" && !isOwnName(host, hostNames)) {
    const wanted = ["an IP address", "localhost", ...hostNames].join(", ");
    return refusal("Host", `this node does not go by ${JSON.stringify(host.slice(0, 100))}, wanted ${wanted}`);
  }
  const isOwnPage = origin === undefined || hostOfOrigin(origin) === host.toLowerCase();
  if (!isOwnPage && !origins.includes(origin.toLowerCase())) {
    return refusal("Origin", `requests from pages of ${JSON.stringify(origin.slice(0, 100))} are refused`);
  }
  return undefined;
}

function isOwnName(host: string, hostNames: readonly string[]): boolean {
  const [, address, name = ""] = hostPattern.exec(host.toLowerCase()) ?? [];
  if (address !== undefined) return isIP(address) === 6;
  return (
    isIP(name) === 4 ||
    name === "localhost" ||
    name.endsWith(".localhost") ||
    hostNames.some((own) => own.toLowerCase() === name)
  );
}

// [IPv6] or a name, and a port.
const hostPattern = /^(?:\[([^\]]*)\]|([^:]+?)\.?)(?::\d{1,5})?$/;

function hostOfOrigin(origin: string): string | undefined {
  return /^https?:\/\/([^/]+)$/.exec(origin.toLowerCase())?.[1];
}
