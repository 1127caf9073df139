// ReadSql: looks at a query's text before it goes to a database: that it is one statement that reads, which parameters it
// wants, and which names stand in it.
//
// Q1. What comes after the first statement, but for comments, is refused: nobody runs half of what was sent.
// Q2. Names that begin with heddle_ are Heddle's own, and refused.
// Not promised: that the text is SQL. The database says so; and it is the database's handle that keeps writes out, not this.
import { HeddleError } from "@heddle/kernel";

export interface SqlText {
  /** Names that stand in it, quoted or not, in small letters. Keywords are among them. */
  readonly names: ReadonlySet<string>;
  /** How many positional parameters (`?`, `?3`) it wants. */
  readonly positional: number;
  /** Named parameters with their signs: `:limit`, `@limit`, `$limit`. */
  readonly named: ReadonlySet<string>;
}

/** UTF-16 units of a query's text. */
export const sqlLengthMax = 100_000;

const firstWords: ReadonlySet<string> = new Set(["select", "with", "values", "explain"]);
const ownPrefix = "heddle_";

/** Errors: `QUERY_REFUSED`. */
export function readSql(sql: unknown): SqlText {
  if (typeof sql !== "string") throw queryRefused(`wanted SQL as text, found ${sql === null ? "null" : typeof sql}`);
  if (sql.length > sqlLengthMax) throw queryRefused(`it has ${sql.length} characters, at most ${sqlLengthMax}`);
  if (!sql.isWellFormed()) throw queryRefused("it holds half of a surrogate pair");
  const nul = sql.indexOf("\0");
  if (nul >= 0) throw queryRefused(`it holds a NUL character, at ${nul}`);
  return new Scan(sql).run();
}

export function queryRefused(problem: string, cause?: unknown): HeddleError<"QUERY_REFUSED"> {
  return new HeddleError("QUERY_REFUSED", { problem }, { cause });
}

class Scan {
  readonly #sql: string;
  readonly #names = new Set<string>();
  readonly #named = new Set<string>();
  #positional = 0;
  #first = "";
  /** The first statement's semicolon was seen. */
  #ended = false;
  #at = 0;

  constructor(sql: string) {
    this.#sql = sql;
  }

  run(): SqlText {
    while (this.#at < this.#sql.length) this.#token();
    if (this.#first === "") throw queryRefused("it holds no statement");
    if (this.#positional > 0 && this.#named.size > 0) throw queryRefused("it has positional and named parameters");
    return { names: this.#names, positional: this.#positional, named: this.#named };
  }

  #token(): void {
    const sql = this.#sql;
    const char = sql[this.#at]!;
    if (/\s/.test(char)) this.#at++;
    else if (sql.startsWith("--", this.#at)) this.#at = endOr(sql.indexOf("\n", this.#at), sql.length);
    else if (sql.startsWith("/*", this.#at)) this.#at = endOr(sql.indexOf("*/", this.#at + 2) + 2, sql.length, 1);
    else if (char === ";") {
      this.#ended = this.#first !== "";
      this.#at++;
    } else this.#part(char);
  }

  // A part of the statement: white space, comments and its end are left behind.
  #part(char: string): void {
    if (this.#ended) throw queryRefused("it holds several statements; send one");
    if (this.#first === "") this.#begin();
    if (char === "'") this.#quoted("'", "a text");
    else if (char === '"' || char === "`") this.#name(this.#quoted(char, "a name"));
    else if (char === "[") this.#name(this.#bracketed());
    else if (char === "?") this.#positionalParameter();
    else if (char === ":" || char === "@" || char === "$") this.#namedParameter();
    else if (isNameChar(char)) this.#word();
    else this.#at++;
  }

  #begin(): void {
    const [word = ""] = /^[a-z]*/i.exec(this.#sql.slice(this.#at, this.#at + 20)) ?? [];
    this.#first = word.toLowerCase();
    if (firstWords.has(this.#first)) return;
    const found = word === "" ? JSON.stringify(this.#sql.slice(this.#at, this.#at + 20)) : word.toUpperCase();
    throw queryRefused(`wanted SELECT, WITH, VALUES or EXPLAIN, found ${found}`);
  }

  // The content; two of the quotes stand for one.
  #quoted(quote: string, what: string): string {
    const from = this.#at;
    for (let to = from + 1; ; to += 2) {
      to = this.#sql.indexOf(quote, to);
      if (to < 0) throw queryRefused(`${what} that begins at ${from} has no end`);
      if (this.#sql[to + 1] === quote) continue;
      this.#at = to + 1;
      return this.#sql.slice(from + 1, to).replaceAll(quote + quote, quote);
    }
  }

  #bracketed(): string {
    const from = this.#at;
    const to = this.#sql.indexOf("]", from);
    if (to < 0) throw queryRefused(`a name that begins at ${from} has no end`);
    this.#at = to + 1;
    return this.#sql.slice(from + 1, to);
  }

  #word(): void {
    const from = this.#at;
    while (this.#at < this.#sql.length && isNameChar(this.#sql[this.#at]!)) this.#at++;
    this.#name(this.#sql.slice(from, this.#at));
  }

  #name(name: string): void {
    const small = name.toLowerCase();
    if (small.startsWith(ownPrefix)) throw queryRefused(`${name} is Heddle's own`);
    this.#names.add(small);
  }

  #positionalParameter(): void {
    const [digits = ""] = /^\d{0,9}/.exec(this.#sql.slice(this.#at + 1, this.#at + 10)) ?? [];
    this.#at += 1 + digits.length;
    const number = digits === "" ? this.#positional + 1 : Number(digits);
    if (number < 1 || number > parametersMax)
      throw queryRefused(`?${digits} is no parameter from 1 to ${parametersMax}`);
    this.#positional = Math.max(this.#positional, number);
  }

  #namedParameter(): void {
    const from = this.#at++;
    while (this.#at < this.#sql.length && isNameChar(this.#sql[this.#at]!)) this.#at++;
    const name = this.#sql.slice(from, this.#at);
    if (name.length > 1) this.#named.add(name);
    if (this.#named.size > parametersMax) throw queryRefused(`it has more than ${parametersMax} parameters`);
  }
}

/** SQLite takes 32,766; nobody who reads a query wants to see that. */
const parametersMax = 1_000;

function isNameChar(char: string): boolean {
  return /[\w$]/.test(char) || char >= "\u0080";
}

// Where something ends, or the end of the text when it does not; `least` is what a found end is at least.
function endOr(found: number, length: number, least = 0): number {
  return found <= least ? length : found;
}
