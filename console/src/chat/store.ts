import { savedTokens, type Tokens } from "./session.js";

/**
 * Where the sign-in is kept: in the tab's session storage. It survives a reload,
 * no other tab and no other site reads it, and it leaves with the tab, so that a
 * machine which others use too is not left signed in; two tabs may be two people.
 */
const place = "switchboard.chat";

/** How long a tab waits for the one before it, which is being reloaded, to let go. */
const letGoMs = 2_000;

export function keepTokens(tokens: Tokens | undefined): void {
  keepText(place, tokens === undefined ? "" : JSON.stringify(tokens));
}

/**
 * The tokens that this tab had before it was reloaded. A tab that was duplicated
 * has a copy; using it would end the sign-in of both, as a refresh token is good
 * once. So it is taken only by who gets hold of its name, and held as long as
 * the tab lives.
 */
export async function takeTokens(): Promise<Tokens | undefined> {
  const tokens = savedTokens(keptText(place));
  if (tokens === undefined || (await hold(tokens.session))) return tokens;
  keepText(place, "");
  return undefined;
}

/** Holds a sign-in for this tab; false when another tab does. */
export function hold(session: string): Promise<boolean> {
  // Not there where the page came neither over TLS nor from this machine.
  const locks = (navigator as { locks?: LockManager }).locks;
  if (locks === undefined || session === "") return Promise.resolve(true);
  return new Promise((resolve) => {
    const name = `${place} ${session}`;
    const held = (): Promise<never> => {
      resolve(true);
      return new Promise(() => undefined); // for as long as the tab lives
    };
    locks.request(name, { signal: AbortSignal.timeout(letGoMs) }, held).catch(() => resolve(false));
  });
}

/** What was written and is not known to be stored outlives a reload as well, for its author. */
export function drawerOf(userId: string): { load(): string; save(text: string): void } {
  const name = `${place}.outbox.${userId}`;
  return { load: () => keptText(name), save: (text) => keepText(name, text) };
}

/** A text that this tab keeps; empty: none. */
export function keptText(name: string): string {
  try {
    return sessionStorage.getItem(name) ?? "";
  } catch {
    return "";
  }
}

/** Keeps a text for this tab; an empty one forgets it. */
export function keepText(name: string, text: string): void {
  try {
    if (text === "") sessionStorage.removeItem(name);
    else sessionStorage.setItem(name, text);
  } catch {
    // Storage may be forbidden or full; then a reload forgets.
  }
}
