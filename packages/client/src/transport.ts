// The port to the network: an ordered, reliable stream of bytes. TCP in Node, a WebSocket in a browser.
//
// T1. No handler runs inside `connect` or `write`: they are called from the event loop. `connect` throws only where the
//     transport cannot work at all.
// T2. `onClose` is called once for each `connect`, last of all, whether or not `onOpen` was.
// T3. After `destroy` only `onClose` is called.

export interface Address {
  readonly host: string;
  readonly port: number;
  /** To be reached over a WebSocket, with TLS or without. Left out: over what there is. */
  readonly webSocket?: "ws" | "wss";
}

export interface TransportHandlers {
  onOpen(): void;
  /** The bytes are only lent: they may be overwritten as soon as this returns. */
  onData(bytes: Uint8Array): void;
  /** After `write` returned false: there is room again. */
  onDrain(): void;
  /** `error` says why, where it was not our own wish. */
  onClose(error: Error | undefined): void;
}

export interface TransportConnection {
  /**
   * Sends the pieces in order, as one write where the platform can. They stay the caller's: nothing may change them
   * until the other side has answered or the connection is closed. False asks to wait for `onDrain`.
   */
  write(pieces: readonly Uint8Array[]): boolean;
  /** Sends what was written, then closes. */
  close(): void;
  /** Closes at once. */
  destroy(): void;
}

export type Connect = (address: Address, handlers: TransportHandlers) => TransportConnection;
