import { Problem, type Api } from "../api.js";
import type { Stats } from "./answers.js";
import { EventParser, type StreamEvent } from "./sse.js";

/** How many samples the server keeps: five minutes. */
export const past = 300;

/** Without an event for so long the stream counts as dead. One comes every second. */
const silenceMs = 10_000;

const firstWaitMs = 500;
const longestWaitMs = 5_000;

export interface StreamEvents {
  /** In order, several at once where there was something to make up for. */
  samples(list: Stats[]): void;
  /** The stream is interrupted, and opened again by itself; undefined: it runs. */
  trouble(problem: Problem | undefined): void;
}

/** The stats of the node, as they come. */
export class StatsStream {
  readonly #api: Api;
  readonly #events: StreamEvents;
  #lastEventId = "";
  #waitMs = firstWaitMs;

  constructor(api: Api, events: StreamEvents) {
    this.#api = api;
    this.#events = events;
  }

  /**
   * Follows them until the signal is given, and goes on after every interruption
   * where it was. Throws a Problem that will not pass.
   */
  async follow(signal: AbortSignal): Promise<void> {
    while (!given(signal)) {
      try {
        // When the server ends it, it stops, or the key is not good any more: the next attempt tells.
        await this.#readOnce(signal);
      } catch (error) {
        if (given(signal)) return;
        if (!(error instanceof Problem) || !error.mayPass) throw error;
        this.#events.trouble(error);
      }
      await pause(this.#waitMs, signal);
      this.#waitMs = Math.min(this.#waitMs * 2, longestWaitMs);
    }
  }

  async #readOnce(signal: AbortSignal): Promise<void> {
    const silence = new Silence(silenceMs);
    try {
      const response = await this.#api.open("/stats/stream", this.#lastEventId, {
        query: { past: this.#lastEventId === "" ? past : undefined },
        signal: AbortSignal.any([signal, silence.signal]),
      });
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new EventParser();
      for (;;) {
        const piece = await reader?.read();
        if (piece?.value === undefined) return;
        silence.broken();
        this.#take(parser.push(piece.value));
      }
    } catch (error) {
      throw error instanceof Problem ? error : new Problem("UNREACHABLE", "the stream of stats was interrupted");
    } finally {
      silence.end();
    }
  }

  #take(events: readonly StreamEvent[]): void {
    const list = events.filter(({ type }) => type === "stats").map(({ data }) => JSON.parse(data) as Stats);
    if (list.length === 0) return;
    this.#lastEventId = events.at(-1)?.id ?? this.#lastEventId;
    this.#waitMs = firstWaitMs;
    this.#events.trouble(undefined);
    this.#events.samples(list);
  }
}

/** Aborts when nothing is heard for a while. */
class Silence {
  readonly #controller = new AbortController();
  readonly #ms: number;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(ms: number) {
    this.#ms = ms;
    this.broken();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  broken(): void {
    this.end();
    this.#timer = setTimeout(() => this.#controller.abort(), this.#ms);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

/** Whether a signal has been given; unlike a look at it, this is asked anew each time. */
export function given(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** Waits; ends early when the signal is given. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
