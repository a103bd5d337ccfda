import { Problem, type Api, type Ask } from "./api.js";
import { EventParser, type StreamEvent } from "./sse.js";

const firstWaitMs = 500;
const longestWaitMs = 5_000;

/** One stream of the server, and what it is for. */
export interface Followed {
  path: string;
  /** What is asked for; told the ID of the last event, which is empty at first. */
  query(lastEventId: string): Ask["query"];
  /** Without a sign of life for so long it counts as dead. */
  silenceMs: number;
  /** Its name in a sentence. */
  what: string;
  /** Several at once where there was something to make up for. */
  take(events: readonly StreamEvent[]): void;
  /** It is interrupted, and opened again by itself; undefined: it runs. */
  trouble(problem: Problem | undefined): void;
}

/**
 * Follows a stream until the signal is given, and goes on after every interruption
 * where it was. Throws a Problem that will not pass.
 */
export async function follow(api: Api, followed: Followed, signal: AbortSignal): Promise<void> {
  const state = { lastEventId: "", waitMs: firstWaitMs };
  while (!given(signal)) {
    try {
      // When the server ends it, it stops, or the key is not good any more: the next attempt tells.
      await readOnce(api, followed, state, signal);
    } catch (error) {
      if (given(signal)) return;
      if (!(error instanceof Problem) || !error.mayPass) throw error;
      followed.trouble(error);
    }
    await pause(state.waitMs, signal);
    state.waitMs = Math.min(state.waitMs * 2, longestWaitMs);
  }
}

async function readOnce(api: Api, followed: Followed, state: { lastEventId: string; waitMs: number }, signal: AbortSignal): Promise<void> {
  const silence = new Silence(followed.silenceMs);
  try {
    const response = await api.open(followed.path, state.lastEventId, {
      query: followed.query(state.lastEventId) ?? {},
      signal: AbortSignal.any([signal, silence.signal]),
    });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new EventParser();
    followed.trouble(undefined);
    for (;;) {
      const piece = await reader?.read();
      if (piece?.value === undefined || given(signal)) return;
      silence.broken();
      state.waitMs = firstWaitMs;
      const events = parser.push(piece.value);
      if (events.length === 0) continue;
      state.lastEventId = events.at(-1)?.id ?? state.lastEventId;
      followed.take(events);
    }
  } catch (error) {
    throw error instanceof Problem ? error : new Problem("UNREACHABLE", `${followed.what} was interrupted`);
  } finally {
    silence.end();
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
