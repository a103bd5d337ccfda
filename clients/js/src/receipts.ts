import { refusedHere, SwitchboardError } from "./errors.js";

/** What becomes of a message that was sent. Both promises may be ignored. */
export interface Receipt {
  readonly reference: string | undefined;
  /** With `producer`, for RELIABLE messages: the message's number. */
  readonly seq: number | undefined;
  /**
   * Fulfilled when the message is on disk. Rejected when it was refused, when
   * the connection broke before the server said so (`mayYetArrive`; with `producer`
   * it stays open instead), and with `NOT_ASKED` unless the session has `receipts`
   * and the message a reference and RELIABLE.
   */
  readonly stored: Promise<void>;
  /**
   * Fulfilled when the receiver has it. Rejected when it was refused or
   * expired, and with `NOT_ASKED` for group messages and without a reference.
   * Stays open over reconnects, as the confirmation waits in the mailbox.
   */
  readonly confirmed: Promise<void>;
}

/** What is expected of one message. */
export interface Expected {
  reference: string | undefined;
  stored: boolean;
  confirmed: boolean;
  /** How many receivers it has; more than one only in a group. */
  receivers: number;
  /** Its number in the outbox, which outlives connections. */
  seq: number | undefined;
}

interface Entry {
  reference: string;
  kept: boolean;
  stored: Deferred | undefined;
  confirmed: Deferred | undefined;
  receivers: number;
  failed: Set<string>;
}

/**
 * Remembers which messages wait to be stored or confirmed. A reference may be
 * used again: answers go to the oldest message that still waits under it.
 * Holds at most `limit` messages, those in an outbox left out; then the oldest is given up.
 */
export class Receipts {
  readonly #limit: number;
  readonly #byReference = new Map<string, Entry[]>();
  #size = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  expect(expected: Expected): Receipt {
    const { reference } = expected;
    const stored = expected.stored && reference !== undefined ? new Deferred() : undefined;
    const confirmed = expected.confirmed && reference !== undefined ? new Deferred() : undefined;
    if (reference !== undefined && (stored ?? confirmed) !== undefined) {
      this.#add({ reference, kept: expected.seq !== undefined, stored, confirmed, receivers: expected.receivers, failed: new Set() });
    }
    return {
      reference,
      seq: expected.seq,
      stored: (stored ?? notAsked(reference)).promise,
      confirmed: (confirmed ?? notAsked(reference)).promise,
    };
  }

  stored(reference: string): void {
    this.#settle(reference, (entry) => waiting(entry.stored), (entry) => entry.stored?.fulfil());
  }

  confirmed(reference: string): void {
    this.#settle(reference, (entry) => waiting(entry.confirmed), (entry) => {
      entry.stored?.fulfil(); // who has it had it stored
      entry.confirmed?.fulfil();
    });
  }

  failed(error: SwitchboardError): void {
    if (error.reference === undefined) return;
    const expired = error.code === "EXPIRED"; // which is about a message that was stored
    this.#settle(error.reference, (entry) => (waiting(entry.stored) ? !expired : waiting(entry.confirmed)), (entry) => {
      if (error.kind === "DELIVER_FAILED" && error.to.length > 0) {
        for (const user of error.to) entry.failed.add(user);
        if (entry.failed.size < entry.receivers) return; // others of the group may get it
      }
      entry.stored?.fail(error);
      entry.confirmed?.fail(error);
    });
  }

  /** The connection broke: what was not said to be stored may be stored or not. */
  lost(error: SwitchboardError): void {
    for (const entry of this.#all()) {
      if (entry.kept) continue; // it is sent again
      entry.stored?.fail(error);
      this.#dropSettled(entry);
    }
  }

  /** Gives up everything. */
  clear(error: SwitchboardError): void {
    for (const entry of this.#all()) {
      entry.stored?.fail(error);
      entry.confirmed?.fail(error);
    }
    this.#byReference.clear();
    this.#size = 0;
  }

  #all(): Entry[] {
    return [...this.#byReference.values()].flat();
  }

  #add(entry: Entry): void {
    if (this.#size >= this.#limit) this.#giveUpOldest();
    const list = this.#byReference.get(entry.reference);
    if (list === undefined) this.#byReference.set(entry.reference, [entry]);
    else list.push(entry);
    this.#size++;
  }

  #giveUpOldest(): void {
    for (const [oldest] of this.#byReference.values()) {
      if (oldest === undefined || (oldest.kept && waiting(oldest.stored))) continue; // the outbox has a limit of its own
      const error = refusedHere("TOO_MANY_PENDING", "too many messages wait for an answer", oldest.reference);
      oldest.stored?.fail(error);
      oldest.confirmed?.fail(error);
      this.#dropSettled(oldest);
      return;
    }
  }

  #settle(reference: string, waits: (entry: Entry) => boolean, settle: (entry: Entry) => void): void {
    const entry = this.#byReference.get(reference)?.find(waits);
    if (entry === undefined) return;
    settle(entry);
    this.#dropSettled(entry);
  }

  #dropSettled(entry: Entry): void {
    if (waiting(entry.stored) || waiting(entry.confirmed)) return;
    const list = this.#byReference.get(entry.reference);
    const at = list?.indexOf(entry) ?? -1;
    if (list === undefined || at < 0) return;
    list.splice(at, 1);
    this.#size--;
    if (list.length === 0) this.#byReference.delete(entry.reference);
  }
}

function waiting(answer: Deferred | undefined): boolean {
  return answer?.settled === false;
}

function notAsked(reference: string | undefined): Deferred {
  const never = new Deferred();
  never.fail(refusedHere("NOT_ASKED", "nothing will say so: it was not asked for", reference));
  return never;
}

/** A promise that may be ignored: its rejection is never "unhandled". */
export class Deferred<T = void> {
  readonly promise: Promise<T>;
  settled = false;
  #resolve!: (value: T) => void;
  #reject!: (error: unknown) => void;

  constructor() {
    this.promise = new Promise<T>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.promise.catch(() => undefined);
  }

  fulfil(value: T): void {
    this.settled = true;
    this.#resolve(value);
  }

  fail(error: unknown): void {
    this.settled = true;
    this.#reject(error);
  }
}
