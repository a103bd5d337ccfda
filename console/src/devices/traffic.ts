import { Problem } from "../api.js";
import { Chart, type Line, type Scale } from "../chart.js";
import { Colours } from "../colours.js";
import { element, setText } from "../dom.js";
import { follow } from "../eventstream.js";
import { bytes, count, plural, short, timeOfDay } from "../format.js";
import { card, Freshness, lacks, may } from "../operator/page.js";
import { Table } from "../table.js";
import { rowsNote, scrolls } from "./scrolls.js";
import type { Signed } from "./numbers.js";
import { Looks, shown, Windows, type By, type Row, type Told, type ToldGroup } from "./windows.js";

/** The server says at least every 15 s that it is there. */
const silenceMs = 40_000;

/** How many rows the table has at most. */
const mostRows = 120;

const widths: Readonly<Record<string, number>> = { "10s": 10_000, "1m": 60_000 };
const colours = ["--line-1", "--line-2", "--line-3"] as const;
const bys: readonly (readonly [By, string])[] = [["total", "all together"], ["app", "app"], ["capability", "capability"], ["domain", "domain"], ["device", "device"]];

/** Messages and bytes in windows of time, live. */
export class Traffic {
  readonly element: HTMLElement;
  readonly #signed: Signed;
  readonly #freshness = new Freshness();
  readonly #charts = element("div", "charts");
  readonly #empty = element("p", "empty-list");
  readonly #table: Table<Row>;
  readonly #colours: Colours;
  #width = "10s";
  #by: By = "app";
  #windows: Windows;
  #drawn: Chart<Windows>[] = [];
  #names: string[] = [];
  #looks = new Looks();
  readonly #note = element("p", "hint rows-note");
  #opened = false;
  #asked = new AbortController();
  #drawing = new AbortController();

