import type { Api } from "../api.js";
import { items, readProfile, type Data, type Profile } from "./answers.js";

/** So many profiles are asked for with one call, as many as the server gives. */
const atOnce = 100;

/** Who the users are: their profiles, asked for when they are first needed. */
export class People {
  readonly #api: Api;
  readonly #changed: () => void;
  readonly #known = new Map<string, Profile>();
  readonly #asked = new Set<string>();
  readonly #queue: string[] = [];
  #asking = false;

  constructor(api: Api, changed: () => void) {
    this.#api = api;
    this.#changed = changed;
  }

  /** What a user is called here; the user ID until that is known. */
  name(userId: string): string {
    const profile = this.profile(userId);
    if (profile === undefined) return userId;
    return profile.displayName !== "" ? profile.displayName : profile.username !== "" ? profile.username : userId;
  }

  /** What is known of a user; it is asked for if nothing is. */
  profile(userId: string): Profile | undefined {
    const known = this.#known.get(userId);
    if (known === undefined && userId !== "" && !this.#asked.has(userId)) {
      this.#asked.add(userId);
      this.#queue.push(userId);
      if (!this.#asking) {
        this.#asking = true;
        queueMicrotask(() => void this.#ask()); // with all whom this drawing needs
      }
    }
    return known;
  }

  put(profile: Profile): void {
    this.#asked.add(profile.userId);
    this.#known.set(profile.userId, profile);
    this.#changed();
  }

  /** Asks anew, for who looks at it now. */
  async look(userId: string): Promise<Profile> {
    const profile = readProfile(await this.#api.get<Data>(`/accounts/${encodeURIComponent(userId)}`));
    this.put(profile);
    return profile;
  }

  /** Finds somebody by name; a Problem when there is nobody of that name. */
  async find(username: string): Promise<Profile> {
    const profile = readProfile(await this.#api.get<Data>("/accounts", { query: { username } }));
    this.put(profile);
    return profile;
  }

  /** Asks for those who wait, until nobody does. */
  async #ask(): Promise<void> {
    while (this.#queue.length > 0) {
      const ids = this.#queue.splice(0, atOnce).join(",");
      try {
        const found = await this.#api.get<Data>("/profiles", { query: { ids } });
        for (const data of items(found["profiles"])) {
          const profile = readProfile(data);
          this.#known.set(profile.userId, profile);
        }
        this.#changed();
      } catch {
        continue; // then the user IDs stand for the names
      }
    }
    this.#asking = false;
  }
}
