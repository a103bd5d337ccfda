// Windows of traffic as they come over the stream. Nothing here touches the page.

/** What is told apart. */
export type By = "total" | "app" | "capability" | "domain" | "device";

/** One window, or the groups of one that have changed. */
export interface Told {
  start: string;
  end: string;
  final: boolean;
  groups: ToldGroup[];
}

export interface ToldGroup {
  app?: string;
  capability?: string;
  domain?: string;
  device?: string;
  count: number;
  sum: number;
  min: number;
  max: number;
  mean: number;
}

/** A group in a window, as a row of the table. */
export interface Row {
  /** Milliseconds. */
  start: number;
  end: number;
  final: boolean;
  name: string;
  group: ToldGroup;
}

/** How many groups have a line of their own. */
const lines = 5;

/** How many lines there are at most: those of groups, and that of the others. */
export const mostLines = lines + 1;

/** Which look each line has: its own for as long as it is shown, and again when it comes back unless another one needed it. */
export class Looks {
  readonly #holders: (string | undefined)[] = new Array<undefined>(mostLines).fill(undefined);

  /** The names, at most `mostLines`, with the number of their look, in the order of that. */
  of(names: readonly string[]): { name: string; look: number }[] {
    for (const name of names) {
      if (this.#holders.includes(name)) continue;
      const never = name === others ? this.#holders.lastIndexOf(undefined) : this.#holders.indexOf(undefined);
      const free = never >= 0 ? never : this.#holders.findIndex((holder) => holder === undefined || !names.includes(holder));
      this.#holders[free] = name;
    }
    return this.#holders.flatMap((name, look) => (name !== undefined && names.includes(name) ? [{ name, look }] : []));
  }
}

interface Kept {
  end: number;
  final: boolean;
  groups: Map<string, ToldGroup>;
}

/** How many windows are looked at. */
export const shown = 60;

/** What the rest is called. */
export const others = "others";

/** What a group is called that has no name. */
const nameless: Readonly<Record<By, string>> = { total: "all", app: "no app", capability: "unknown", domain: "no domain", device: "no device" };

/** The last windows. What is told later takes the place of what was told before. */
export class Windows {
  readonly by: By;
  readonly widthMs: number;
  readonly #kept = new Map<number, Kept>();
  #now: number;

  constructor(by: By, widthMs: number, now: number) {
    this.by = by;
    this.widthMs = widthMs;
    this.#now = now;
  }

  take(told: Told): void {
    const start = Date.parse(told.start);
    const kept = this.#kept.get(start) ?? { end: Date.parse(told.end), final: false, groups: new Map<string, ToldGroup>() };
    kept.final = told.final;
    for (const group of told.groups) kept.groups.set(this.#nameOf(group), group);
    this.#kept.set(start, kept);
  }

  /** Moves on to a time: what is too old is forgotten. */
  moveTo(now: number): void {
    this.#now = now;
    const first = this.#starts()[0] ?? 0;
    for (const start of this.#kept.keys()) if (start < first) this.#kept.delete(start);
  }

  get isEmpty(): boolean {
    return this.#kept.size === 0;
  }

  /** When the windows begin, in seconds. */
  times(): number[] {
    return this.#starts().map((start) => start / 1000);
  }

  /** The groups that have lines, those with the most messages first, and the rest as one. */
  names(): string[] {
    const sums = new Map<string, number>();
    for (const { groups } of this.#kept.values()) {
      for (const [name, { count }] of groups) sums.set(name, (sums.get(name) ?? 0) + count);
    }
    const ranked = [...sums].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)).map(([name]) => name);
    return ranked.length <= lines + 1 ? ranked : [...ranked.slice(0, lines), others];
  }

  /** What a line has in each window: 0 where nothing happened. */
  values(name: string, names: readonly string[], read: (group: ToldGroup) => number): number[] {
    return this.#starts().map((start) => {
      const groups = this.#kept.get(start)?.groups;
      if (groups === undefined) return 0;
      const group = groups.get(name);
      if (name !== others || group !== undefined) return group === undefined ? 0 : read(group);
      return [...groups].reduce((sum, [one, rest]) => (names.includes(one) ? sum : sum + read(rest)), 0);
    });
  }

  /** The newest first, within a window by name. */
  rows(most: number): Row[] {
    const rows: Row[] = [];
    for (const [start, { end, final, groups }] of [...this.#kept].sort(([a], [b]) => b - a)) {
      for (const [name, group] of [...groups].sort(([a], [b]) => (a < b ? -1 : 1))) {
        if (rows.length === most) return rows;
        rows.push({ start, end, final, name, group });
      }
    }
    return rows;
  }

  /** The windows that are looked at; the last one is still open. */
  #starts(): number[] {
    // Clocks differ: a window that was told is shown, also if it begins a moment later here.
    const newest = Math.max(this.#now, ...this.#kept.keys());
    const last = newest - (newest % this.widthMs);
    return Array.from({ length: shown }, (_, i) => last - (shown - 1 - i) * this.widthMs);
  }

  #nameOf(group: ToldGroup): string {
    const name = this.by === "total" ? "" : (group[this.by] ?? "");
    return name === "" ? nameless[this.by] : name;
  }
}