  constructor(signed: Signed) {
    this.#signed = signed;
    this.#windows = this.#fresh();
    this.#colours = new Colours(() => this.#drawn.forEach((chart) => chart.redraw()), signed.signal);
    this.#table = trafficTable();
    scrolls(this.#table.element, "Numbers");
    const details = element("details", "numbers-table", element("summary", "", "The numbers as a table"), this.#table.element, this.#note);
    details.addEventListener("toggle", () => this.#show());
    this.element = card("Traffic", element("div", "filters", this.#widthChoice(), this.#byChoice()), this.#freshness.element);
    if (!may(signed.own, "stats:read")) {
      this.element.replaceChildren(element("h3", "card-title", "Traffic"), lacks("stats:read"));
      return;
    }
    this.element.append(this.#empty, this.#charts, details);
    const ticking = setInterval(() => document.hidden || this.#show(), 1_000);
    signed.signal.addEventListener("abort", () => {
      clearInterval(ticking);
      this.#asked.abort();
      this.#drawing.abort();
    });
    this.#ask();
  }

  #fresh(): Windows {
    return new Windows(this.#by, widths[this.#width] ?? 10_000, Date.now());
  }

  /** Begins anew, with what is chosen. */
  #ask(): void {
    this.#asked.abort();
    this.#asked = new AbortController();
    this.#windows = this.#fresh();
    this.#opened = false;
    this.#show();
    void this.#follow(this.#windows, this.#asked.signal);
  }

  async #follow(windows: Windows, signal: AbortSignal): Promise<void> {
    const query = { window: this.#width, by: this.#by, past: shown };
    try {
      await follow(
        this.#signed.api,
        {
          path: "/traffic/stream",
          query: () => query,
          silenceMs,
          what: "the stream of traffic",
          take: (events) => {
            for (const { type, data } of events) if (type === "window") windows.take(JSON.parse(data) as Told);
            if (!document.hidden && !signal.aborted) this.#show();
          },
          trouble: (problem) => {
            this.#opened ||= problem === undefined;
            this.#freshness.show(problem);
          },
        },
        signal,
      );
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#freshness.show(error);
    }
  }

  #show(): void {
    this.#windows.moveTo(Date.now());
    const empty = this.#windows.isEmpty;
    setText(this.#empty, this.#opened ? `Nothing was exchanged in the last ${this.#width === "10s" ? "10 minutes" : "hour"}.` : "Asking the server …");
    this.#empty.hidden = !empty;
    this.#charts.hidden = empty;
    const looks = this.#looks.of(this.#windows.names());
    const names = looks.map(({ name }) => name);
    if (names.join("\n") !== this.#names.join("\n")) this.#draw(looks);
    const seconds = ((shown - 1) * this.#windows.widthMs) / 1000;
    for (const chart of this.#drawn) chart.show(this.#windows, seconds);
    const rows = this.#windows.rows(mostRows);
    this.#table.show(rows);
    setText(this.#note, rowsNote(this.#table.element, plural(rows.length, "row")));
  }

  /** Makes the charts, whose lines are those of the groups that there are. */
  #draw(looks: readonly { name: string; look: number }[]): void {
    const names = looks.map(({ name }) => name);
    this.#drawing.abort();
    this.#drawing = new AbortController();
    this.#names = names;
    const make = (title: string, scale: Scale, read: (group: ToldGroup) => number): Chart<Windows> => {
      const lines = looks.map(({ name, look }): Line<Windows> => ({
        name,
        colour: colours[look % colours.length] ?? colours[0],
        ...(look < colours.length ? {} : { dash: [6, 4] }),
        values: (windows) => windows.values(name, names, read),
      }));
      return new Chart(title, lines, scale, this.#colours, this.#drawing.signal);
    };
    this.#drawn = [
      make(`Messages in ${this.#width === "10s" ? "10 s" : "1 min"}`, { format: short, least: 1 }, ({ count: n }) => n),
      make(`Bytes in ${this.#width === "10s" ? "10 s" : "1 min"}`, { format: bytes, least: 1 }, ({ sum }) => sum),
    ];
    this.#charts.replaceChildren(...this.#drawn.map((chart) => chart.element));
  }

  #widthChoice(): HTMLElement {
    const group = element("fieldset", "segmented small", element("legend", "visually-hidden", "Length of a window"));
    for (const [value, words] of [["10s", "10 s"], ["1m", "1 min"]] as const) {
      const input = element("input");
      input.type = "radio";
      input.name = "window";
      input.checked = value === this.#width;
      input.addEventListener("change", () => {
        this.#width = value;
        this.#names = [];
        this.#ask();
      });
      group.append(element("label", "", input, element("span", "", words)));
    }
    return group;
  }

  #byChoice(): HTMLElement {
    const select = element("select");
    select.append(...bys.map(([by, words]) => new Option(words, by, by === this.#by, by === this.#by)));
    select.addEventListener("change", () => {
      this.#by = bys.find(([by]) => by === select.value)?.[0] ?? "total";
      this.#looks = new Looks();
      this.#ask();
    });
    return element("label", "inline small", "Grouped by", select);
  }
}

function trafficTable(): Table<Row> {
  const number = (head: string, read: (row: Row) => string): { head: string; className: string; fill: (cell: HTMLElement, row: Row) => void } => ({
    head,
    className: "number",
    fill: (cell, row) => setText(cell, read(row)),
  });
  return new Table<Row>({
    caption: "Messages and bytes in each window, the newest first",
    keyOf: ({ start, name }) => `${start} ${name}`,
    empty: "No numbers yet.",
    columns: [
      { head: "From", className: "time first", fill: (cell, { start }) => setText(cell, timeOfDay(start)) },
      { head: "Group", fill: (cell, { name }) => setText(cell, name) },
      number("Messages", ({ group }) => count(group.count)),
      number("Bytes", ({ group }) => count(group.sum)),
      number("Smallest", ({ group }) => count(group.min)),
      number("Mean", ({ group }) => count(group.mean)),
      number("Largest", ({ group }) => count(group.max)),
      { head: "State", fill: (cell, { final }) => setText(cell, final ? "final" : "counting") },
    ],
  });
}

