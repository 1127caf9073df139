// Which transport an address is reached over: a WebSocket where its URL says so and where there is nothing else, as in a
// browser; TCP otherwise.
import { connectTcp, hasTcp } from "./tcp-transport.ts";
import type { Connect } from "./transport.ts";
import { connectWebSocket } from "./ws-transport.ts";

export const connectAny: Connect = (address, handlers) => {
  const isWebSocket = address.webSocket !== undefined || !hasTcp();
  return isWebSocket ? connectWebSocket(address, handlers) : connectTcp(address, handlers);
};
