// NatsOptions: where NATS is and who asks. Loads no client, so that whoever only passes them on pays nothing.
import { HeddleError } from "@heddle/kernel";

export interface NatsOptions {
  /** `nats://host:port` or `tls://…`; several with commas. User and password, or a token, may stand in it. */
  readonly url: string;
  readonly user?: string;
  readonly password?: string;
  readonly token?: string;
  /** A file with a user's JWT and seed, as `nsc` writes it. */
  readonly credentialsFile?: string;
  /** A file with certificates of authorities to trust, for TLS. */
  readonly caFile?: string;
  /** Copies of each stream that the servers of a cluster keep. Only for streams that are made; default 1. */
  readonly replicas?: number;
  /** Besides, one message for each event. */
  readonly events?: boolean;
}

/** How errors and reports call the server: its address, without what stands in it of users. */
export function sinkName(options: NatsOptions): string {
  return `NATS at ${addressesOf(options)
    .map(({ protocol, host }) => `${protocol}//${host}`)
    .join(",")}`;
}

export function addressesOf({ url }: NatsOptions): URL[] {
  return url.split(",").map((part) => {
    const text = part.trim();
    const address = URL.parse(text.includes("://") ? text : `nats://${text}`);
    if (address === null || !["nats:", "tls:"].includes(address.protocol) || address.hostname === "")
      throw new HeddleError("INVALID_REQUEST", {
        path: "nats.url",
        problem: `wanted nats://host:port, found ${JSON.stringify(text.replace(/\/\/.*@/, "//…@"))}`,
      });
    return address;
  });
}

/** Errors: `INVALID_REQUEST` for an address that is none. */
export function checkNatsOptions(options: NatsOptions): void {
  addressesOf(options);
}
