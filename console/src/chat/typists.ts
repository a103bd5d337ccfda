/** So long after its last sign somebody counts as typing; signs come every second or two. */
export const typingMs = 4_000;

/** Who is typing in a room. */
export class Typists {
  #until = new Map<string, number>();

  typing(user: string, now: number): void {
    this.#until.set(user, now + typingMs);
  }

  /** What was typed has arrived. */
  done(user: string): void {
    this.#until.delete(user);
  }

  at(now: number): string[] {
    for (const [user, until] of this.#until) if (until <= now) this.#until.delete(user);
    return [...this.#until.keys()];
  }

  /** When the next one stops counting; undefined when nobody types. */
  get next(): number | undefined {
    return this.#until.size === 0 ? undefined : Math.min(...this.#until.values());
  }
}
