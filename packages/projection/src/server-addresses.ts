// ServerAddresses: the servers that one address names. Several servers of a cluster stand in it as MongoDB's drivers write them, with
// commas between them: `http://user:password@a:4001,b:4001,c:4001`.

/** One address for each server, each with the user and the rest; undefined when it is none. */
export function addressesOf(text: string): readonly URL[] | undefined {
  const [, scheme, user, hosts, rest] = /^([a-z+]+:\/\/)([^/?#]*@)?([^/?#]*)(.*)$/i.exec(text) ?? [];
  if (hosts === undefined || hosts === "") return undefined;
  const addresses = hosts.split(",").map((host) => `${scheme}${user ?? ""}${host}${rest}`);
  if (addresses.some((address) => !URL.canParse(address) || new URL(address).host === "")) return undefined;
  return addresses.map((address) => new URL(address));
}
