import type { Change, Message, MessagePage } from "./answers.js";

/** How many messages that came too early are kept; beyond that history has them. */
const aheadLimit = 500;

/** What came of a live message. */
export type Arrived = "added" | "known" | "gap" | "beyond";

/**
 * The messages of one room that are at hand: one stretch of its history, in the
 * order of their numbers, without holes. It reaches to the room's end and grows
 * with it, or, while somebody reads far back, it ends before. What arrives out
 * of turn waits until history has filled the hole.
 */
export class Timeline {
  #messages: Message[] = [];
  #ahead = new Map<number, Message>();
  #lastSeq = 0;
  #loaded = false;
  #hasOlder = false;
  #atEnd = false;

  get messages(): readonly Message[] {
    return this.#messages;
  }

  /** Whether anything was read from history yet. */
  get loaded(): boolean {
    return this.#loaded;
  }

  get hasOlder(): boolean {
    return this.#hasOlder;
  }

  /** Whether the stretch reaches, or will once holes are filled, to the room's end. */
  get atEnd(): boolean {
    return this.#atEnd;
  }

  get first(): number {
    return this.#messages[0]?.seq ?? this.#lastSeq + 1;
  }

  get last(): number {
    return this.#messages.at(-1)?.seq ?? 0;
  }

  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** After which message history is to be asked, if something is missing at the end. */
  get missingAfter(): number | undefined {
    return this.#loaded && this.#atEnd && this.last < this.#lastSeq ? this.last : undefined;
  }

  /** Begins anew with a page: the newest, or one from the middle of the history. */
  open(page: MessagePage, lastSeq: number, newest: boolean): void {
    this.#messages = merged([], page.messages);
    this.#lastSeq = Math.max(this.#lastSeq, lastSeq, this.last);
    this.#hasOlder = newest ? page.more : this.first > 1;
    this.#loaded = true;
    this.#atEnd = newest || this.last >= this.#lastSeq;
    if (!this.#atEnd) this.#ahead.clear();
    this.#absorb();
  }

  /** Takes in the page before the first message. */
  older(page: MessagePage): void {
    this.#messages = merged(this.#messages, page.messages.filter(({ seq }) => seq < this.first));
    this.#hasOlder = page.more && page.messages.length > 0;
  }

  /** Takes in a page of what follows a message of the stretch, or follows its end. */
  newer(page: MessagePage): void {
    this.#messages = merged(this.#messages, page.messages);
    this.#lastSeq = Math.max(this.#lastSeq, this.last);
    if (!page.more) this.#atEnd = true;
    this.#absorb();
  }

  /** Takes in a message that has just been said. */
  live(message: Message): Arrived {
    this.#lastSeq = Math.max(this.#lastSeq, message.seq);
    if (message.seq <= this.last) return "known";
    if (!this.#loaded || !this.#atEnd) return "beyond";
    this.#ahead.set(message.seq, message);
    while (this.#ahead.size > aheadLimit) this.#ahead.delete(Math.max(...this.#ahead.keys()));
    this.#absorb();
    return this.last >= message.seq ? "added" : "gap";
  }

  /** What the room's number is now, as somebody else knows it. */
  reaches(lastSeq: number): void {
    this.#lastSeq = Math.max(this.#lastSeq, lastSeq);
  }

  /** An edit or a deletion; false when the message is not at hand. */
  changed(change: Change): boolean {
    const early = this.#ahead.get(change.seq);
    if (early !== undefined) this.#ahead.set(change.seq, apply(early, change));
    const at = this.#find(change.seq);
    const message = this.#messages[at];
    if (message === undefined) return early !== undefined;
    this.#messages = this.#messages.with(at, apply(message, change));
    return true;
  }

  message(seq: number): Message | undefined {
    return this.#messages[this.#find(seq)];
  }

  /**
   * Keeps the newest messages only. After a lost connection that is what is asked
   * for again, as edits leave no hole to notice them by; it answers after which
   * message to ask.
   */
  trim(keep: number): number {
    if (this.#messages.length > keep) {
      this.#messages = this.#messages.slice(-keep);
      this.#hasOlder = true;
    }
    return this.first - 1;
  }

  #find(seq: number): number {
    let low = 0;
    let high = this.#messages.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const at = this.#messages[middle]?.seq ?? 0;
      if (at === seq) return middle;
      if (at < seq) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  /** Moves what came early to its place, as far as it follows. */
  #absorb(): void {
    if (!this.#atEnd) return;
    for (const seq of [...this.#ahead.keys()].sort((a, b) => a - b)) {
      const message = this.#ahead.get(seq);
      if (message === undefined || seq > this.last + 1) break;
      if (seq === this.last + 1) this.#messages = [...this.#messages, message];
      this.#ahead.delete(seq);
    }
  }
}

function apply(message: Message, { by, at, deleted, content }: Change): Message {
  if (message.deleted) return message;
  if (deleted) return { ...message, deleted: true, deletedBy: by, content: undefined };
  return { ...message, content, editedAt: at, editedBy: by };
}

/** Both, by rising number; of two with the same number the later state stays. */
function merged(known: readonly Message[], more: readonly Message[]): Message[] {
  const all = new Map(known.map((one) => [one.seq, one]));
  for (const one of more) {
    const old = all.get(one.seq);
    const older = old !== undefined && (old.deleted || (old.editedAt ?? 0) > (one.editedAt ?? 0)) && !one.deleted;
    if (!older) all.set(one.seq, one);
  }
  return [...all.values()].sort((a, b) => a.seq - b.seq);
}
