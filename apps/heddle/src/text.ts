// Numbers, times and tables as a person reads them. The same everywhere, whatever the machine's language is.

const grouped = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });

/** `1,234,567` */
export function count(value: number): string {
  return grouped.format(value);
}

/** `1 event`, `2 events`, `1 entity`, `2 entities`. */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** `512 B`, `1.4 KiB`, `64.0 MiB` */
export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${unit === 0 ? size : size.toFixed(1)} ${units[unit]}`;
}

/** `740 ms`, `1.2 s`, `2 min 5 s` */
export function duration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** `36,200/s`; for no time at all, the amount itself. */
export function rate(amount: number, ms: number): string {
  return `${count(ms <= 0 ? amount : (amount / ms) * 1000)}/s`;
}

/** `2001-03-31 22:27:00.123`, in UTC. */
export function time(ms: number): string {
  return new Date(ms).toISOString().replace("T", " ").replace("Z", "");
}

export interface Column {
  readonly title: string;
  /** Numbers stand to the right. Default left. */
  readonly align?: "left" | "right";
}

/** Aligned columns, two spaces apart, the title above; no line ends with spaces. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const widths = columns.map(({ title }, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (columns[i]!.align === "right" ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join("  ")
      .trimEnd();
  return [line(columns.map(({ title }) => title)), ...rows.map(line)];
}

/** Cuts a text to so many characters, and shows that it did. */
export function shortened(text: string, lengthMax: number): string {
  return text.length <= lengthMax ? text : `${text.slice(0, Math.max(0, lengthMax - 1))}…`;
}
