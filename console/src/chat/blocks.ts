import type { Api } from "../api.js";
import { items, text, type Data } from "./answers.js";

/** Whom this user does not want to hear. */
export class Blocks {
  readonly #api: Api;
  readonly #changed: () => void;
  #users = new Set<string>();

  constructor(api: Api, changed: () => void) {
    this.#api = api;
    this.#changed = changed;
  }

  get users(): string[] {
    return [...this.#users];
  }

  has(user: string): boolean {
    return this.#users.has(user);
  }

  async load(): Promise<void> {
    const users = new Set<string>();
    let cursor = "";
    do {
      const page: Data = await this.#api.get<Data>("/accounts/me/blocks", { query: { cursor } });
      for (const block of items(page["blocks"])) users.add(text(block["userId"]));
      cursor = text(page["next"]);
    } while (cursor !== "");
    this.#users = users;
    this.#changed();
  }

  async add(user: string): Promise<void> {
    await this.#api.put(`/accounts/me/blocks/${encodeURIComponent(user)}`);
    this.#users.add(user);
    this.#changed();
  }

  async remove(user: string): Promise<void> {
    await this.#api.delete(`/accounts/me/blocks/${encodeURIComponent(user)}`);
    this.#users.delete(user);
    this.#changed();
  }
}
