// protocol: what travels between a client and a node. Pure; runs in a browser.
//
// Owns the frames, the layouts of requests and replies, and the values that calls resolve to. Decoders check every
// bound: whatever the bytes are, the outcome is a value or a typed error (P7). Knows no sockets and no time.

// Versions
export { protocolVersion } from "./frames.ts";
// What appends and commands resolve to
export type { AppendResult, Receipt, Rejection, RejectionFacts } from "./replies.ts";
