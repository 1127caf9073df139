// Origins of web pages, as an operator writes them and as a browser does.
import { refusal } from "./check-values.ts";

/** In the form in which browsers say them. Errors: `INVALID_REQUEST` for what is no origin. */
export function readOrigins(given: readonly string[]): string[] {
  return given.map((text) => {
    const origin = URL.canParse(text) ? new URL(text).origin : "null";
    if (origin !== "null" && text.toLowerCase().replace(/\/$/, "") === origin) return origin;
    throw refusal("origins", `wanted an origin such as https://app.example.com, found ${JSON.stringify(text)}`);
  });
}
