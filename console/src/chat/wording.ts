import { SwitchboardError } from "@switchboard/client";
import { isAbort, Problem, sentence } from "../api.js";
import { capital, withStop } from "../words.js";

/** A time of day as people write it: 08:30. */
export function hourMinute(at: number): string {
  const date = new Date(at);
  return `${two(date.getHours())}:${two(date.getMinutes())}`;
}

const weekday = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long" });
const fullDay = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long", year: "numeric" });
const shortDay = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** A day in the reader's own zone: "Today", "Yesterday", "Tuesday 24 November", "24 November 2025". */
export function dayName(at: number, now: number): string {
  const days = daysBetween(at, now);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return new Date(at).getFullYear() === new Date(now).getFullYear() ? weekday.format(at) : fullDay.format(at);
}

/** When something was, in few characters: a time of day, or a day. */
export function shortTime(at: number, now: number): string {
  return daysBetween(at, now) === 0 ? hourMinute(at) : shortDay.format(at);
}

/** How many midnights lie between. */
function daysBetween(at: number, now: number): number {
  const day = (ms: number): number => {
    const date = new Date(ms);
    return Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / 86_400_000;
  };
  return Math.round(day(now) - day(at));
}

function two(n: number): string {
  return String(n).padStart(2, "0");
}

/** "Ann", "Ann and Ben", "Ann, Ben and 3 others". */
export function listed(names: readonly string[], most = 3): string {
  const shown = names.length > most ? [...names.slice(0, most - 1), `${names.length - most + 1} others`] : [...names];
  const last = shown.pop() ?? "";
  return shown.length === 0 ? last : `${shown.join(", ")} and ${last}`;
}

/** A message's content in words: text is what it says, everything else JSON. */
export function contentWords(content: unknown): string {
  if (typeof content === "string") return content;
  return content === undefined ? "" : JSON.stringify(content, null, 2);
}

/** A part of a text: as it is, a link, or one of the words that were looked for. */
export interface Piece {
  text: string;
  href?: string;
  found?: boolean;
}

const address = /https?:\/\/[^\s<>"']+/giu;

/** Finds the addresses in a text. Only http and https make links; nothing else is followed. */
export function pieces(text: string): Piece[] {
  const all: Piece[] = [];
  let from = 0;
  for (const match of text.matchAll(address)) {
    // What ends a sentence is no part of the address.
    const href = match[0].replace(/[.,;:!?)\]}'"]+$/u, "");
    if (!URL.canParse(href)) continue;
    if (match.index > from) all.push({ text: text.slice(from, match.index) });
    all.push({ text: href, href });
    from = match.index + href.length;
  }
  if (from < text.length) all.push({ text: text.slice(from) });
  return all;
}

/** Finds words in a text, as the server does: whole ones, whatever their case. */
export function foundPieces(text: string, words: string): Piece[] {
  const wanted = new Set(words.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []);
  const all: Piece[] = [];
  let from = 0;
  for (const match of text.matchAll(/[\p{L}\p{N}]+/gu)) {
    if (!wanted.has(match[0].toLowerCase())) continue;
    if (match.index > from) all.push({ text: text.slice(from, match.index) });
    all.push({ text: match[0], found: true });
    from = match.index + match[0].length;
  }
  if (from < text.length) all.push({ text: text.slice(from) });
  return all;
}

/** What to say to people instead of what the server says to programs. */
const sentences: Readonly<Record<string, string>> = {
  BAD_CREDENTIALS: "Name or password is wrong.",
  NAME_TAKEN: "Somebody has this name already.",
  SIGN_UP_CLOSED: "New accounts cannot be made on this server; ask whoever runs it.",
  NO_NUMBERS: "This server has no room for more accounts; tell whoever runs it.",
  CHAT_OFF: "Chat is off on this server.",
  STORE_DOWN: "The server cannot reach its database just now. Try again in a moment.",
  STORE_FULL: "The server's disk is full; tell whoever runs it.",
  BUSY: "The server has too much to do just now. Try again in a moment.",
  TOKEN_REUSED: "This sign-in was used from somewhere else, so it was ended. Sign in again.",
  BAD_TOKEN: "You were signed out. Sign in again.",
  NOT_CONNECTED: "There is no connection to the server.",
  CONNECTION_LOST: "The connection was lost before the server had answered.",
};

/** An error in a sentence for people; one that is none of these is a fault of ours and goes on. */
export function explained(error: unknown): string {
  if (isAbort(error)) return "";
  if (!(error instanceof Problem) && !(error instanceof SwitchboardError)) throw error;
  const known = sentences[error.code];
  const wait = error instanceof Problem && error.code === "RATE_LIMITED" ? error.retryAfterMs : undefined;
  if (wait !== undefined) return `Too many tries. Wait ${Math.max(Math.ceil(wait / 1000), 1)} s, then try again.`;
  if (known !== undefined) return known;
  return error instanceof Problem ? sentence(error) : `${capital(withStop(error.message))} (${error.code})`;
}

/** Whether it is worth to try the same again by itself. */
export function mayPass(error: unknown): boolean {
  if (error instanceof Problem) return error.mayPass;
  if (!(error instanceof SwitchboardError)) return false;
  const passing = ["STORE_DOWN", "STORE_FULL", "BUSY", "OVERLOADED", "TIMEOUT", "NO_ANSWER", "NOT_CONNECTED", "BUFFER_FULL", "RATE_LIMITED", "TOO_MANY_PENDING"];
  return error.kind === "CONNECTION" || passing.includes(error.code);
}
