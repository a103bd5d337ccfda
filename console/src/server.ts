/** Who may connect as a device, as the server says; unknown: it has not said. */
export type DeviceDoor = "open" | "key" | "jwt" | "off" | "unknown";

/** What the map has to know. */
export interface AboutMap {
  /** After how long a position without news is gone. */
  ttlMs: number;
  /** Where tiles are; empty: nowhere. */
  tiles: string;
  attribution: string;
}

export interface About {
  /** Whether it has the demo's users. */
  demo: boolean;
  door: DeviceDoor;
  /** Undefined where nobody can say where he is, or the server has not said. */
  map: AboutMap | undefined;
}

/** What the server that this page came from tells everybody of itself. */
export async function about(): Promise<About> {
  try {
    const answer = await fetch("console.json", { cache: "no-store", signal: AbortSignal.timeout(5_000) });
    return aboutIn(answer.ok ? await answer.json() : undefined);
  } catch {
    return aboutIn(undefined);
  }
}

/** Reads such an answer, whatever it is. */
export function aboutIn(answer: unknown): About {
  if (typeof answer !== "object" || answer === null) return { demo: false, door: "unknown", map: undefined };
  const door = "devices" in answer ? answer.devices : "";
  const known = door === "open" || door === "key" || door === "jwt" || door === "off";
  return { demo: "demo" in answer && answer.demo === true, door: known ? door : "unknown", map: "map" in answer ? mapIn(answer.map) : undefined };
}

function mapIn(answer: unknown): AboutMap | undefined {
  if (typeof answer !== "object" || answer === null || !("ttl" in answer) || typeof answer.ttl !== "number") return undefined;
  const said = (value: unknown): string => (typeof value === "string" ? value : "");
  return { ttlMs: answer.ttl * 1000, tiles: "tiles" in answer ? said(answer.tiles) : "", attribution: "attribution" in answer ? said(answer.attribution) : "" };
}

/** Where its WebSocket is. */
export function socketAddress(): string {
  return `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/ws`;
}
