import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import { WebSocketServer, type WebSocket } from "ws";

/** What a client sent, parsed. */
export interface ClientFrame {
  type: string;
  data: Record<string, unknown>;
  reference?: string;
  feature?: string;
  confirmationEnabled?: boolean;
  ttl?: number;
  seq?: number;
}

interface Letter {
  id: string;
  frame: object;
}

interface Session {
  socket: WebSocket;
  user: string;
  options: { ack?: boolean; receipts?: boolean; push?: boolean; presence?: string[] };
  unacknowledged: Letter[];
}

/**
 * A small server that speaks the protocol over real sockets and keeps mailboxes
 * in memory, so that the client's tests need nothing that is built elsewhere.
 * It delivers by the first session of a user and proves by the acknowledgement;
 * without `ack`, sending is proof enough here.
 */
export class TestServer {
  /** Every frame that arrived, oldest first. */
  readonly received: ClientFrame[] = [];
  /** Refuses the next sign-ins with this code. */
  refuse: string | undefined;
  /** What a refusal names as the URL where the user lives. */
  home: string | undefined;
  /** Answers the next sign-ins with this frame, and waits for others. */
  answer: object | undefined;
  /** While true, sign-ins get no answer. */
  silent = false;
  /** While true, messages get no answer and go nowhere. */
  holding = false;
  readonly #sessions = new Set<Session>();
  readonly #mailboxes = new Map<string, Letter[]>();
  readonly #waiting = new Set<() => void>();
  #server: WebSocketServer | undefined;
  #port = 0;

