import { problemOf, sentence } from "../api.js";
import { endingOf, refusalOf, type Ending } from "./lines.js";

const firstWaitMs = 500;
const longestWaitMs = 5_000;

/** A connection that is not up by then is given up. */
const patienceMs = 10_000;

export type LineState = "idle" | "connecting" | "up" | "waiting" | "failed";

export interface LineEvents {
  /** How it stands, with a sentence where something went wrong. */
  state(state: LineState, why: string): void;
  line(text: string): void;
}

/** The connection of one device: it is made again when it is lost, until somebody closes it. */
export class Line {
  readonly #events: LineEvents;
  #url = "";
  #socket: WebSocket | undefined;
  #waitMs = firstWaitMs;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(events: LineEvents) {
    this.#events = events;
  }

  open(url: string): void {
    this.close();
    this.#url = url;
    this.#waitMs = firstWaitMs;
    this.#connect();
  }

  close(): void {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close(1000);
    this.#events.state("idle", "");
  }

  /** Says whether it was sent. */
  send(text: string): boolean {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(text);
    return true;
  }

  #connect(): void {
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#events.state("connecting", "");
    let opened = false;
    const late = setTimeout(() => socket.close(), patienceMs);
    socket.addEventListener("open", () => {
      clearTimeout(late);
      opened = true;
      if (this.#socket !== socket) return;
      this.#waitMs = firstWaitMs;
      this.#events.state("up", "");
    });
    socket.addEventListener("message", ({ data }) => {
      if (this.#socket === socket && typeof data === "string") this.#events.line(data);
    });
    socket.addEventListener("close", ({ code, reason }) => {
      clearTimeout(late);
      if (this.#socket === socket) void this.#ended(socket, opened ? endingOf(code, reason) : undefined);
    });
  }

  /** Tries again, or says why not. */
  async #ended(socket: WebSocket, ending: Ending | undefined): Promise<void> {
    const { again, sentence } = ending ?? (await this.#refused());
    if (this.#socket !== socket) return; // somebody closed it meanwhile
    if (!again) {
      this.#socket = undefined;
      this.#events.state("failed", sentence);
      return;
    }
    this.#events.state("waiting", `${sentence} Trying again.`);
    this.#timer = setTimeout(() => this.#connect(), this.#waitMs);
    this.#waitMs = Math.min(this.#waitMs * 2, longestWaitMs);
  }

  /** A browser does not tell why a handshake was refused: the door says it to who asks the same without one. */
  async #refused(): Promise<Ending> {
    try {
      const answer = await fetch(this.#url.replace(/^ws/, "http"), { cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(5_000) });
      const problem = problemOf(answer, await answer.text());
      return refusalOf(problem, sentence(problem));
    } catch {
      return { again: true, sentence: "The server cannot be reached." };
    }
  }
}
