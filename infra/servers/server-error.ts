// ServerError: why a server could not be obtained or started. Its message says what is missing and what mends it.

export type ServerErrorCode =
  | "NO_GO"
  | "GO_TOO_OLD"
  | "NO_C_COMPILER"
  | "NO_NETWORK"
  | "BUILD_FAILED"
  | "NO_SUCH_BINARY"
  | "PORT_IN_USE"
  | "DID_NOT_START"
  | "NOT_RUNNING";

export class ServerError extends Error {
  override readonly name = "ServerError";
  readonly code: ServerErrorCode;

  constructor(code: ServerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