  async start(): Promise<void> {
    const server = new WebSocketServer({ host: "127.0.0.1", port: this.#port });
    server.on("connection", (socket) => this.#serve(socket));
    await new Promise((resolve, reject) => server.on("listening", resolve).on("error", reject));
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.#port}/ws`;
  }

  /** Stops listening and breaks every connection; mailboxes stay. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    for (const socket of server.clients) socket.terminate();
    await new Promise((resolve) => server.close(resolve));
  }

  /** Breaks every connection as a lost network would. */
  drop(): void {
    for (const socket of this.#server?.clients ?? []) socket.terminate();
  }

  /** Closes every connection with a code. */
  closeAll(code: number, reason = ""): void {
    for (const socket of this.#server?.clients ?? []) socket.close(code, reason);
  }

  /** Sends a frame, or any text, to every session of a user. */
  push(user: string, frame: object | string): void {
    const text = typeof frame === "string" ? frame : JSON.stringify(frame);
    for (const session of this.#sessions) if (session.user === user) session.socket.send(text);
  }

  /** Puts a message into a mailbox or sends it, as a sender would. */
  deliver(user: string, frame: object): string {
    const letter = { id: randomUUID(), frame };
    this.#deliver(user, letter);
    return letter.id;
  }

  mailbox(user: string): Letter[] {
    return this.#mailboxes.get(user) ?? [];
  }

  /** The frames of one type that arrived. */
  of(type: string): ClientFrame[] {
    return this.received.filter((frame) => frame.type === type);
  }

  /** Waits until something holds; it is looked at after every frame and every closed connection. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }

  #woken(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  #serve(socket: WebSocket): void {
    let session: Session | undefined;
    socket.on("message", (data: Buffer) => {
      const frame = JSON.parse(data.toString()) as ClientFrame;
      this.received.push(frame);
      if (frame.type === "AUTH_CLIENT") session = this.#signIn(socket, frame);
      else if (session !== undefined) this.#act(session, frame);
      this.#woken();
    });
    socket.on("close", () => {
      if (session !== undefined) {
        this.#sessions.delete(session);
        this.#mailboxes.set(session.user, [...session.unacknowledged, ...this.mailbox(session.user)]);
      }
      this.#woken();
    });
  }

  #signIn(socket: WebSocket, { data }: ClientFrame): Session | undefined {
    if (this.silent) return undefined;
    if (this.answer !== undefined) {
      socket.send(JSON.stringify(this.answer));
      return undefined;
    }
    const { appId, userId } = data;
    const reply = { appId, userId, isAuthenticated: this.refuse === undefined };
    if (this.refuse !== undefined) {
      const refusal = { ...reply, code: this.refuse, reason: "not today", home: this.home };
      socket.send(JSON.stringify({ type: "AUTH_CLIENT_REPLY", data: refusal }));
      socket.close(4002, "NOT_AUTHENTICATED");
      return undefined;
    }
    socket.send(JSON.stringify({ type: "AUTH_CLIENT_REPLY", data: reply }));
    const options = (data["options"] ?? {}) as Session["options"];
    const session: Session = { socket, user: userId as string, options, unacknowledged: [] };
    this.#sessions.add(session);
    if (options.push === true) this.#fetch(session, Infinity);
    return session;
  }

  #act(session: Session, frame: ClientFrame): void {
    switch (frame.type) {
      case "MESSAGE":
      case "GROUP_MESSAGE":
        if (!this.holding) this.#message(session, frame);
        break;
      case "MESSAGE_ACK": {
        const at = session.unacknowledged.findIndex(({ id }) => id === frame.data["id"]);
        session.unacknowledged.splice(0, at + 1);
        break;
      }
      case "FETCH_MISSING_MESSAGES_REQUEST": {
        const left = this.#fetch(session, frame.data["count"] as number);
        this.#answer(session, "FETCH_MISSING_MESSAGES_COMPLETE", { leftMissingCount: left });
        break;
      }
      case "CLOSE_CONNECTION":
        this.#answer(session, "GENERAL_ERROR", { code: "FORBIDDEN", reason: "no master" }, frame.reference);
        break;
      default:
    }
  }

  #message(session: Session, frame: ClientFrame): void {
    const { reference, feature } = frame;
    const group = frame.type === "GROUP_MESSAGE";
    const receivers = group ? (frame.data["to"] as string[]) : [frame.data["to"] as string];
    const bad = receivers.filter((user) => !/^\w+-\d+$/.test(user));
    if (bad.length > 0) {
      const data = { reason: "no user ID", to: group ? bad : bad[0] };
      if (group) this.#answer(session, "DELIVER_FAILED", { code: "BAD_RECEIVER", ...data }, reference);
      else this.#answer(session, "INVALID_MESSAGE", { code: "BAD_FIELD", reason: data.reason }, reference);
    }
    if (bad.length === receivers.length) return;
    if (session.options.receipts === true && reference !== undefined && feature !== "FAST") {
      this.#answer(session, "MESSAGE_STORED", { reference });
    }
    for (const user of receivers.filter((one) => !bad.includes(one))) {
      const data = { from: session.user, content: frame.data["content"] };
      const out = { type: "MESSAGE", data, ...(reference === undefined ? {} : { reference }) };
      if (feature === "FAST") this.push(user, out);
      else this.deliver(user, out);
    }
    if (!group && reference !== undefined && frame.confirmationEnabled !== false) {
      this.deliver(session.user, { type: "MESSAGE_CONFIRMATION", data: { reference } });
    }
  }

  #deliver(user: string, letter: Letter): void {
    for (const session of this.#sessions) {
      if (session.user !== user) continue;
      this.#send(session, letter);
      return;
    }
    this.#mailboxes.set(user, [...this.mailbox(user), letter]);
  }

  #fetch(session: Session, count: number): number {
    const mailbox = this.mailbox(session.user);
    for (const letter of mailbox.slice(0, count)) this.#send(session, letter);
    const left = mailbox.slice(count);
    this.#mailboxes.set(session.user, left);
    return left.length;
  }

  #send(session: Session, letter: Letter): void {
    if (session.options.ack === true) session.unacknowledged.push(letter);
    const id = session.options.ack === true ? { id: letter.id } : {};
    session.socket.send(JSON.stringify({ ...letter.frame, ...id }));
  }

  #answer(session: Session, type: string, data: object, reference?: string): void {
    session.socket.send(JSON.stringify({ type, data, ...(reference === undefined ? {} : { reference }) }));
  }
}
