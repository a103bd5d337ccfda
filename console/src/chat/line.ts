import { Client, newReference, SwitchboardError, type StateChange } from "@switchboard/client";
import { isData, type Data } from "./answers.js";

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

interface Waiting {
  fulfil(data: Data): void;
  fail(error: SwitchboardError): void;
  timer: number;
}

/** The socket: questions with their answers, and news. */
export class Line {
  readonly #client: Client;
  readonly #events: LineEvents;
  readonly #waiting = new Map<string, Waiting>();
  #socket: WebSocket | undefined;

  constructor(url: string, { appId, userId, access }: LineUser, events: LineEvents) {
    this.#events = events;
    const opened = (socket: WebSocket): void => void (this.#socket = socket);
    class Socket extends WebSocket {
      constructor(address: string) {
        super(address);
        opened(this);
      }
    }
    this.#client = new Client({ url, appId, userId, token: access, reconnect: { maxMs: 10_000 }, WebSocket: Socket });
    this.#client.on("frame", ({ direction, text }) => direction === "in" && this.#heard(text));
    this.#client.on("state", (change) => {
      if (change.state !== "online") this.#lost(change.error);
      events.state(change);
    });
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

  retryNow(): void {
    this.#client.retryNow();
  }

  close(): void {
    this.#client.close();
  }

  /** Asks and resolves to the data of the answer. */
  ask(type: string, data: Data): Promise<Data> {
    return new Promise((fulfil, fail) => {
      if (!this.online) {
        fail(new SwitchboardError("CLIENT", "NOT_CONNECTED", "there is no connection to the server"));
        return;
      }
      const reference = newReference();
      const late = (): void => this.#settle(reference)?.fail(new SwitchboardError("CLIENT", "NO_ANSWER", "the server did not answer in time", { mayYetArrive: true }));
      this.#waiting.set(reference, { fulfil, fail, timer: window.setTimeout(late, patienceMs) });
      this.#socket?.send(JSON.stringify({ type, data, reference }));
    });
  }

  /** Says something that has no answer, if anybody can hear it. */
  tell(type: string, data: Data): void {
    if (this.online) this.#socket?.send(JSON.stringify({ type, data }));
  }

  #heard(text: string): void {
    let frame: unknown;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (!isData(frame)) return;
    const { type, data, reference } = frame;
    if (typeof type !== "string" || !isData(data)) return;
    const asked = typeof reference === "string" ? this.#settle(reference) : undefined;
    const failed = type === "GENERAL_ERROR" || type === "INVALID_MESSAGE";
    if (failed) asked?.fail(new SwitchboardError(type, String(data["code"]), String(data["reason"])));
    else if (asked !== undefined) asked.fulfil(data);
    else if (type.startsWith("ROOM_")) this.#events.news(type, data);
  }

  #settle(reference: string): Waiting | undefined {
    const waiting = this.#waiting.get(reference);
    this.#waiting.delete(reference);
    window.clearTimeout(waiting?.timer);
    return waiting;
  }

  #lost(error: SwitchboardError = new SwitchboardError("CLIENT", "NOT_CONNECTED", "there is no connection to the server")): void {
    for (const reference of [...this.#waiting.keys()]) this.#settle(reference)?.fail(error);
  }
}
