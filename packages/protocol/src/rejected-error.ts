// A rejection as an error, where a caller expects nothing but success.
import type { Rejection } from "./replies.ts";

/** `rejection` is the value that the call gave. */
export class RejectedError extends Error {
  override readonly name = "RejectedError";
  readonly code: Rejection["code"];
  readonly rejection: Rejection;

  constructor(rejection: Rejection) {
    super(rejection.message);
    this.code = rejection.code;
    this.rejection = rejection;
  }
}
