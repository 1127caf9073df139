// For sibling packages and tests.
export * from "./index.ts";
