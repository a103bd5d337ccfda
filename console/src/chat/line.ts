import { Client, SwitchboardError, type RoomCalls, type StateChange } from "@switchboard/client";
import type { Data } from "./answers.js";

/** How long an answer may take. */
const patienceMs = 20_000;

export interface LineEvents {
  state(change: StateChange): void;
  /** A frame about a room that answers nothing that was asked here. */
  news(type: string, data: Data): void;
}

/** Who signs in. */
export interface LineUser {
  appId: string;
  userId: string;
  /** An access token that is good. */
  access: () => Promise<string>;
}

/** What can be asked, and with what. */
export type Question = keyof RoomCalls;
export type Asked<Q extends Question> = RoomCalls[Q][0];

/** The socket: questions with their answers, and news. */
export class Line {
  readonly #client: Client;

  constructor(url: string, { appId, userId, access }: LineUser, events: LineEvents) {
    this.#client = new Client({ url, appId, userId, token: access, reconnect: { maxMs: 10_000 } });
    this.#client.on("state", (change) => events.state(change));
    this.#client.on("room", ({ type, data }) => events.news(type, data as unknown as Data));
  }

  get online(): boolean {
    return this.#client.state === "online";
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

  /** Asks and resolves to the data of the answer, which is read with care: it comes from afar. */
  async ask<Q extends Question>(type: Q, data: Asked<Q>): Promise<Data> {
    let timer = 0;
    const late = new Promise<never>((_, fail) => {
      const error = new SwitchboardError("CLIENT", "NO_ANSWER", "the server did not answer in time", { mayYetArrive: true });
      timer = window.setTimeout(() => fail(error), patienceMs);
    });
    try {
      return (await Promise.race([this.#client.ask(type, data), late])) as unknown as Data;
    } finally {
      window.clearTimeout(timer);
    }
  }

  typing(room: string): void {
    this.#client.typing(room);
  }
}
