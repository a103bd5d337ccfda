import { Backoff, type BackoffOptions } from "./backoff.js";
import { closeError, mayRetry, refusedHere, SwitchboardError } from "./errors.js";
import { authFrame, readError, readFrame, textOf, type Envelope, type SignInOptions } from "./frames.js";
import { Link, type WebSocketConstructor } from "./link.js";
import { Deferred } from "./receipts.js";

/**
 * - `idle`: nothing has been asked for yet;
 * - `connecting`, `signing-in`, `online`: as they say;
 * - `waiting`: the connection is gone and will be tried again by itself;
 * - `closed`: it is gone for good, until `connect` is called again.
 */
export type State = "idle" | "connecting" | "signing-in" | "online" | "waiting" | "closed";

export interface StateChange {
  state: State;
  previous: State;
  /** Why the connection is gone, in `waiting` and `closed`; absent after `close`. */
  error?: SwitchboardError;
  /** In `waiting`: how long until the next attempt, in milliseconds. */
  retryInMs?: number;
}

/** Where time comes from. The default is the real one. */
export interface Clock {
  now(): number;
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: never): void;
}

export interface ConnectorOptions {
  url: string;
  appId: string;
  userId: string;
  token: string | (() => string | Promise<string>);
  signIn: SignInOptions;
  /** Undefined: a lost connection is not tried again. */
  backoff: BackoffOptions | undefined;
  connectTimeoutMs: number;
  WebSocket: WebSocketConstructor;
  random: () => number;
  clock: Clock;
}

export interface ConnectorEvents {
  state(change: StateChange): void;
  /** Every frame as it is, in both directions. */
  frame(direction: "in" | "out", text: string): void;
  /** A session is signed in; sessions are numbered from 1. */
  online(session: number): void;
  /** A frame of the signed-in session. */
  received(frame: Envelope, text: string): void;
  /** The server wants this session gone: last chance to send something. */
  leaving(): void;
  /** A signed-in session is over. */
  offline(error: SwitchboardError): void;
  /** Something that does not belong on the wire. */
  broken(error: SwitchboardError): void;
}

/** What may answer AUTH_CLIENT: nothing else says anything before. */
const answersSignIn: ReadonlySet<string> = new Set(["AUTH_CLIENT_REPLY", "INVALID_MESSAGE", "GENERAL_ERROR"]);

/** A planned move that takes longer is cut to this. */
const longestAfterMs = 5 * 60_000;

/** Keeps one signed-in session, connecting again as often as that takes. */
export class Connector {
  readonly #options: ConnectorOptions;
  readonly #events: ConnectorEvents;
  readonly #backoff: Backoff;
  #state: State = "idle";
  #ready = new Deferred();
  #link: Link | undefined;
  #attempt = 0; // rises with every attempt, so that what is late for one is known to be
  #session = 0;
  #onlineSince = 0;
  #leaveAt: number | undefined; // when the server asked for a move: when it is due
  #timer: unknown;

  constructor(options: ConnectorOptions, events: ConnectorEvents) {
    this.#options = options;
    this.#events = events;
    this.#backoff = new Backoff(options.backoff ?? {}, options.random);
  }

  get state(): State {
    return this.#state;
  }

  get buffered(): number {
    return this.#link?.buffered ?? 0;
  }

  /** Fulfilled once signed in; rejected when that has become hopeless. */
  start(): Promise<void> {
    if (this.#state === "idle" || this.#state === "closed") {
      this.#ready = new Deferred();
      void this.#connect();
    }
    return this.#ready.promise;
  }

