// Entity ids in URLs: one spelling for the router, however the sender spelt it.
//
// An id is kind/name, and a name may hold further slashes. Percent-encoded they are part of the name and nothing is
// left to guess: /v1/entities/file/a%2Fb/history. Plain ones are taken as part of the name too, because that is what a
// person types; then the last segment is an action when it is one of `actions` and a name stands before it. A name that
// itself ends in such a word needs its slash encoded; so does one whose last segment but one is `reminders`, behind which
// the name of a reminder stands. Empty segments are left alone and match no route: a slash too many at the end would
// otherwise name another entity.
const prefix = "/v1/entities/";
const actions: ReadonlySet<string> = new Set([
  "append",
  "execute",
  "history",
  "stream",
  "export",
  "restore",
  "fork",
  "reminders",
]);

/** Brings a request target to the form that the routes are declared in. */
export function canonicalUrl(url: string): string {
  if (!url.startsWith(prefix)) return url;
  const end = url.search(/[?#]/);
  const path = end < 0 ? url : url.slice(0, end);
  const segments = path.slice(prefix.length).split("/");
  if (segments.length < 3 || segments.includes("")) return url;
  const action = actionOf(segments);
  const [kind, ...name] = segments;
  return `${prefix}${kind}/${name.join("%2F")}${action}${url.slice(path.length)}`;
}

/** Takes the action off the end of the segments. */
function actionOf(segments: string[]): string {
  if (segments.length > 3 && segments.at(-2) === "reminders") return `/${segments.splice(-2).join("/")}`;
  return actions.has(segments.at(-1)!) ? `/${segments.pop()}` : "";
}
