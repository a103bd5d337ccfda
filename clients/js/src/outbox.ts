import { Backoff, type BackoffOptions } from "./backoff.js";
import type { Clock } from "./connector.js";
import { refusedHere, type SwitchboardError } from "./errors.js";
import { Deferred } from "./receipts.js";

/** The highest number that a message may have. */
export const maxSeq = Number.MAX_SAFE_INTEGER;

/**
 * The server remembers exactly which of so many numbers, counted down from the
 * highest, it has taken; older ones count as taken. So no number is sent while
 * one that is so far below it has no answer.
 */
export const seqWindow = 512;

/** How long to wait when the socket takes no more. */
const fullMs = 50;

export interface OutboxOptions {
  /** Sends a frame on the session; false when too much waits to be written. */
  write: (frame: string) => boolean;
  /** Numbers that are made begin here. */
  first: number;
  /** How many messages it keeps. */
  limit: number;
  backoff: BackoffOptions;
  random: () => number;
  clock: Clock;
}

interface Letter {
  seq: number;
  reference: string;
  frame: string;
  receivers: number;
  /** On this session, and the answer is not here yet. */
  written: boolean;
  /** For whom this write was refused. */
  refused: Set<string>;
  /** For some of them it is to be tried again. */
  again: boolean;
}

/**
 * Keeps what a producer sends until the server says that it is stored, or
 * refuses it for good, and sends it again in each new session: in order, under
 * the numbers that it had, so that the server takes it once.
 *
 * A write has one outcome: MESSAGE_STORED, or errors. So a reference names one
 * message until then, and what has no outcome yet is not written twice in one
 * session. A confirmation settles nothing: it may be about an earlier message of
 * the same reference.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #backoff: Backoff;
  /** What is not settled, by rising numbers. */
  readonly #letters = new Map<string, Letter>();
  /** What of it is to be written, by rising numbers. */
  #unwritten: Letter[] = [];
  #last = 0;
  #online = false;
  #timer: unknown; // until it has run nothing is written
  #held = false; // it runs because something was refused for the moment
  #flushes: Deferred[] = [];

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#backoff = new Backoff({ ...options.backoff, resetAfterMs: 0 }, options.random);
  }

  /** The number that a message gets; throws when it cannot have the one that it asks for. */
  number(asked: number | undefined, reference: string): number {
    if (this.#letters.has(reference)) {
      throw refusedHere("REFERENCE_IN_USE", "a message of this reference waits to be stored", reference);
    }
    if (this.#letters.size >= this.#options.limit) {
      throw refusedHere("OUTBOX_FULL", "too many messages wait to be stored", reference);
    }
    const seq = asked ?? Math.max(this.#last + 1, this.#options.first);
    if (!Number.isSafeInteger(seq) || seq <= this.#last) {
      throw refusedHere("BAD_SEQ", `seq must be a whole number above ${this.#last}, at most ${maxSeq}`, reference);
    }
    return seq;
  }

  /** Takes a message under the number that `number` gave. */
  add(seq: number, reference: string, receivers: number, frame: string): void {
    const letter = { seq, reference, frame, receivers, written: false, refused: new Set<string>(), again: false };
    this.#last = seq;
    this.#letters.set(reference, letter);
    this.#unwritten.push(letter);
    this.#write();
  }

  /** A session has begun: everything is written there. */
  begin(): void {
    this.#stopTimer();
    this.#online = true;
    this.#unwritten = [...this.#letters.values()];
    for (const letter of this.#unwritten) renew(letter);
    this.#write();
  }

  /** The session is over. */
  end(): void {
    this.#stopTimer();
    this.#online = false;
  }

  /** Gives up everything. */
  clear(error: SwitchboardError): void {
    this.end();
    this.#letters.clear();
    this.#unwritten = [];
    for (const flush of this.#flushes.splice(0)) flush.fail(error);
  }

  /** Fulfilled when nothing waits for its answer any more. */
  flush(): Promise<void> {
    const flush = new Deferred();
    if (this.#letters.size === 0) flush.fulfil();
    else this.#flushes.push(flush);
    return flush.promise;
  }

  /** Takes a MESSAGE_STORED; says whether the application is to hear of it. */
  stored(reference: string): boolean {
    const letter = this.#letters.get(reference);
    if (letter?.written !== true) return false;
    this.#backoff.sessionLasted(0);
    if (letter.again) {
      this.#hold(letter);
      return false;
    }
    this.#settle(letter);
    return true;
  }

  /** Takes an error of the server; says whether the application is to hear of it: not of what is tried again. */
  failed(error: SwitchboardError): boolean {
    const letter = this.#letters.get(error.reference ?? "");
    // EXPIRED is about an earlier message of this reference: one that was stored.
    if (letter?.written !== true || error.code === "EXPIRED") return true;
    const passing = isPassing(error);
    letter.again ||= passing;
    for (const user of error.to) letter.refused.add(user);
    if (error.to.length === 0 || letter.refused.size >= letter.receivers) {
      // Nobody got it, and no MESSAGE_STORED follows.
      if (letter.again) this.#hold(letter);
      else this.#settle(letter);
    }
    return !passing;
  }

  /** Writes what may be written. */
  #write(): void {
    while (this.#online && this.#timer === undefined) {
      const [letter] = this.#unwritten;
      const [oldest] = this.#letters.values();
      if (letter === undefined || oldest === undefined || letter.seq - oldest.seq >= seqWindow) return;
      this.#unwritten.shift(); // first: a handler of frames may send, too
      letter.written = true;
      if (this.#options.write(letter.frame)) continue;
      letter.written = false;
      this.#unwritten.unshift(letter);
      this.#wait(fullMs);
    }
  }

  /** Has a letter written again in a while, and nothing before that: it would come before it. */
  #hold(letter: Letter): void {
    renew(letter);
    const at = this.#unwritten.findIndex(({ seq }) => seq > letter.seq);
    this.#unwritten.splice(at < 0 ? this.#unwritten.length : at, 0, letter);
    if (this.#held) return; // many may be refused at once
    this.#stopTimer();
    this.#held = true;
    this.#wait(this.#backoff.next());
  }

  #settle(letter: Letter): void {
    this.#letters.delete(letter.reference);
    if (this.#letters.size === 0) {
      // After the message's own promise.
      for (const flush of this.#flushes.splice(0)) queueMicrotask(() => flush.fulfil());
    }
    this.#write();
  }

  #wait(ms: number): void {
    this.#timer = this.#options.clock.setTimeout(() => {
      this.#timer = undefined;
      this.#held = false;
      this.#write();
    }, ms);
  }

  #stopTimer(): void {
    if (this.#timer !== undefined) this.#options.clock.clearTimeout(this.#timer as never);
    this.#timer = undefined;
    this.#held = false;
  }
}

function renew(letter: Letter): void {
  letter.written = false;
  letter.again = false;
  letter.refused.clear();
}

const passing: ReadonlySet<string> = new Set(["STORE_DOWN", "STORE_FULL", "OVERLOADED", "TIMEOUT", "RATE_LIMITED"]);

/** Whether a message that was refused so is to be sent again as it is. */
function isPassing(error: SwitchboardError): boolean {
  return error.mayYetArrive || passing.has(error.code);
}
