/** How long to wait before a refused sign-in is tried again: doubled each time, up to a bound. */
const firstMs = 1_000;
const lastMs = 60_000;

/** Tries something again later, and each time later still. */
export class Again {
  readonly #run: () => void;
  #timer = 0;
  #waitMs = firstMs;

  constructor(run: () => void) {
    this.#run = run;
  }

  later(): void {
    this.stop();
    this.#timer = window.setTimeout(this.#run, this.#waitMs);
    this.#waitMs = Math.min(2 * this.#waitMs, lastMs);
  }

  /** It went well: the next time begins with a short wait. */
  reset(): void {
    this.#waitMs = firstMs;
  }

  stop(): void {
    window.clearTimeout(this.#timer);
  }
}
