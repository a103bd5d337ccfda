import { isAbort, Problem } from "../api.js";
import { given, pause } from "../eventstream.js";

/** How often lists are asked for anew. */
export const everyMs = 5_000;

/**
 * Does something now and then again and again, never twice at once, until the
 * signal is given. It rests while nobody looks at the page.
 */
export class Poll {
  readonly #task: (signal: AbortSignal) => Promise<void>;
  readonly #failed: (problem: Problem | undefined) => void;
  readonly #signal: AbortSignal;
  readonly #everyMs: number;
  #round = new AbortController();

  /** `failed` hears of each problem, and of success after one (and at first). */
  constructor(task: (signal: AbortSignal) => Promise<void>, failed: (problem: Problem | undefined) => void, signal: AbortSignal, every = everyMs) {
    this.#everyMs = every;
    this.#task = task;
    this.#failed = failed;
    this.#signal = signal;
    document.addEventListener("visibilitychange", () => this.#wake(), { signal });
    void this.#run();
  }

  /** Does it at once; what was under way is given up. */
  now(): void {
    this.#round.abort();
  }

  async #run(): Promise<void> {
    while (!given(this.#signal)) {
      this.#round = new AbortController();
      const round = AbortSignal.any([this.#signal, this.#round.signal]);
      let waitMs = this.#everyMs;
      try {
        await this.#task(round);
        this.#failed(undefined);
      } catch (error) {
        if (given(this.#signal)) return;
        if (!isAbort(error) && !given(round)) {
          if (!(error instanceof Problem)) throw error;
          this.#failed(error);
          waitMs = Math.max(error.retryAfterMs ?? 0, this.#everyMs);
        }
      }
      if (!given(round)) await pause(waitMs, round);
      if (document.hidden && !given(this.#signal)) await this.#seen();
    }
  }

  async #seen(): Promise<void> {
    const shown = new AbortController();
    document.addEventListener("visibilitychange", () => shown.abort(), { once: true, signal: this.#signal });
    await pause(2 ** 31 - 1, AbortSignal.any([shown.signal, this.#signal, this.#round.signal]));
  }

  #wake(): void {
    if (!document.hidden) this.now();
  }
}
