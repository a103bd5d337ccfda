import type { Stats } from "./answers.js";

/** Over how many seconds the rates that are shown as numbers are. */
export const calm = 5;

/** Reads one total of a sample. */
export type Total = (s: Stats) => number;

/**
 * The last samples, and the rates between them. Counts are totals, so samples
 * that were missed do no harm; where the node began anew, its totals did too,
 * and there is no rate across that.
 */
export class Samples {
  readonly #most: number;
  #list: Stats[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  /** Adds samples, in order; what is known already is passed over. */
  add(more: readonly Stats[]): void {
    for (const one of more) {
      const last = this.#list.at(-1);
      if (last !== undefined && timeOf(one) <= timeOf(last)) continue;
      this.#list.push(one);
    }
    if (this.#list.length > this.#most) this.#list.splice(0, this.#list.length - this.#most);
  }

  get list(): readonly Stats[] {
    return this.#list;
  }

  get latest(): Stats | undefined {
    return this.#list.at(-1);
  }

  /** The times of all samples, in seconds. Where some are missing, one more stands in the gap. */
  times(): number[] {
    return this.#withGaps(() => 0).times;
  }

  /** A value of each sample; null in a gap. */
  values(read: Total): (number | null)[] {
    return this.#withGaps((at) => read(at)).values;
  }

  /** How much a total grew per second up to each sample; null at the first, in a gap, and where the node began anew. */
  rates(total: Total): (number | null)[] {
    return this.#withGaps((at, before) => (before === undefined ? null : rateBetween(before, at, total))).values;
  }

  /** How much a total grew per second over the last seconds; undefined when that cannot be said yet. */
  rate(total: Total): number | undefined {
    const latest = this.latest;
    if (latest === undefined) return undefined;
    const from = this.#list.find((one) => timeOf(one) >= timeOf(latest) - calm * 1000 - 500 && one.startedAt === latest.startedAt);
    return from === undefined || from === latest ? undefined : (rateBetween(from, latest, total) ?? undefined);
  }

  #withGaps(read: (at: Stats, before: Stats | undefined) => number | null): { times: number[]; values: (number | null)[] } {
    const times: number[] = [];
    const values: (number | null)[] = [];
    let before: Stats | undefined;
    for (const one of this.#list) {
      const at = timeOf(one) / 1000;
      const last = times.at(-1);
      const gap = last !== undefined && at - last > 3;
      if (gap) {
        times.push(last + 1);
        values.push(null);
      }
      times.push(at);
      values.push(read(one, gap || before?.startedAt !== one.startedAt ? undefined : before));
      before = one;
    }
    return { times, values };
  }
}

function rateBetween(from: Stats, to: Stats, total: Total): number | null {
  const span = (timeOf(to) - timeOf(from)) / 1000;
  return span <= 0 ? null : Math.max(total(to) - total(from), 0) / span;
}

function timeOf(s: Stats): number {
  return Date.parse(s.at);
}
