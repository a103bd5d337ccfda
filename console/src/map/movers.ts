import type { XY } from "./faces.js";

interface Mover {
  from: XY;
  to: XY;
  began: number;
}

/**
 * Where those are who move: each goes to where it was told to be in a moment, so
 * that an eye can follow. Nothing here touches the page.
 */
export class Movers {
  readonly #movers = new Map<string, Mover>();
  readonly #ms: number;
  #until = 0;

  /** `ms` is how long each takes; 0: no time. */
  constructor(ms: number) {
    this.#ms = ms;
  }

  /** Tells one where to go, by the shorter way where the world comes again after `width`. One that is new is there at once. */
  send(id: string, to: XY, now: number, width: number): void {
    const known = this.#movers.get(id);
    if (known === undefined) {
      this.#movers.set(id, { from: to, to, began: now - this.#ms });
      return;
    }
    if (known.to[0] === to[0] && known.to[1] === to[1]) return;
    const [x, y] = this.#at(known, now);
    const turns = width === 0 ? 0 : Math.round((to[0] - x) / width);
    this.#movers.set(id, { from: [x + turns * width, y], to, began: now });
    this.#until = Math.max(this.#until, now + this.#ms);
  }

  /** Forgets all but these. */
  keep(ids: ReadonlyMap<string, unknown>): void {
    for (const id of this.#movers.keys()) if (!ids.has(id)) this.#movers.delete(id);
  }

  clear(): void {
    this.#movers.clear();
  }

  /** Where one is now; undefined when it is not there. */
  at(id: string, now: number): XY | undefined {
    const known = this.#movers.get(id);
    return known === undefined ? undefined : this.#at(known, now);
  }

  /** Whether somebody is still on the way. */
  moving(now: number): boolean {
    return now < this.#until;
  }

  #at({ from, to, began }: Mover, now: number): XY {
    const part = this.#ms === 0 ? 1 : Math.min((now - began) / this.#ms, 1);
    if (part >= 1) return to;
    return [from[0] + (to[0] - from[0]) * part, from[1] + (to[1] - from[1]) * part];
  }
}
