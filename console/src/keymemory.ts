const place = "switchboard.operator";

/**
 * The key for this tab: it survives a reload, and leaves with the tab. Nothing
 * else keeps it.
 */
export function rememberedKey(): string {
  try {
    return sessionStorage.getItem(place) ?? "";
  } catch {
    return "";
  }
}

/** An empty key forgets the one that was there. */
export function rememberKey(key: string): void {
  try {
    if (key === "") sessionStorage.removeItem(place);
    else sessionStorage.setItem(place, key);
  } catch {
    // Storage may be forbidden; then a reload asks for the key again.
  }
}
