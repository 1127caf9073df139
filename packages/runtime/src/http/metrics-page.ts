// MetricsPage: one page in Prometheus' text format, metric by metric. Knows the format, and none of the figures.

export type Labels = Readonly<Record<string, string | number>>;
export type Sample = readonly [labels: Labels, value: number];

/** `counts[i]` syncs took at most `boundsUs[i]` and more than the bound before; the last count is of all beyond. */
export interface SyncHistogram {
  readonly boundsUs: readonly number[];
  readonly counts: readonly number[];
  readonly sumUs: number;
}

export class MetricsPage {
  text = "";

  add(name: string, type: "counter" | "gauge" | "histogram", help: string, samples: readonly Sample[]): void {
    this.#head(name, type, help);
    for (const [labels, value] of samples) this.#sample(name, labels, value);
  }

  addHistogram(name: string, help: string, series: readonly (readonly [Labels, SyncHistogram])[]): void {
    this.#head(name, "histogram", help);
    for (const [labels, histogram] of series) {
      let count = 0;
      histogram.boundsUs.forEach((boundUs, i) => {
        count += histogram.counts[i] ?? 0;
        this.#sample(`${name}_bucket`, { ...labels, le: boundUs / 1e6 }, count);
      });
      count += histogram.counts[histogram.boundsUs.length] ?? 0;
      this.#sample(`${name}_bucket`, { ...labels, le: "+Inf" }, count);
      this.#sample(`${name}_sum`, labels, histogram.sumUs / 1e6);
      this.#sample(`${name}_count`, labels, count);
    }
  }

  #head(name: string, type: string, help: string): void {
    this.text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
  }

  #sample(name: string, labels: Labels, value: number): void {
    const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escapeLabel(String(text))}"`);
    this.text += `${name}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${value}\n`;
  }
}

function escapeLabel(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
