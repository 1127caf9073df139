// The one answer to bytes that are not what they should be (P7).
import { HeddleError } from "@heddle/kernel";

export function badFrame(problem: string, cause?: unknown): HeddleError<"BAD_FRAME"> {
  return new HeddleError("BAD_FRAME", { problem }, { cause });
}
