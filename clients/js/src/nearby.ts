import { textOf, type Envelope } from "./frames.js";

/** Where somebody is, in degrees. */
export interface Position {
  lat: number;
  lon: number;
  /** Metres. */
  accuracy?: number;
  /** Degrees, clockwise from north. */
  heading?: number;
  /** Metres a second. */
  speed?: number;
  /** RFC 3339, or milliseconds since 1970; now if it is absent. */
  at?: string | number;
}

/** Somebody who is seen. */
export interface Neighbour extends Position {
  userId: string;
  name?: string;
  at: string;
  /** Metres from the middle of what is watched. */
  distance: number;
}

/** How many are in one part of what is watched. */
export interface Crowd {
  /** Of its middle. */
  lat: number;
  lon: number;
  /** 0: nobody any more. */
  count: number;
}

/** A circle, or a box: west, south, east, north; east is below west where it crosses the antimeridian. */
export type NearbyArea = { lat: number; lon: number; radius: number } | { bbox: [west: number, south: number, east: number, north: number] };

/** All that is in view: users, or where there are too many, counts. */
export type NearbyAnswer = { id: string; total: number } & ({ users: Neighbour[]; cells?: undefined } | { cells: Crowd[]; users?: undefined });

/** What each frame about positions that is answered asks with, and is answered with. */
export interface NearbyCalls {
  /** Looks at a part of the map, in place of what was looked at under this `id`. The answer is a `nearby` event, too. */
  NEARBY_WATCH: [asks: { id: string } & NearbyArea, answer: NearbyAnswer];
  /** Fulfilled when the position is forgotten. */
  POSITION_HIDE: [asks: Record<string, never>, answer: Record<string, never>];
}

export type NearbyNews =
  | { type: "NEARBY"; data: NearbyAnswer }
  | { type: "NEARBY_ENTER"; data: { id: string; users: Neighbour[] } }
  | { type: "NEARBY_MOVE"; data: { id: string; users: Neighbour[]; cells?: undefined } | { id: string; cells: Crowd[]; users?: undefined } }
  | { type: "NEARBY_LEAVE"; data: { id: string; users: string[] } };

const newsTypes: ReadonlySet<string> = new Set<NearbyNews["type"]>(["NEARBY", "NEARBY_ENTER", "NEARBY_MOVE", "NEARBY_LEAVE"]);

/** The news in a frame; undefined when it is about something else. */
export function readNearbyNews(frame: Envelope): NearbyNews | undefined {
  if (!newsTypes.has(frame.type) || textOf(frame.data["id"]) === undefined) return undefined;
  return { type: frame.type, data: frame.data } as unknown as NearbyNews;
}

/** What is in view of one watch: the news of it, added up. */
export class NearbyView {
  /** Who is in view, by user ID. Empty where `cells` are told. */
  readonly users = new Map<string, Neighbour>();
  /** Counts, by the middle of their part of the map; undefined where users are told. */
  cells: Map<string, Crowd> | undefined;

  constructor(readonly id: string) {}

  /** How many are in view. */
  get total(): number {
    let total = this.users.size;
    for (const cell of this.cells?.values() ?? []) total += cell.count;
    return total;
  }

  /** Takes news in; false when they are of another watch. */
  take(news: NearbyNews): boolean {
    if (news.data.id !== this.id) return false;
    switch (news.type) {
      case "NEARBY":
        this.users.clear();
        this.cells = news.data.cells === undefined ? undefined : new Map();
        this.#add(news.data);
        break;
      case "NEARBY_LEAVE":
        for (const user of news.data.users) this.users.delete(user);
        break;
      default:
        this.#add(news.data);
    }
    return true;
  }

  #add({ users, cells }: { users?: Neighbour[] | undefined; cells?: Crowd[] | undefined }): void {
    for (const user of users ?? []) this.users.set(user.userId, user);
    for (const cell of cells ?? []) {
      const key = `${cell.lat} ${cell.lon}`;
      if (cell.count === 0) this.cells?.delete(key);
      else this.cells?.set(key, cell);
    }
  }
}
