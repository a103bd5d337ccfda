// The journal's events, newest first. Nothing here touches the page.

import { bytes, plural } from "../format.js";

export const types = ["connectionsOpen", "connectionsClosed", "matched", "unmatched", "bytesSent", "bytesReceived", "traffic"] as const;

export interface JournalEvent {
  id: string;
  at: string;
  stored: string;
  type: string;
  device?: string;
  app?: string;
  domain?: string;
  capability?: string;
  amount: number;
  count?: number;
}

export interface JournalPage {
  events: JournalEvent[];
  upTo: string;
  next?: string;
}

/** The newest first, at most so many, each once. More come oldest first, as they were stored. */
export function withMore(list: readonly JournalEvent[], more: readonly JournalEvent[], most: number): JournalEvent[] {
  const known = new Set(list.map(({ id }) => id));
  const fresh = more.filter(({ id }) => !known.has(id) && known.add(id));
  return [...fresh.reverse(), ...list].slice(0, most);
}

/** How much it was, in words. */
export function amountOf(event: JournalEvent): string {
  const sizes = event.type === "bytesSent" || event.type === "bytesReceived" || event.type === "traffic";
  if (!sizes) return event.amount === 1 ? "" : String(event.amount);
  return `${bytes(event.amount)}${event.count === undefined ? "" : ` in ${plural(event.count, "message")}`}`;
}
