import type { Timeline } from "./timeline.js";

/** What was unread in a room when it was opened. */
export interface Unread {
  /** How far this user had read. */
  after: number;
  /** How many messages of others are behind that; rather too many than too few. */
  count: number;
  /** The room's last message at that time. */
  upTo: number;
}

/**
 * The first message of others behind the mark; 0 when there is none, undefined
 * while the messages at hand do not tell. One's own do not count: sending moves no
 * mark, so there may be many between the mark and what is unread.
 */
export function firstUnread(timeline: Pick<Timeline, "messages" | "loaded" | "first" | "last">, me: string, { after, count, upTo }: Unread): number | undefined {
  if (!timeline.loaded) return undefined;
  const others = timeline.messages.filter(({ seq, from }) => seq > after && seq <= upTo && from !== me);
  const reachesMark = timeline.first <= after + 1;
  const reachesEnd = timeline.last >= upTo;
  if (reachesMark && (reachesEnd || others.length > 0)) return others[0]?.seq ?? 0;
  return reachesEnd && others.length >= count ? (others[0]?.seq ?? 0) : undefined;
}
