import type { Envelope } from "./frames.js";

/** A frame with its text and the number of the session that it came on. */
export interface Arrival {
  frame: Envelope;
  text: string;
  session: number;
  /** When it came, in milliseconds of the client's clock. */
  at: number;
}

export interface InboxOptions {
  /** Hears of every arrival at once, but not of repeats; it must not wait for a handler. */
  arrived: (arrival: Arrival) => void;
  /** Handles one arrival; a promise is waited for before the next one with an id, and before its acknowledgement. */
  handle: (arrival: Arrival) => Promise<void> | undefined;
  /** Sends the acknowledgement of everything up to an id. */
  acknowledge: (id: string) => void;
  /** Runs something a little later, after what has already arrived. */
  later: (run: () => void) => void;
  /** Called when more than `remember` frames wait for a slow handler. They are forgotten: the session must end. */
  overflow: () => void;
  /** How many handled ids are remembered at least, to recognise repeats, and how many frames may wait. */
  remember: number;
}

/** Acknowledged at the latest after so many: the server's window must not run dry while a burst is handled. */
const ackEvery = 32;

/**
 * The inbox puts frames with an id through their handlers one after the other,
 * in the order of arrival, swallows repeats, and acknowledges what is behind
 * it: one acknowledgement covers all before. Frames without an id pass at once.
 *
 * An id counts as handled from the moment its handler starts; frames that wait
 * behind a slow handler are forgotten when their session ends, because the
 * server sends them again.
 */
export class Inbox {
  readonly #options: InboxOptions;
  /** The ids that have arrived, oldest first, and whether their handlers have started. */
  readonly #known = new Map<string, boolean>();
  #queue: Arrival[] = [];
  #session = 0;
  #busy = false;
  #settledId: string | undefined;
  #settledCount = 0;
  #flushPlanned = false;

  constructor(options: InboxOptions) {
    this.#options = options;
  }

  /** From now on only frames of this session are acknowledged. */
  begin(session: number): void {
    this.#session = session;
    this.#queue = [];
    this.#settledId = undefined;
    this.#settledCount = 0;
  }

  push(arrival: Arrival): void {
    if (arrival.session !== this.#session) return;
    const { id } = arrival.frame;
    if (id === undefined) {
      this.#options.arrived(arrival);
      void this.#options.handle(arrival);
      return;
    }
    if (this.#queue.length >= this.#options.remember) {
      this.#queue = [];
      this.#options.overflow();
      return;
    }
    if (!this.#known.has(id)) {
      this.#remember(id);
      this.#options.arrived(arrival);
    }
    this.#queue.push(arrival);
    this.#drain();
  }

  /** Acknowledges now what is handled and not yet acknowledged. */
  flush(): void {
    const id = this.#settledId;
    this.#settledId = undefined;
    this.#settledCount = 0;
    if (id !== undefined) this.#options.acknowledge(id);
  }

  #drain(): void {
    while (!this.#busy) {
      const arrival = this.#queue.shift();
      if (arrival === undefined) return;
      const pending = this.#handleOnce(arrival);
      if (pending === undefined) {
        this.#settled(arrival);
        continue;
      }
      this.#busy = true;
      void pending.then(() => {
        this.#busy = false;
        this.#settled(arrival);
        this.#drain();
      });
    }
  }

  #handleOnce(arrival: Arrival): Promise<void> | undefined {
    const id = arrival.frame.id as string;
    if (this.#known.get(id) === true) return undefined;
    this.#known.set(id, true);
    return this.#options.handle(arrival);
  }

  #remember(id: string): void {
    this.#known.set(id, false);
    if (this.#known.size <= 2 * this.#options.remember) return; // those handled, and those that wait
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest);
      return;
    }
  }

  #settled({ frame, session }: Arrival): void {
    if (session !== this.#session) return;
    this.#settledId = frame.id;
    this.#settledCount++;
    if (this.#settledCount >= ackEvery) {
      this.flush();
    } else if (!this.#flushPlanned) {
      this.#flushPlanned = true;
      this.#options.later(() => {
        this.#flushPlanned = false;
        this.flush();
      });
    }
  }
}

/**
 * Runs something after the events that already wait, without a timer: browsers
 * slow timers of hidden tabs down to one a minute, and an acknowledgement must
 * not wait that long.
 */
export function soon(): (run: () => void) => void {
  const immediate = (globalThis as { setImmediate?: (run: () => void) => unknown }).setImmediate;
  if (immediate !== undefined) return (run) => void immediate(run);
  const { port1, port2 } = new MessageChannel();
  const waiting: (() => void)[] = [];
  port1.onmessage = () => waiting.shift()?.();
  return (run) => {
    waiting.push(run);
    port2.postMessage(0);
  };
}
