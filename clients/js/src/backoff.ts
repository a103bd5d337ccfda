/** How long to wait between attempts to connect. */
export interface BackoffOptions {
  /** Upper bound of the first wait, in milliseconds. Default 500. */
  baseMs?: number;
  /** Upper bound of any wait, in milliseconds. Default 30 000. */
  maxMs?: number;
  /** A session that lasted at least this long starts the count anew, in milliseconds. Default 5 000. */
  resetAfterMs?: number;
}

/**
 * Exponential backoff with full jitter: the n-th wait is drawn evenly from
 * [0, min(max, base·2ⁿ)), so that clients that were cut off together do not
 * come back together.
 */
export class Backoff {
  readonly #base: number;
  readonly #max: number;
  readonly #resetAfter: number;
  readonly #random: () => number;
  #attempts = 0;

  constructor(options: BackoffOptions, random: () => number) {
    this.#base = options.baseMs ?? 500;
    this.#max = options.maxMs ?? 30_000;
    this.#resetAfter = options.resetAfterMs ?? 5_000;
    this.#random = random;
  }

  /** The next wait in whole milliseconds. */
  next(): number {
    const bound = Math.min(this.#max, this.#base * 2 ** Math.min(this.#attempts, 30));
    this.#attempts++;
    return Math.floor(this.#random() * bound);
  }

  /** Tells how long the last session lasted. */
  sessionLasted(ms: number): void {
    if (ms >= this.#resetAfter) this.#attempts = 0;
  }
}
