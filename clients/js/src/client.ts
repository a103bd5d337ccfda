import type { BackoffOptions } from "./backoff.js";
import { Connector, type Clock, type State, type StateChange } from "./connector.js";
import { refusedHere, SwitchboardError } from "./errors.js";
import { Emitter, type Handler } from "./events.js";
import * as frames from "./frames.js";
import type { Envelope, Outgoing } from "./frames.js";
import { Inbox, soon, type Arrival } from "./inbox.js";
import type { WebSocketConstructor } from "./link.js";
import { Outbox } from "./outbox.js";
import { rawValue } from "./rawjson.js";
import { Deferred, Receipts, type Receipt } from "./receipts.js";
import { readNearbyNews, type NearbyCalls, type NearbyNews, type Position } from "./nearby.js";
import { readMatchNews, type MatchCalls, type MatchNews } from "./matches.js";
import { Asks, readNews, type RoomCalls, type RoomNews } from "./rooms.js";

export interface ClientOptions extends frames.SignInOptions {
  /** The server's address, such as `wss://example.org/ws`. */
  url: string;
  appId: string;
  userId: string;
  /** A function is asked again before every sign-in, and so can hand out fresh tokens. */
  token?: string | (() => string | Promise<string>);
  /** False: a lost connection is not tried again. Default: exponential backoff with full jitter. */
  reconnect?: boolean | BackoffOptions;
  /** Until the server has answered the sign-in, in milliseconds. Default 20 000. */
  connectTimeoutMs?: number;
  /** Larger frames are refused here, as the server would close the session. In bytes, default 65 536. */
  maxFrameBytes?: number;
  /** When more than this waits to be written, `send` refuses. In bytes, default 1 MiB. */
  maxBufferedBytes?: number;
  /** With `ack`: how many ids are remembered, and how many frames may wait for a slow handler. Default 4 096. */
  remember?: number;
  /** How many messages may wait to be stored or confirmed. Default 10 000. */
  maxPending?: number;
  /**
   * With `producer`: the number of the first message that has none, above all that
   * were ever used with it, or the server takes the message for one that it has.
   * Default: the time in microseconds, which is that unless the clock is put back.
   */
  nextSeq?: number;
  /** Default: the global one; Node before version 22 has none. */
  WebSocket?: WebSocketConstructor;
  /** A number in [0, 1). Default Math.random. */
  random?: () => number;
  clock?: Clock;
}

/** A message that was received. */
export interface Message {
  readonly from: string;
  /** The content as a value. */
  readonly content: unknown;
  /** The content byte for byte as it was sent, as JSON text. */
  readonly contentText: string;
  /** The sender's own word for it, if any. Not an identity: senders may use it again. */
  readonly reference: string | undefined;
  /** With `ack`, for RELIABLE messages: the same for every repeat. */
  readonly id: string | undefined;
  /** The name of its sender's outbox, if it has one. */
  readonly producer: string | undefined;
  /** Its number in that outbox: they rise in the order of sending; what went to others is missing. */
  readonly seq: number | undefined;
  /** When it came, in milliseconds since 1970. */
  readonly receivedAt: number;
}

export interface ClientEvents {
  /** With `ack` the message is acknowledged once every handler settled, whether it succeeded or not. */
  message: Message;
  /** The receiver has the message of this reference. */
  confirmation: { reference: string; id: string | undefined };
  /** The message of this reference is on disk. */
  stored: { reference: string };
  presence: { userId: string; online: boolean };
  /** News of a room that the user is in. A gap in `seq` is filled with `ROOM_HISTORY`. */
  room: RoomNews;
  /** What comes of a request to be matched, and what the other members of a match do. */
  match: MatchNews;
  /** Who is around, and what changes; `NearbyView` adds it up. */
  nearby: NearbyNews;
  /** The server's error frames, handlers that failed, frames that are none. Why a connection ended is in `state`. */
  error: SwitchboardError;
  state: StateChange;
  /** Every frame as it is on the wire; the sign-in's contains the token. */
  frame: { direction: "in" | "out"; text: string; at: number };
}

