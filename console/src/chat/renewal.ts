/** How long to wait for the new token before looking again. */
const againMs = 2_000;

/** Sees to it that a session on a socket goes on when the token ends that it was signed in with. */
export class Renewal {
  readonly #due: () => number;
  readonly #renew: () => void;
  #timer = 0;

  /** `due` says when, by the clock of this machine, in milliseconds. */
  constructor(due: () => number, renew: () => void) {
    this.#due = due;
    this.#renew = renew;
  }

  /** The session is signed in, or has been. */
  start(): void {
    this.stop();
    const due = this.#due();
    if (!Number.isFinite(due)) return;
    this.#timer = window.setTimeout(() => {
      this.#renew();
      this.#timer = window.setTimeout(() => this.start(), againMs); // by then there is a new token, or none to be had
    }, Math.max(due - Date.now(), againMs));
  }

  stop(): void {
    window.clearTimeout(this.#timer);
  }
}
