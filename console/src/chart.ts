import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { element, setText } from "./dom.js";
import type { Colours } from "./colours.js";
import { timeOfDay } from "./format.js";

const height = 190;
const font = "12px system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";

/** What is drawn: values at times. */
export interface Timed {
  /** In seconds, ascending. */
  times(): number[];
}

export interface Line<S extends Timed> {
  name: string;
  /** Custom property with its colour. */
  colour: string;
  dash?: number[];
  values(samples: S): (number | null)[];
}

/** How values are written, and the least step of their scale. */
export interface Scale {
  format: (value: number) => string;
  least: number;
}

/** A chart over the last minutes, with its newest values, or those at the pointer, in words below. */
export class Chart<S extends Timed> {
  readonly element: HTMLElement;
  readonly #lines: readonly Line<S>[];
  readonly #scale: Scale;
  readonly #title: string;
  readonly #plot: uPlot;
  readonly #canvas: HTMLElement;
  readonly #values: HTMLElement[];
  readonly #when = element("span", "legend-when");
  #described = 0;
  #windowSeconds = 300;

  constructor(title: string, lines: readonly Line<S>[], scale: Scale, colours: Colours, signal: AbortSignal) {
    this.#title = title;
    this.#lines = lines;
    this.#scale = scale;
    this.#canvas = element("div", "chart");
    this.#canvas.role = "img";
    this.#canvas.ariaLabel = title;
    this.#values = lines.map(() => element("b", "", "–"));
    const legend = element("p", "legend", this.#when);
    for (const [i, { name, colour, dash }] of lines.entries()) {
      const swatch = element("span", dash === undefined ? "swatch" : "swatch dashed");
      swatch.style.color = `var(${colour})`;
      legend.append(element("span", "legend-item", swatch, `${name} `, this.#values[i] ?? ""));
    }
    this.element = element("figure", "card chart-card", element("figcaption", "card-title", title), this.#canvas, legend);
    this.#plot = new uPlot(this.#options(colours), [[], ...lines.map(() => [])], this.#canvas);
    const resized = new ResizeObserver(() => this.#resize());
    resized.observe(this.#canvas);
    signal.addEventListener("abort", () => {
      resized.disconnect();
      this.#plot.destroy();
    });
  }

  /** Draws anew, as after a change of colours. */
  redraw(): void {
    this.#plot.redraw(false);
  }

  show(samples: S, windowSeconds: number): void {
    this.#windowSeconds = windowSeconds;
    this.#plot.setData([samples.times(), ...this.#lines.map((line) => line.values(samples))]);
    this.#write(this.#plot.cursor.idx ?? undefined);
    this.#describe();
  }

  #resize(): void {
    const width = Math.floor(this.#canvas.clientWidth);
    if (width > 0 && width !== this.#plot.width) this.#plot.setSize({ width, height });
  }

  /** The words below: at a place of the data, or the newest. */
  #write(at: number | undefined): void {
    const [times = [], ...values] = this.#plot.data;
    const place = at ?? times.length - 1;
    for (const [i, where] of this.#values.entries()) {
      const value = values[i]?.[place];
      setText(where, value === null || value === undefined ? "–" : this.#scale.format(value));
    }
    const time = at === undefined ? undefined : times[at];
    setText(this.#when, time === undefined ? "now" : timeOfDay(time * 1000));
  }

  /** What a screen reader is told when it comes here; not changed more often than it could be read. */
  #describe(): void {
    const now = Date.now();
    if (now - this.#described < 10_000) return;
    this.#described = now;
    const parts = this.#lines.map(({ name }, i) => `${name} ${this.#values[i]?.textContent ?? "–"}`);
    this.#canvas.ariaLabel = `${this.#title}, now: ${parts.join(", ")}`;
  }

  #options(colours: Colours): uPlot.Options {
    const axis: uPlot.Axis = {
      stroke: () => colours.of("--muted"),
      grid: { stroke: () => colours.of("--line"), width: 1 },
      ticks: { show: false },
      font,
    };
    return {
      width: 300,
      height,
      padding: [8, 10, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: "overview" }, drag: { x: false, y: false }, points: { size: 6 } },
      scales: {
        x: { time: true, range: (u): [number, number] => this.#span(u) },
        y: { range: (_, __, most): [number, number] => [0, niceTop(most, this.#scale.least)] },
      },
      axes: [
        { ...axis, space: 90, size: 28, values: (_, at) => at.map((s) => timeOfDay(s * 1000)) },
        { ...axis, space: 36, size: 62, incrs: steps(this.#scale.least), values: (_, at) => at.map((value) => this.#scale.format(value)) },
      ],
      series: [
        {},
        ...this.#lines.map(
          ({ colour, dash }): uPlot.Series => ({
            stroke: () => colours.of(colour),
            width: 1.75,
            points: { show: false },
            ...(dash === undefined ? {} : { dash }),
          }),
        ),
      ],
      hooks: { setCursor: [(u) => this.#write(u.cursor.left === undefined || u.cursor.left < 0 ? undefined : (u.cursor.idx ?? undefined))] },
    };
  }

  /** The time shown: as much as was asked for, or as there is, but a minute at least. */
  #span(u: uPlot): [number, number] {
    const last = u.data[0].at(-1) ?? Date.now() / 1000;
    const there = last - (u.data[0][0] ?? last);
    return [last - Math.min(Math.max(there, 60), this.#windowSeconds), last];
  }
}

/** The top of a scale that begins at 0: 1, 2 or 5 with zeros, and room above the line. */
export function niceTop(most: number | null | undefined, least: number): number {
  const wanted = (most ?? 0) * 1.1;
  return steps(least).find((step) => step >= wanted && step >= 5 * least) ?? wanted;
}

/** 1, 2 and 5 with zeros, from the least on. */
function steps(least: number): number[] {
  const first = Math.round(Math.log10(least));
  return Array.from({ length: 45 }, (_, i) => [1, 2, 5][i % 3] ?? 1).map((digit, i) => Number(`${digit}e${first + Math.floor(i / 3)}`));
}
