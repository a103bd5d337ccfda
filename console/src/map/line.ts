import { Client, NearbyView, SwitchboardError, type NearbyNews, type Position, type StateChange } from "@switchboard/client";
import { socketAddress } from "../server.js";
import type { Box } from "./earth.js";

/** Who signs in. */
export interface Identity {
  appId: string;
  userId: string;
  token: string | (() => Promise<string>);
}

export interface LineEvents {
  state(change: StateChange): void;
  /** What is in view has changed. */
  changed(): void;
  /** The server refuses something, or cannot do it just now. */
  trouble(error: SwitchboardError): void;
}

const id = "map";

/** The socket: looks at one part of the map, over lost connections, and says where the user is. */
export class Line {
  /** What is in view. */
  readonly view = new NearbyView(id);
  readonly userId: string;
  readonly #client: Client;
  readonly #events: LineEvents;
  #box: Box | undefined;
  #fresh = false;
  #looks = 0;

  constructor({ appId, userId, token }: Identity, events: LineEvents) {
    this.userId = userId;
    this.#events = events;
    this.#client = new Client({ url: socketAddress(), appId, userId, token, reconnect: { maxMs: 10_000 } });
    this.#client.on("nearby", (news) => this.#take(news));
    this.#client.on("error", (error) => events.trouble(error));
    this.#client.on("state", (change) => {
      this.#fresh = false; // changes that come while there is no session are never told
      if (change.state === "online") void this.#look();
      events.state(change);
    });
  }

  get online(): boolean {
    return this.#client.state === "online";
  }

  /** Whether what is in view is how it is now, and not how it was when the connection was lost. */
  get fresh(): boolean {
    return this.#fresh;
  }

  /** Connects, and again and again. Why it does not, `state` says. */
  start(): void {
    this.#client.connect().catch(() => undefined);
  }

  /** Gives the session a new token before the old one ends. */
  renew(): void {
    this.#client.renew().catch(() => undefined); // then the session ends with its token, and another one begins
  }

  close(): void {
    this.#client.close();
  }

  /** Looks at a part of the map in place of the one before. */
  look(box: Box): void {
    if (this.#box !== undefined && this.#box.every((n, i) => n === box[i])) return;
    this.#box = box;
    if (this.online) void this.#look();
  }

  /** Says where the user is; false when that cannot be said now. */
  say(position: Position): boolean {
    if (!this.online) return false;
    try {
      this.#client.position(position);
      return true;
    } catch (error) {
      if (error instanceof SwitchboardError) this.#events.trouble(error);
      else throw error;
      return false;
    }
  }

  /** Has the position forgotten; fulfilled when it is. */
  async hide(): Promise<void> {
    await this.#client.ask("POSITION_HIDE", {});
  }

  async #look(): Promise<void> {
    if (this.#box === undefined) return;
    const look = ++this.#looks;
    try {
      await this.#client.ask("NEARBY_WATCH", { id, bbox: this.#box });
    } catch (error) {
      // One that was replaced meanwhile, or that went with its connection, is nobody's trouble.
      if (look !== this.#looks || !this.online) return;
      if (!(error instanceof SwitchboardError)) throw error;
      this.#fresh = false;
      this.#events.trouble(error);
      this.#events.changed();
    }
  }

  #take(news: NearbyNews): void {
    if (!this.view.take(news)) return;
    if (news.type === "NEARBY") this.#fresh = true;
    this.#events.changed();
  }
}