const realClock: Clock = {
  now: () => Date.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

type Calls = RoomCalls & MatchCalls & NearbyCalls;

/** One user's session with Switchboard, kept up over lost connections. */
export class Client {
  /** The user that signs in. */
  readonly userId: string;
  readonly #emitter = new Emitter<ClientEvents>((cause, event) => this.#handlerFailed(cause, event));
  readonly #connector: Connector;
  readonly #inbox: Inbox;
  readonly #receipts: Receipts;
  readonly #outbox: Outbox | undefined;
  /** Frames that the application is not told of: the outbox, or whoever asked, sees to them. */
  readonly #untold = new WeakSet<Envelope>();
  readonly #clock: Clock;
  readonly #ack: boolean;
  readonly #receiptsAsked: boolean;
  readonly #maxFrame: number;
  readonly #maxBuffered: number;
  readonly #asks = new Asks();
  #fetches: { reference: string; done: Deferred<{ left: number }> }[] = [];
  #fetchCount = 0;
  #session = 0;

  /** Throws a SwitchboardError when the address is no WebSocket address or there is no WebSocket to be had. */
  constructor(options: ClientOptions) {
    const { url, appId, userId, token = "", ack, receipts, push, presence, producer, reconnect = true } = options;
    this.userId = userId;
    this.#clock = options.clock ?? realClock;
    this.#ack = ack ?? false;
    this.#receiptsAsked = producer !== undefined || (receipts ?? false);
    this.#maxFrame = options.maxFrameBytes ?? 65_536;
    this.#maxBuffered = options.maxBufferedBytes ?? 1 << 20;
    this.#receipts = new Receipts(options.maxPending ?? 10_000);
    this.#outbox = producer === undefined ? undefined : this.#makeOutbox(options);
    this.#inbox = new Inbox({
      arrived: (arrival) => this.#arrived(arrival.frame),
      handle: (arrival) => this.#handle(arrival),
      acknowledge: (id) => this.#acknowledge(id),
      later: soon(),
      overflow: () => this.#overflow(),
      remember: options.remember ?? 4_096,
    });
    this.#connector = new Connector(
      {
        url: checkedUrl(url),
        appId,
        userId,
        token,
        signIn: { ack, receipts: this.#receiptsAsked, push, presence, producer },
        backoff: reconnect === true ? {} : reconnect === false ? undefined : reconnect,
        connectTimeoutMs: options.connectTimeoutMs ?? 20_000,
        WebSocket: options.WebSocket ?? globalWebSocket(),
        random: options.random ?? Math.random,
        clock: this.#clock,
      },
      {
        state: (change) => void this.#emitter.emit("state", change),
        frame: (direction, text) => void this.#emitter.emit("frame", { direction, text, at: this.#clock.now() }),
        online: (session) => this.#online(session),
        received: (frame, text) =>
          this.#inbox.push({ frame, text, session: this.#session, at: this.#clock.now() }),
        leaving: () => this.#inbox.flush(),
        offline: (error) => this.#offline(error),
        broken: (error) => void this.#emitter.emit("error", error),
      },
    );
  }

  get state(): State {
    return this.#connector.state;
  }

  /** Adds a handler; returns the function that takes it off again. */
  on<K extends keyof ClientEvents>(name: K, handler: Handler<ClientEvents[K]>): () => void {
    return this.#emitter.on(name, handler);
  }

  /**
   * Connects and signs in. Fulfilled once signed in, however many attempts
   * that takes; rejected when the sign-in was refused (also by an error of the
   * server that answers it, such as one about `presence`), `close` was called,
   * or the connection failed and is not to be tried again. With `ack` there must be
   * a `message` handler first: without one, messages would be acknowledged
   * that nobody saw.
   */
  connect(): Promise<void> {
    if (this.#ack && !this.#emitter.has("message")) {
      return Promise.reject(refusedHere("NO_HANDLER", "add a message handler before connecting with ack"));
    }
    return this.#connector.start();
  }

  /** While waiting for the next attempt: makes it now. */
  retryNow(): void {
    this.#connector.retryNow();
  }

  /**
   * Gives the session a new token from the token function, so that it does not end
   * with the old one. Fulfilled once that is sent; the server closes a session
   * whose new token it refuses. Rejected with `NOT_CONNECTED`, or with what the
   * function throws.
   */
  renew(): Promise<void> {
    return this.#connector.renew();
  }

  /** Signs out. What still waits for an answer is rejected with `CLOSED`. */
  close(): void {
    if (this.state === "online") this.#inbox.flush();
    const error = refusedHere("CLOSED", "the client was closed");
    this.#connector.stop(error);
    this.#inbox.begin(0);
    this.#outbox?.clear(error);
    this.#receipts.clear(error);
    this.#asks.lost(error);
  }

  /**
   * Sends a message. Throws a SwitchboardError when it is not sent:
   * `NOT_CONNECTED`, `BAD_CONTENT`, `TOO_LARGE`, `BUFFER_FULL`. Nothing is kept
   * for later: whether to send again is the caller's decision.
   *
   * With `producer`, RELIABLE messages go through the outbox, also while there is
   * no session; then it throws `BAD_CONTENT`, `TOO_LARGE`, `BAD_SEQ`,
   * `REFERENCE_IN_USE`, `OUTBOX_FULL`.
   */
  send(message: Outgoing): Receipt {
    if (message.feature !== "FAST") {
      if (this.#outbox !== undefined) return this.#post(this.#outbox, message);
      if (message.seq !== undefined) throw refusedHere("BAD_SEQ", "a seq needs a producer", message.reference);
    }
    this.#write(frames.messageFrame({ ...message, seq: undefined }), message.reference);
    return this.#expect(message, this.#receiptsAsked && message.feature !== "FAST");
  }

  /**
   * With `producer`: fulfilled when nothing that was sent is without its answer.
   * Rejected with `CLOSED` by `close`.
   */
  flush(): Promise<void> {
    return this.#outbox?.flush() ?? Promise.resolve();
  }

  /**
   * Asks for at most `count` missed messages; they arrive as `message` events,
   * and other kinds as theirs. Fulfilled with the number that is left when
   * all have arrived; asynchronous handlers may still be at work then.
   */
  fetchMissing(count = 100): Promise<{ left: number }> {
    const reference = `fetch-${++this.#fetchCount}`;
    const done = new Deferred<{ left: number }>();
    try {
      this.#write(frames.fetchFrame(count, reference), reference);
      this.#fetches.push({ reference, done });
    } catch (error) {
      done.fail(error);
    }
    return done.promise;
  }

  /**
   * Sends a frame about rooms, matches or positions. Fulfilled with the data of its answer; rejected with the server's error, when it
   * cannot be sent, as `send` throws, and when the connection breaks before the answer (`mayYetArrive`: send it
   * again, a message with the same `clientId`).
   */
  async ask<K extends keyof Calls>(type: K, data: Calls[K][0]): Promise<Calls[K][1]> {
    const { reference, answer, forget } = this.#asks.begin<Calls[K][1]>();
    try {
      this.#write(JSON.stringify({ type, data, reference }), reference);
    } catch (error) {
      forget();
      throw error;
    }
    return answer;
  }

  /** Tells the others in a room that the user is writing; once a second is enough. Nothing comes of it without a session. */
  typing(room: string): void {
    if (this.state === "online") this.#write(JSON.stringify({ type: "ROOM_TYPING", data: { room } }), undefined);
  }

  /**
   * Sends a message to the other members of a match, or to some of them: FAST, or RELIABLE, which waits in the mailbox of
   * who is away. It throws as `send` does without `producer`; a refusal arrives as an `error` event, too. A RELIABLE one with
   * a `reference` is confirmed where `to` names one receiver, and said to be stored with `receipts`.
   */
  sendMatch(match: string, content: unknown, options: { reliable?: boolean; to?: string[]; reference?: string } = {}): Receipt {
    const { reliable = false, to, reference } = options;
    const feature = reliable ? { feature: "RELIABLE" } : {};
    this.#write(JSON.stringify({ type: "MATCH_MESSAGE", data: { match, content, to }, ...feature, reference }), reference);
    const receivers = new Set(to).size;
    return this.#receipts.expect({ reference, seq: undefined, stored: reliable && this.#receiptsAsked, confirmed: reliable && receivers === 1, receivers: Math.max(receivers, 1) });
  }

  /** Says where the user is. It throws as `send` does; a refusal arrives as an `error` event. */
  position(position: Position): void {
    this.#write(JSON.stringify({ type: "POSITION", data: position }), undefined);
  }

  /** Looks away from what `NEARBY_WATCH` looks at under this ID. */
  unwatch(id: string): void {
    this.#write(JSON.stringify({ type: "NEARBY_UNWATCH", data: { id } }), undefined);
  }

  /** As the app's master user: closes all sessions of a user. A refusal arrives as an `error` event. */
  closeConnection(userId: string, reference?: string): void {
    this.#write(frames.closeConnectionFrame(userId, reference), reference);
  }

  #expect(message: frames.Numbered, stored: boolean): Receipt {
    const { reference, seq, to } = message;
    const direct = typeof to === "string";
    return this.#receipts.expect({
      reference,
      seq,
      stored,
      confirmed: direct && message.confirmationEnabled !== false,
      receivers: direct ? 1 : new Set(to).size,
    });
  }

  /** Sends a message through the outbox. One without a reference gets one, for the server's answer, and no confirmation. */
  #post(outbox: Outbox, message: Outgoing): Receipt {
    const reference = message.reference ?? newReference();
    const seq = outbox.number(message.seq, reference);
    const confirmationEnabled = message.reference === undefined ? false : message.confirmationEnabled;
    const numbered = { ...message, reference, seq, confirmationEnabled };
    const frame = frames.messageFrame(numbered);
    this.#checkSize(frame, reference);
    const receipt = this.#expect(numbered, true);
    outbox.add(seq, reference, typeof message.to === "string" ? 1 : new Set(message.to).size, frame);
    return receipt;
  }

  #makeOutbox(options: ClientOptions): Outbox {
    return new Outbox({
      write: (frame) => {
        if (this.#connector.buffered + byteLength(frame) > this.#maxBuffered && this.#connector.buffered > 0) return false;
        this.#connector.send(frame);
        return true;
      },
      first: options.nextSeq ?? this.#clock.now() * 1_000,
      limit: options.maxPending ?? 10_000,
      backoff: typeof options.reconnect === "object" ? options.reconnect : {},
      random: options.random ?? Math.random,
      clock: this.#clock,
    });
  }

  #checkSize(text: string, reference: string | undefined): number {
    const bytes = byteLength(text);
    if (bytes > this.#maxFrame) {
      throw refusedHere("TOO_LARGE", `the frame has ${bytes} bytes; the limit is ${this.#maxFrame}`, reference);
    }
    return bytes;
  }

  #write(text: string, reference: string | undefined): void {
    if (this.state !== "online") throw refusedHere("NOT_CONNECTED", "there is no signed-in session", reference);
    const bytes = this.#checkSize(text, reference);
    if (this.#connector.buffered + bytes > this.#maxBuffered) {
      throw refusedHere("BUFFER_FULL", "too much waits to be sent", reference);
    }
    this.#connector.send(text);
  }

  #online(session: number): void {
    this.#session = session;
    this.#inbox.begin(session);
    this.#outbox?.begin();
  }

  #offline(error: SwitchboardError): void {
    this.#inbox.begin(0);
    this.#outbox?.end();
    this.#receipts.lost(error);
    this.#asks.lost(error);
    const fetches = this.#fetches;
    this.#fetches = [];
    for (const { done } of fetches) done.fail(error);
  }

  #acknowledge(id: string): void {
    if (this.state === "online") this.#connector.send(frames.ackFrame(id));
  }

  #overflow(): void {
    const error = refusedHere("TOO_SLOW", "too many messages wait for their handler; the session starts anew");
    void this.#emitter.emit("error", error);
    this.#connector.restart(error);
  }

  /** What promises wait for is settled at once, so that a handler may wait for it. */
  #arrived(frame: Envelope): void {
    const reference = frames.textOf(frame.data["reference"]);
    switch (frame.type) {
      case "MESSAGE_CONFIRMATION":
        if (reference !== undefined) this.#receipts.confirmed(reference);
        break;
      case "MESSAGE_STORED":
        if (reference === undefined) break;
        if (this.#outbox?.stored(reference) === false) this.#untold.add(frame);
        else this.#receipts.stored(reference);
        break;
      case "FETCH_MISSING_MESSAGES_COMPLETE":
        this.#fetches.shift()?.done.fulfil({ left: Number(frame.data["leftMissingCount"] ?? 0) });
        break;
      case "GENERAL_ERROR":
      case "INVALID_MESSAGE":
      case "DELIVER_FAILED":
        this.#refused(frame);
        break;
      case "MATCH_MESSAGE":
        break; // its reference is its sender's
      default:
        // What is around is news, too, so that all frames about it are in one order.
        if (this.#asks.answered(frame) && frame.type !== "NEARBY") this.#untold.add(frame);
    }
  }

  #refused(frame: Envelope): void {
    const error = frames.readError(frame);
    if (this.#asks.failed(error)) {
      this.#untold.add(frame); // whoever asked hears of it
      return;
    }
    if (this.#outbox?.failed(error) === false) this.#untold.add(frame);
    else this.#failed(error);
  }

  #failed(error: SwitchboardError): void {
    const at = this.#fetches.findIndex(({ reference }) => reference === error.reference);
    const [fetch] = at < 0 ? [] : this.#fetches.splice(at, 1);
    if (fetch !== undefined) fetch.done.fail(error);
    else this.#receipts.failed(error);
  }

  #handle({ frame, text, at }: Arrival): Promise<void> | undefined {
    if (this.#untold.has(frame)) return undefined;
    const { data, id } = frame;
    const reference = frames.textOf(data["reference"]);
    switch (frame.type) {
      case "MESSAGE":
        return this.#emitter.emit("message", {
          from: frames.textOf(data["from"]) ?? "",
          content: data["content"],
          get contentText() {
            return rawValue(text, ["data", "content"]) ?? "null";
          },
          reference: frame.reference,
          id,
          producer: frame.producer,
          seq: frame.seq,
          receivedAt: at,
        });
      case "MESSAGE_CONFIRMATION":
        return reference === undefined ? undefined : this.#emitter.emit("confirmation", { reference, id });
      case "MESSAGE_STORED":
        return reference === undefined ? undefined : this.#emitter.emit("stored", { reference });
      case "USER_CONNECTED":
      case "USER_DISCONNECTED": {
        const userId = frames.textOf(data["userId"]) ?? "";
        return this.#emitter.emit("presence", { userId, online: frame.type === "USER_CONNECTED" });
      }
      case "GENERAL_ERROR":
      case "INVALID_MESSAGE":
      case "DELIVER_FAILED":
        return this.#emitter.emit("error", frames.readError(frame));
      default: {
        const news = readNews(frame); // of frames of a later protocol there is none: the frame event shows them
        if (news !== undefined) return this.#emitter.emit("room", news);
        const match = readMatchNews(frame);
        if (match !== undefined) return this.#emitter.emit("match", match);
        const nearby = readNearbyNews(frame);
        return nearby === undefined ? undefined : this.#emitter.emit("nearby", nearby);
      }
    }
  }

  #handlerFailed(cause: unknown, event: keyof ClientEvents): void {
    if (event === "error") {
      // Nobody is left to tell but the environment's own handler of uncaught errors.
      queueMicrotask(() => {
        throw cause;
      });
      return;
    }
    const reason = `a handler of ${event} failed: ${cause instanceof Error ? cause.message : String(cause)}`;
    void this.#emitter.emit("error", new SwitchboardError("CLIENT", "HANDLER_FAILED", reason, { cause }));
  }
}

let references = 0;

/** A reference that no other call in this process returned, and hardly any elsewhere. */
export function newReference(): string {
  references++;
  return `${references.toString(36)}-${Math.random().toString(36).slice(2, 8)}`;
}

function checkedUrl(url: string): string {
  let protocol = "";
  try {
    protocol = new URL(url).protocol;
  } catch {
    // told below
  }
  if (protocol !== "ws:" && protocol !== "wss:") {
    throw refusedHere("BAD_URL", "the address must begin with ws:// or wss://");
  }
  return url;
}

function globalWebSocket(): WebSocketConstructor {
  const found = (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  if (found === undefined) throw refusedHere("NO_WEBSOCKET", "there is no global WebSocket: pass one in");
  return found;
}

function byteLength(text: string): number {
  let bytes = text.length;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit > 0x7f) bytes += unit > 0x7ff && (unit & 0xf800) !== 0xd800 ? 2 : 1;
  }
  return bytes;
}
