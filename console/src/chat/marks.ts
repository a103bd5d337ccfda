import type { Member, Message } from "./answers.js";

/** How far each member has read. */
export class ReadMarks {
  #marks = new Map<string, number>();

  /** Marks only rise. */
  set(user: string, seq: number): void {
    if (seq > (this.#marks.get(user) ?? 0)) this.#marks.set(user, seq);
  }

  replace(members: readonly Member[]): void {
    for (const { user, readSeq } of members) this.set(user, readSeq);
  }

  remove(user: string): void {
    this.#marks.delete(user);
  }

  /** Who, other than its author and this user, has read a message. */
  readersOf(message: Message, me: string): string[] {
    return [...this.#marks].filter(([user, seq]) => seq >= message.seq && user !== me && user !== message.from).map(([user]) => user);
  }

  /**
   * The readers under each message: everybody stands once, under the last one
   * that they have read, unless it is their own.
   */
  under(messages: readonly Message[], me: string): Map<number, string[]> {
    const placed = new Map<number, string[]>();
    const last = messages.at(-1)?.seq ?? 0;
    for (const [user, seq] of this.#marks) {
      const message = user === me ? undefined : findLast(messages, Math.min(seq, last));
      if (message === undefined || message.from === user) continue;
      placed.set(message.seq, [...(placed.get(message.seq) ?? []), user]);
    }
    return placed;
  }
}

/** The last message up to a number. */
function findLast(messages: readonly Message[], seq: number): Message | undefined {
  return messages.findLast((one) => one.seq <= seq);
}
