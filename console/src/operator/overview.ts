import { button, element, setText } from "../dom.js";
import { isAbort, Problem } from "../api.js";
import type { Readiness, Stats } from "./answers.js";
import { Chart, type Line, type Scale } from "../chart.js";
import { Colours } from "../colours.js";
import { bytes, count, plural, rate, seconds, short } from "../format.js";
import { Health } from "./health.js";
import { card, Freshness, lacks, may, pageHead, type Desk, type Page } from "./page.js";
import { Poll } from "./poll.js";
import { calm, Samples, type Total } from "./series.js";
import { followStats, past } from "./stream.js";
import { Table } from "../table.js";

interface Counted {
  name: string;
  total: Total;
}

const counted: readonly Counted[] = [
  { name: "RELIABLE messages in", total: (s) => s.messages.in.reliable },
  { name: "FAST messages in", total: (s) => s.messages.in.fast },
  { name: "RELIABLE handed to sessions", total: (s) => s.messages.delivered.reliable },
  { name: "FAST handed to sessions", total: (s) => s.messages.delivered.fast },
  { name: "Delivery proved", total: (s) => s.messages.proved },
  { name: "Expired unread", total: (s) => s.messages.expired },
  { name: "Dropped (FAST, notices)", total: (s) => s.messages.dropped },
  { name: "HTTP requests", total: (s) => s.http.requests },
  { name: "HTTP requests failed (5xx)", total: (s) => s.http.failed },
  { name: "Webhook events delivered", total: (s) => s.webhooks.delivered },
  { name: "Webhook attempts failed", total: (s) => s.webhooks.failed },
  { name: "Log syncs", total: (s) => s.log.syncs },
];

const messagesIn: Total = (s) => s.messages.in.reliable + s.messages.in.fast;
const refusedSum: Total = (s) => sum(s.refused.socket) + sum(s.refused.http);

/** How the server is doing, live. */
export function overviewPage(desk: Desk): Page {
  const title = "Overview";
  const health = new Health();
  const head = pageHead(title);
  const parts = [head];
  if (may(desk.own, "stats:read")) {
    const live = new Live(desk, health);
    head.append(...live.beside);
    parts.push(...live.elements);
  } else {
    parts.push(card("Live numbers", lacks("stats:read")), health.element);
  }
  new Poll((signal) => askReadiness(health, signal), (problem) => problem && health.showParts(undefined), desk.signal);
  return { title, element: element("div", "page overview", ...parts) };
}

/** /readyz lists its parts also when it answers 503; it needs no key. */
async function askReadiness(health: Health, signal: AbortSignal): Promise<void> {
  let answer: unknown;
  try {
    const response = await fetch("readyz", { signal, cache: "no-store" });
    answer = await response.json();
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new Problem("UNREACHABLE", "the server cannot be reached");
  }
  const isReadiness = typeof answer === "object" && answer !== null && "parts" in answer && Array.isArray(answer.parts);
  health.showParts(isReadiness ? (answer as Readiness) : undefined);
}

/** Everything that is fed by the stream of stats. */
class Live {
  readonly elements: HTMLElement[];
  /** What stands beside the page's heading. */
  readonly beside: HTMLElement[];
  readonly #samples = new Samples(past + 1);
  readonly #health: Health;
  readonly #freshness = new Freshness();
  readonly #tiles: readonly Tile[] = tiles();
  readonly #charts: readonly Chart<Samples>[];
  readonly #totals: Table<Counted>;
  readonly #refused: Table<Refusal>;
  readonly #pause: HTMLButtonElement;
  #windowSeconds = 300;

