// For sibling packages and tests.

export * from "./index.ts";
export { type Ports, systemPorts, systemTimers, type Timers } from "./ports.ts";
export type { Address, Connect, TransportConnection, TransportHandlers } from "./transport.ts";