  /** Ends everything; `error` is what a pending start is told. */
  stop(error: SwitchboardError): void {
    if (this.#state === "idle" || this.#state === "closed") return;
    this.#drop("signed out");
    if (this.#state === "online") this.#events.offline(error);
    this.#ready.fail(error);
    this.#change({ state: "closed" });
  }

  /** Ends the session because of what was found on this side, and tries again. */
  restart(error: SwitchboardError): void {
    this.#drop(error.code);
    this.#lost(error);
  }

  /** While waiting: tries at once. */
  retryNow(): void {
    if (this.#state !== "waiting") return;
    this.#clearTimer();
    void this.#connect();
  }

  /** Sends on the signed-in session. */
  send(text: string): void {
    if (this.#link === undefined) throw refusedHere("NOT_CONNECTED", "there is no connection to the server");
    this.#link.send(text);
    this.#events.frame("out", text);
  }

  async #connect(): Promise<void> {
    const attempt = ++this.#attempt;
    this.#leaveAt = undefined;
    this.#change({ state: "connecting" });
    if (attempt !== this.#attempt) return; // a state handler has ended it
    this.#startTimer(this.#options.connectTimeoutMs, () =>
      this.restart(new SwitchboardError("CONNECTION", "TIMEOUT", "the server did not answer in time")),
    );
    try {
      const { token } = this.#options;
      const text = typeof token === "string" ? token : await token();
      if (attempt === this.#attempt) this.#open(attempt, text);
    } catch (cause) {
      if (attempt !== this.#attempt) return;
      this.#clearTimer();
      this.#lost(new SwitchboardError("CLIENT", "TOKEN_FAILED", "no token could be had", { cause }));
    }
  }

  #open(attempt: number, token: string): void {
    try {
      this.#link = new Link(this.#options.url, this.#options.WebSocket, {
        opened: () => this.#signIn(token),
        received: (data) => this.#received(attempt, data),
        closed: (code, reason) => this.#closed(closeError(code, reason)),
      });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : "the address cannot be used";
      this.#clearTimer();
      this.#finish(new SwitchboardError("CLIENT", "BAD_URL", reason, { cause }));
    }
  }

  #signIn(token: string): void {
    const { appId, userId, signIn } = this.#options;
    this.#change({ state: "signing-in" });
    if (this.#link === undefined) return; // a state handler has ended it
    this.send(authFrame({ appId, userId, token, options: signIn }));
  }

  #received(attempt: number, data: unknown): void {
    if (typeof data !== "string") {
      this.#events.broken(new SwitchboardError("CONNECTION", "BAD_FRAME", "the server sent a binary frame"));
      return;
    }
    this.#events.frame("in", data);
    if (attempt !== this.#attempt) return; // a frame handler has ended the session
    const frame = readFrame(data);
    if (frame === undefined) {
      this.#events.broken(new SwitchboardError("CONNECTION", "BAD_FRAME", "the server sent a frame that is none"));
    } else if (frame.type === "RECONNECT") {
      this.#planMove(frame);
    } else if (this.#state === "signing-in" && answersSignIn.has(frame.type)) {
      this.#answered(frame);
    } else if (frame.type !== "AUTH_CLIENT_REPLY") {
      this.#events.received(frame, data);
    }
  }

  #answered(frame: Envelope): void {
    const { type, data } = frame;
    this.#clearTimer();
    if (type !== "AUTH_CLIENT_REPLY") {
      // The server would wait for another AUTH_CLIENT; this one would be the same again.
      this.#drop("refused");
      this.#lost(readError(frame));
      return;
    }
    if (data["isAuthenticated"] === true) {
      this.#onlineSince = this.#options.clock.now();
      this.#session++;
      this.#events.online(this.#session);
      this.#change({ state: "online" });
      this.#ready.fulfil();
      return;
    }
    const code = textOf(data["code"]) ?? "REFUSED";
    const reason = textOf(data["reason"]) ?? "the server refused the sign-in";
    this.#drop("refused");
    this.#lost(new SwitchboardError("REFUSED", code, reason, { home: textOf(data["home"]) }));
  }

  /** The server closes soon: be gone by then, at the moment that it drew for this client. */
  #planMove({ data }: Envelope): void {
    if (this.#leaveAt !== undefined) return;
    const asked = typeof data["afterMs"] === "number" ? data["afterMs"] : 0;
    const afterMs = Math.min(Math.max(asked, 0), longestAfterMs);
    this.#leaveAt = this.#options.clock.now() + afterMs;
    if (this.#state !== "online") return; // the sign-in's own deadline runs
    this.#startTimer(afterMs, () => {
      this.#events.leaving();
      this.#drop("moving");
      this.#lost(new SwitchboardError("CONNECTION", "RECONNECT", textOf(data["reason"]) ?? "the server asked for it"));
    });
  }

  #closed(error: SwitchboardError): void {
    this.#clearTimer();
    this.#link = undefined;
    this.#lost(error);
  }

  #lost(error: SwitchboardError): void {
    const { backoff, clock, token } = this.#options;
    if (this.#state === "online") {
      this.#backoff.sessionLasted(clock.now() - this.#onlineSince);
      this.#events.offline(error);
    }
    if (backoff === undefined || !mayRetry(error, typeof token === "function")) {
      this.#finish(error);
      return;
    }
    const planned = this.#leaveAt === undefined ? undefined : Math.max(0, this.#leaveAt - clock.now());
    const retryInMs = planned ?? this.#backoff.next();
    this.#startTimer(retryInMs, () => void this.#connect());
    this.#change({ state: "waiting", error, retryInMs });
  }

  #finish(error: SwitchboardError): void {
    this.#link = undefined;
    this.#ready.fail(error);
    this.#change({ state: "closed", error });
  }

  #drop(reason: string): void {
    this.#clearTimer();
    this.#attempt++; // an answer that is still on its way belongs to nobody
    this.#link?.drop(1000, reason);
    this.#link = undefined;
  }

  #change(change: Omit<StateChange, "previous">): void {
    const previous = this.#state;
    this.#state = change.state;
    this.#events.state({ ...change, previous });
  }

  #startTimer(ms: number, run: () => void): void {
    this.#clearTimer();
    this.#timer = this.#options.clock.setTimeout(run, ms);
  }

  #clearTimer(): void {
    if (this.#timer !== undefined) this.#options.clock.clearTimeout(this.#timer as never);
    this.#timer = undefined;
  }
}