  constructor(desk: Desk, health: Health) {
    this.#health = health;
    const colours = new Colours(() => {
      for (const chart of this.#charts) chart.redraw();
    }, desk.signal);
    this.#charts = charts(colours, desk.signal);
    this.#totals = this.#totalsTable();
    this.#refused = this.#refusedTable();
    this.#pause = button("Pause", "small", () => this.#togglePause());
    this.#pause.setAttribute("aria-pressed", "false");
    this.beside = [this.#freshness.element, element("div", "tools", this.#windows(), this.#pause)];
    this.elements = [
      element("div", "tiles", ...this.#tiles.map((tile) => tile.element)),
      element("div", "charts", ...this.#charts.map((chart) => chart.element)),
      element(
        "div",
        "columns",
        card("Since the node started", this.#totals.element),
        element("div", "stack", health.element, card("Refused, by code", this.#refused.element)),
      ),
    ];
    document.addEventListener("visibilitychange", () => !this.#paused && this.#show(), { signal: desk.signal });
    void this.#follow(desk);
  }

  async #follow(desk: Desk): Promise<void> {
    try {
      await followStats(
        desk.api,
        {
          samples: (list) => {
            this.#samples.add(list);
            if (!this.#paused && !document.hidden) this.#show();
          },
          trouble: (problem) => this.#freshness.show(problem),
        },
        desk.signal,
      );
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#freshness.show(error);
    }
  }

  get #paused(): boolean {
    return this.#pause.getAttribute("aria-pressed") === "true";
  }

  #togglePause(): void {
    this.#pause.setAttribute("aria-pressed", String(!this.#paused));
    if (!this.#paused) this.#show();
  }

  #show(): void {
    const latest = this.#samples.latest;
    if (latest === undefined) return;
    for (const tile of this.#tiles) tile.show(latest, this.#samples);
    for (const chart of this.#charts) chart.show(this.#samples, this.#windowSeconds);
    this.#totals.show(counted);
    this.#refused.show(refusals(latest));
    this.#health.showFacts(latest);
  }

  #windows(): HTMLElement {
    const group = element("fieldset", "segmented small", element("legend", "visually-hidden", "Time shown"));
    for (const [words, s] of [["1 min", 60], ["5 min", 300]] as const) {
      const input = element("input");
      input.type = "radio";
      input.name = "window";
      input.checked = s === this.#windowSeconds;
      input.addEventListener("change", () => {
        this.#windowSeconds = s;
        this.#show();
      });
      group.append(element("label", "", input, element("span", "", words)));
    }
    return group;
  }

  #totalsTable(): Table<Counted> {
    return new Table<Counted>({
      caption: "Totals since the node started, and how fast they grow",
      narrow: "table",
      keyOf: ({ name }) => name,
      empty: "No numbers yet.",
      columns: [
        { head: "What", className: "first", fill: (cell, { name }) => setText(cell, name) },
        { head: "Per second", className: "number", fill: (cell, { total }) => setText(cell, rateText(this.#samples.rate(total))) },
        { head: "Total", className: "number", fill: (cell, { total }) => setText(cell, count(this.#latest(total))) },
      ],
    });
  }

  #refusedTable(): Table<Refusal> {
    return new Table<Refusal>({
      caption: "What was refused since the node started, by code",
      narrow: "table",
      keyOf: ({ door, code }) => `${door} ${code}`,
      empty: "Nothing was refused since the node started.",
      columns: [
        { head: "Code", className: "first code", fill: (cell, { code }) => setText(cell, code) },
        { head: "At", className: "door-name", fill: (cell, { door }) => setText(cell, door === "http" ? "HTTP" : "socket") },
        { head: "Per second", className: "number", fill: (cell, { door, code }) => setText(cell, rateText(this.#samples.rate((s) => s.refused[door][code] ?? 0))) },
        { head: "Total", className: "number", fill: (cell, { n }) => setText(cell, count(n)) },
      ],
    });
  }

  #latest(total: Total): number {
    const latest = this.#samples.latest;
    return latest === undefined ? 0 : total(latest);
  }
}

interface Refusal {
  door: "socket" | "http";
  code: string;
  n: number;
}

/** The most frequent first; codes come from the server's own table, so there are few. */
function refusals(s: Stats): Refusal[] {
  const doors = ["socket", "http"] as const;
  const list = doors.flatMap((door) => Object.entries(s.refused[door]).map(([code, n]) => ({ door, code, n })));
  return list.sort((a, b) => b.n - a.n || a.code.localeCompare(b.code)).slice(0, 50);
}

/** One number in large type. */
class Tile {
  readonly element: HTMLElement;
  readonly #value = element("p", "tile-value", "–");
  readonly #note = element("p", "tile-note", " ");
  readonly #read: (s: Stats, samples: Samples) => readonly [value: string, note: string];

  constructor(name: string, read: (s: Stats, samples: Samples) => readonly [value: string, note: string]) {
    this.#read = read;
    this.element = element("section", "tile", element("h3", "tile-name", name), this.#value, this.#note);
    this.element.ariaLabel = name;
  }

  show(s: Stats, samples: Samples): void {
    const [value, note] = this.#read(s, samples);
    setText(this.#value, value);
    setText(this.#note, note);
  }
}

function tiles(): Tile[] {
  return [
    new Tile("Sessions", (s) => [short(s.sessions), `of ${plural(s.users, "user")}`]),
    new Tile("Messages in", (_, all) => [rateText(all.rate(messagesIn)), `per second, over ${calm} s`]),
    new Tile("Delivery proved", (_, all) => [rateText(all.rate((one) => one.messages.proved)), `per second, over ${calm} s`]),
    new Tile("Waiting in mailboxes", (s) => [short(s.mailboxes.messages), bytes(s.mailboxes.bytes)]),
    new Tile("Log sync, p99", (s) => [seconds(s.log.sync.p99Seconds), "over the last minute"]),
    new Tile("Refused", (s, all) => [rateText(all.rate(refusedSum)), `per second; ${short(refusedSum(s))} in all`]),
  ];
}

function charts(colours: Colours, signal: AbortSignal): Chart<Samples>[] {
  const growth = (name: string, colour: string, total: Total, dash?: number[]): Line<Samples> => ({
    name,
    colour,
    ...(dash === undefined ? {} : { dash }),
    values: (samples) => samples.rates(total),
  });
  const level = (name: string, colour: string, read: Total, dash?: number[]): Line<Samples> => ({
    name,
    colour,
    ...(dash === undefined ? {} : { dash }),
    values: (samples) => samples.values(read),
  });
  const dashed = [6, 4];
  const make = (title: string, scale: Scale, ...lines: Line<Samples>[]): Chart<Samples> => new Chart<Samples>(title, lines, scale, colours, signal);
  const whole: Scale = { format: short, least: 1 };
  const perSecond: Scale = { format: rate, least: 0.1 };
  const time: Scale = { format: seconds, least: 1e-6 };
  return [
    make(
      "Messages per second",
      perSecond,
      growth("in, RELIABLE", "--line-1", (s) => s.messages.in.reliable),
      growth("in, FAST", "--line-2", (s) => s.messages.in.fast),
      growth("proved", "--line-3", (s) => s.messages.proved, dashed),
    ),
    make("Connected", whole, level("sessions", "--line-1", (s) => s.sessions), level("users", "--line-2", (s) => s.users, dashed)),
    make(
      "Messages waiting in mailboxes",
      whole,
      level("all", "--line-1", (s) => s.mailboxes.messages),
      level("of them for webhooks", "--line-2", (s) => s.webhooks.waiting, dashed),
    ),
    make(
      "Time to sync the log, over the last minute",
      time,
      level("p50", "--line-1", (s) => s.log.sync.p50Seconds),
      level("p99", "--line-2", (s) => s.log.sync.p99Seconds, dashed),
    ),
    make(
      "HTTP requests per second",
      perSecond,
      growth("requests", "--line-1", (s) => s.http.requests),
      growth("failed", "--line-2", (s) => s.http.failed, dashed),
    ),
    make(
      "Webhook attempts per second",
      perSecond,
      growth("delivered", "--line-1", (s) => s.webhooks.delivered),
      growth("failed", "--line-2", (s) => s.webhooks.failed, dashed),
    ),
  ];
}

function rateText(perSecond: number | undefined): string {
  return perSecond === undefined ? "–" : rate(perSecond);
}

function sum(counts: Record<string, number>): number {
  return Object.values(counts).reduce((all, n) => all + n, 0);
}
