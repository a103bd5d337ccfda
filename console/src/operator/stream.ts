import type { Api, Problem } from "../api.js";
import { follow } from "../eventstream.js";
import type { Stats } from "./answers.js";

/** How many samples the server keeps: five minutes. */
export const past = 300;

/** Without an event for so long the stream counts as dead. One comes every second. */
const silenceMs = 10_000;

export interface StreamEvents {
  /** In order, several at once where there was something to make up for. */
  samples(list: Stats[]): void;
  /** The stream is interrupted, and opened again by itself; undefined: it runs. */
  trouble(problem: Problem | undefined): void;
}

/** Follows the stats of the node until the signal is given. Throws a Problem that will not pass. */
export function followStats(api: Api, events: StreamEvents, signal: AbortSignal): Promise<void> {
  return follow(
    api,
    {
      path: "/stats/stream",
      query: (lastEventId) => ({ past: lastEventId === "" ? past : undefined }),
      silenceMs,
      what: "the stream of stats",
      take: (list) => events.samples(list.filter(({ type }) => type === "stats").map(({ data }) => JSON.parse(data) as Stats)),
      trouble: (problem) => events.trouble(problem),
    },
    signal,
  );
}
