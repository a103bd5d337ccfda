// What devices are told at the simple door, and what that means. Nothing here touches the page.

import type { Problem } from "../api.js";
import { capital, withStop } from "../words.js";

/** A line of text, as what it means to who is matched with a peer, or with nobody. */
export type Heard =
  | { kind: "handled"; by: string }
  | { kind: "matched"; peer: string }
  | { kind: "said"; peer: string; text: string }
  | { kind: "left"; peer: string }
  | { kind: "other" };

/** Names may have anything in them, so that of the peer is looked for as it is known. */
export function hear(line: string, peer: string | undefined): Heard {
  if (peer !== undefined) {
    const says = `device ${peer} says: `;
    if (line.startsWith(says)) return { kind: "said", peer, text: line.slice(says.length) };
    if (line === `device '${peer}' left`) return { kind: "left", peer };
  }
  const by = /^Connected and handled by (.+)$/s.exec(line)?.[1];
  if (by !== undefined) return { kind: "handled", by };
  const matched = /^I matched with device '(.*)'!$/s.exec(line)?.[1];
  return matched === undefined ? { kind: "other" } : { kind: "matched", peer: matched };
}

/** How a connection ended that nobody here has closed. */
export interface Ending {
  /** Whether it is tried again. */
  again: boolean;
  sentence: string;
}

/** What a close code of WebSocket says. */
export function endingOf(code: number, reason: string): Ending {
  const said = reason === "" ? "" : ` ${capital(withStop(reason))}`;
  switch (code) {
    case 1006:
      return { again: true, sentence: "The connection was lost." };
    case 1001:
    case 1012:
      return { again: true, sentence: "The server is stopping." };
    case 4005:
      return { again: false, sentence: "Disconnected: what it connected with is over its time. Connect again with a newer key or token." };
    case 4007:
      return { again: true, sentence: "The server closed the connection: too much waited to be read here." };
    case 4009:
      return { again: false, sentence: "Another connection has taken over this ID." };
    case 1011:
    case 1013:
      return { again: true, sentence: `The server closed the connection.${said}` };
  }
  return { again: false, sentence: `The server closed the connection.${said} (${code})` };
}

/** What it means that a connection never came up: `said` is the sentence in which the server says why. */
export function refusalOf({ code, mayPass }: Pick<Problem, "code" | "mayPass">, said: string): Ending {
  if (code === "UPGRADE_REQUIRED") return { again: true, sentence: "The connection failed, though the server lets this device in: is there a proxy that passes no WebSockets?" };
  return mayPass ? { again: true, sentence: said } : { again: false, sentence: `The server does not let this device in. ${said}` };
}

/** Who and where a device is, as typed. */
export interface Typed {
  id: string;
  lat: string;
  lon: string;
}

/** What is wrong with it, and in which field; undefined: nothing. */
export function wrongIn(typed: Typed): { field: keyof Typed; sentence: string } | undefined {
  if (typed.id === "") return { field: "id", sentence: "A device needs an ID." };
  if (new TextEncoder().encode(typed.id).length > 128) return { field: "id", sentence: "The ID is too long: 128 bytes at most." };
  if (/\p{Cc}/u.test(typed.id)) return { field: "id", sentence: "The ID has control characters in it." };
  for (const field of ["lat", "lon"] as const) {
    if (numberIn(typed[field]) === undefined) return { field, sentence: `${field === "lat" ? "Lat" : "Lon"} is to be a number from -1e9 to 1e9, such as 1.5.` };
  }
  return undefined;
}

/** A number as the server takes it, or undefined. */
function numberIn(text: string): number | undefined {
  if (!/^\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*$/i.test(text)) return undefined;
  const n = Number(text);
  return Math.abs(n) <= 1e9 ? n : undefined;
}

/** The path and query under which a device connects. */
export function doorOf(typed: Typed, more: Readonly<Record<string, string>> = {}): string {
  const query = new URLSearchParams({ id: typed.id, lat: String(numberIn(typed.lat)), lon: String(numberIn(typed.lon)) });
  for (const [name, value] of Object.entries(more)) if (value !== "") query.set(name, value);
  return `device/connect?${query.toString()}`;
}
