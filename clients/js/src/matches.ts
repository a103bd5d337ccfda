import { textOf, type Envelope } from "./frames.js";

/** What a user says of itself: numbers, strings, sets of strings. */
export type MatchProperties = Record<string, number | string | string[]>;

export type MatchRange = { min?: number; max?: number };

/** What the others' properties have to be. */
export type MatchQuery = Record<string, number | string | MatchRange | { in: number[] | string[] } | { any: string[] } | { all: string[] }>;

/** With whom a user wants to be matched. Only `pool` is needed. */
export interface MatchRequest {
  pool: string;
  /** Where the user is, in degrees; with `lon`. */
  lat?: number;
  lon?: number;
  /** Metres in which the others have to be. */
  radius?: number;
  /** A string that the others have, too. */
  key?: string;
  gesture?: "bump" | "swipe-left" | "swipe-right" | "swipe-up" | "swipe-down";
  /** How many the match has, this user included. A pair if both are absent. */
  min?: number;
  max?: number;
  properties?: MatchProperties;
  query?: MatchQuery;
  /** How wide radius and ranges become, after so many seconds. */
  widen?: { over: number; radius?: number; query?: Record<string, MatchRange> };
  /** Seconds that it waits. */
  timeout?: number;
  /** Seconds for which it is waited for `max`. */
  patience?: number;
  policy?: "oldest" | "nearest";
}

export interface MatchTicket {
  ticket: string;
  pool: string;
  /** Of one that is gone although nobody asked for that. */
  reason?: "replaced" | "over";
}

export interface Matched {
  match: string;
  /** What MATCH_REQUEST was answered with. */
  ticket: string;
  pool: string;
  /** The other members. */
  peers: string[];
  /** What they say of themselves, by member. */
  properties: Record<string, MatchProperties>;
  /** Another gesture may have been meant. */
  ambiguous?: true;
}

export interface MatchLeft {
  match: string;
  pool: string;
  reason?: "replaced" | "over";
}

/** What each frame about matches that is answered asks with, and is answered with. */
export interface MatchCalls {
  /** Fulfilled when it waits; what comes of it is a `match` event, which may come before. */
  MATCH_REQUEST: [asks: MatchRequest, answer: MatchTicket];
  MATCH_CANCEL: [asks: { ticket: string }, answer: MatchTicket];
  MATCH_LEAVE: [asks: { match: string }, answer: MatchLeft];
}

export type MatchNews =
  | { type: "MATCHED"; data: Matched }
  | { type: "MATCH_TIMEOUT" | "MATCH_CANCELED"; data: MatchTicket }
  | { type: "MATCH_MESSAGE"; data: { match: string; from: string; content: unknown } }
  | { type: "MATCH_PEER_LEFT"; data: { match: string; pool: string; peer: string; ended: boolean } }
  | { type: "MATCH_LEFT"; data: MatchLeft };

const newsTypes: ReadonlySet<string> = new Set<MatchNews["type"]>(["MATCHED", "MATCH_TIMEOUT", "MATCH_CANCELED", "MATCH_MESSAGE", "MATCH_PEER_LEFT", "MATCH_LEFT"]);

/** The news in a frame that answers nothing; undefined when it is about something else. */
export function readMatchNews(frame: Envelope): MatchNews | undefined {
  if (!newsTypes.has(frame.type) || textOf(frame.data["match"] ?? frame.data["ticket"]) === undefined) return undefined;
  return { type: frame.type, data: frame.data } as unknown as MatchNews;
}
