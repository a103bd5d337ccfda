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

/** What a message says, if it is a text or an object with one; undefined for other JSON. */
export function contentText(content: unknown): string | undefined {
  if (typeof content === "string") return content;
  if (typeof content !== "object" || content === null || !("text" in content)) return undefined;
  return typeof content.text === "string" && content.text !== "" ? content.text : undefined;
}

/** A message's content in words: text is what it says, everything else JSON. */
export function contentWords(content: unknown): string {
  return contentText(content) ?? (content === undefined ? "" : JSON.stringify(content, null, 2));
}

/** Whether a message is nothing but a text, so that it can be edited as one. */
export function isPlain(content: unknown): boolean {
  return typeof content === "string" || (contentText(content) !== undefined && Object.keys(content as object).length === 1);
}

/** A text in the form that the content had which it replaces. */
export function rewritten(content: unknown, text: string): unknown {
  return typeof content === "string" ? text : { text };
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
