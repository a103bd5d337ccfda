import type { Position } from "@switchboard/client";
import type { Place } from "./earth.js";

/** hidden: nobody is told; placed: by hand; followed: by the browser. */
export type Way = "hidden" | "placed" | "followed";

export interface MeOptions {
  /** Says where the user is; false when that cannot be said now. */
  say(position: Position): boolean;
  /** After how long a position without news is gone. */
  ttlMs: number;
  /** Keeps over a reload what others are told; empty forgets it. */
  drawer: { load(): string; save(text: string): void };
  changed(): void;
  now(): number;
}

/** The browser may tell of a new place many times a second. */
const leastMs = 500;

/** Where the user is: said when it changes, and again in time, so that it does not expire. */
export class Me {
  readonly #options: MeOptions;
  #way: Way = "hidden";
  #position: Position | undefined;
  #problem = "";
  #watch: number | undefined;
  #timer = 0;
  #saidAt = 0;

  constructor(options: MeOptions) {
    this.#options = options;
  }

  get way(): Way {
    return this.#way;
  }

  /** Where others are told that the user is. */
  get place(): Place | undefined {
    return this.#way === "hidden" ? undefined : this.#position;
  }

  /** Why the browser does not tell where it is; empty: it does, or was not asked. */
  get problem(): string {
    return this.#problem;
  }

  /** Goes on with what others were told before the page was loaded anew. */
  begin(): void {
    const kept = read(this.#options.drawer.load());
    if (kept === undefined || this.#options.now() - kept.at > this.#options.ttlMs) return;
    this.#tell("placed", { lat: kept.lat, lon: kept.lon });
    if (kept.way === "followed") this.follow();
  }

  /** The user says where that is. */
  stand(place: Place): void {
    this.#unfollow();
    this.#problem = "";
    this.#tell("placed", { lat: place.lat, lon: place.lon });
  }

  /** The browser says where it is, from now on. */
  follow(): void {
    this.#unfollow();
    this.#problem = "";
    if (!("geolocation" in navigator)) {
      this.#fail("This browser cannot say where it is.");
      return;
    }
    this.#watch = navigator.geolocation.watchPosition(
      ({ coords }) => this.#found(coords),
      ({ code }) => this.#unknown(code),
      { enableHighAccuracy: true, maximumAge: 5_000 },
    );
    this.#options.changed();
  }

  /** Whether the browser is asked. */
  get following(): boolean {
    return this.#watch !== undefined;
  }

  /** The browser is not asked any more; others see the last place. */
  stop(): void {
    this.#unfollow();
    if (this.#way === "followed") this.#way = "placed";
    this.#keep();
    this.#options.changed();
  }

  /** Nobody is told any more. What others know is another's part. */
  hide(): void {
    this.#unfollow();
    window.clearTimeout(this.#timer);
    this.#way = "hidden";
    this.#position = undefined;
    this.#problem = "";
    this.#options.drawer.save("");
    this.#options.changed();
  }

  /** There is a connection, maybe again. */
  online(): void {
    if (this.#way !== "hidden") this.#say();
  }

  /** The page is over for this user: what others know stays. */
  end(): void {
    this.#unfollow();
    window.clearTimeout(this.#timer);
  }

  #found({ latitude, longitude, accuracy, heading, speed }: GeolocationCoordinates): void {
    if (this.#watch === undefined) return;
    this.#problem = "";
    const position: Position = { lat: latitude, lon: longitude, accuracy };
    if (heading !== null && Number.isFinite(heading)) position.heading = heading;
    if (speed !== null) position.speed = speed;
    this.#tell("followed", position);
  }

  #tell(way: Way, position: Position): void {
    this.#way = way;
    this.#position = position;
    this.#keep();
    const early = this.#saidAt + leastMs - this.#options.now();
    if (way === "followed" && early > 0) this.#again(early);
    else this.#say();
    this.#options.changed();
  }

  #say(): void {
    if (this.#position === undefined) return;
    if (this.#options.say(this.#position)) {
      this.#saidAt = this.#options.now();
      this.#keep();
    }
    this.#again(this.#options.ttlMs / 3);
  }

  #again(ms: number): void {
    window.clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.#say(), ms);
  }

  #unfollow(): void {
    if (this.#watch !== undefined) navigator.geolocation.clearWatch(this.#watch);
    this.#watch = undefined;
  }

  /** Only what is forbidden stays so; what the browser does not know now it may know in a moment. */
  #unknown(code: number): void {
    if (code === 1) {
      this.#fail("The browser was not allowed to say where it is.");
      return;
    }
    this.#problem = "The browser does not know just now where it is.";
    this.#options.changed();
  }

  #fail(why: string): void {
    this.stop();
    this.#problem = why;
    this.#options.changed();
  }

  #keep(): void {
    if (this.#way === "hidden" || this.#position === undefined) return;
    const { lat, lon } = this.#position;
    this.#options.drawer.save(JSON.stringify({ way: this.#way, lat, lon, at: this.#options.now() }));
  }
}

function read(kept: string): { way: Way; lat: number; lon: number; at: number } | undefined {
  try {
    const data: unknown = JSON.parse(kept);
    if (typeof data !== "object" || data === null) return undefined;
    const { way, lat, lon, at } = data as Record<string, unknown>;
    const known = way === "placed" || way === "followed";
    return known && typeof lat === "number" && typeof lon === "number" && typeof at === "number" ? { way, lat, lon, at } : undefined;
  } catch {
    return undefined;
  }
}
