import { newReference, type StateChange } from "@switchboard/client";
import type { Api } from "../api.js";
import { items, number, readChange, readMember, readMessage, readOwnRoom, readRole, readRoom, text, time, type Data, type Message, type OwnRoom } from "./answers.js";
import { History } from "./history.js";
import { Line, type Asked } from "./line.js";
import { Outbox, type Drawer, type Draft } from "./outbox.js";
import { People } from "./people.js";
import { Renewal } from "./renewal.js";
import { RoomList } from "./roomlist.js";
import { RoomState } from "./roomstate.js";
import type { Session } from "./session.js";
import { explained, mayPass, type Sentences } from "./problems.js";

/** How long to wait before what the server could not do is tried again. */
const againMs = 2_000;

/** A sign of typing is sent at most so often. */
const typingEveryMs = 2_000;

/** What of the page is to be brought up to date. */
export type Part = "line" | "rooms" | "room" | "messages" | "members" | "typing" | "people";

export interface ChatOptions {
  api: Api;
  session: Session;
  url: string;
  drawer: Drawer;
  /** Parts have changed; said once for all that changes in one go. */
  changed(parts: ReadonlySet<Part>): void;
  /** Somebody else said something. */
  said(room: OwnRoom, message: Message): void;
  /** Something happened that nobody here has asked for, in a sentence. */
  notice(text: string): void;
}

/** All that one who is signed in has at hand, kept in step with the server. */
export class Chat {
  readonly me: string;
  readonly api: Api;
  readonly people: People;
  readonly rooms: RoomList;
  readonly outbox: Outbox;
  readonly line: Line;
  readonly history: History;
  readonly #renewal: Renewal;
  readonly #options: ChatOptions;
  readonly #states = new Map<string, RoomState>();
  readonly #parts = new Set<Part>();
  #open: RoomState | undefined;
  #lineState: StateChange = { state: "idle", previous: "idle" };
  #listed = false;
  #listing: Promise<void> | undefined;
  #typedAt = 0;
  #typingTimer = 0;
  #againTimer = 0;
  #reading = false;
  #over = false;

  constructor(options: ChatOptions) {
    this.#options = options;
    this.me = options.session.userId;
    this.api = options.api;
    this.people = new People(options.api, () => this.#changed("people"));
    this.rooms = new RoomList(this.me);
    this.outbox = new Outbox(options.drawer);
    this.line = new Line(options.url, { appId: options.session.appId, userId: this.me, access: () => options.session.access() }, {
      state: (change) => this.#line(change),
      news: (type, data) => this.#take(type, data),
    });
    this.#renewal = new Renewal(() => options.session.renewAt, () => this.line.online && this.line.renew());
    this.history = new History((where) => this.line.ask("ROOM_HISTORY", where), () => this.#changed("messages"));
  }

  /** The room that is shown. */
  get open(): RoomState | undefined {
    return this.#open;
  }

  get openRoom(): OwnRoom | undefined {
    return this.#open === undefined ? undefined : this.rooms.get(this.#open.id);
  }

  get lineState(): StateChange {
    return this.#lineState;
  }

  /** Whether the list of rooms has been read. */
  get listed(): boolean {
    return this.#listed;
  }

  start(): void {
    this.people.profile(this.me);
    this.line.start();
  }

  stop(): void {
    this.#over = true;
    window.clearTimeout(this.#againTimer);
    window.clearTimeout(this.#typingTimer);
    this.#renewal.stop();
    this.line.close();
  }

  // Rooms

  /** Reads the list of rooms anew; once, however many ask meanwhile. */
  list(): Promise<void> {
    this.#listing ??= this.#list().finally(() => (this.#listing = undefined));
    return this.#listing;
  }

  async #list(): Promise<void> {
    const rooms: OwnRoom[] = [];
    let after: string | undefined;
    do {
      const page: Data = await this.line.ask("ROOM_LIST", { limit: 200, ...(after === undefined ? {} : { after }) });
      for (const data of items(page["rooms"])) {
        const room = readOwnRoom(data);
        if (room !== undefined) rooms.push(room);
      }
      after = text(page["next"]) === "" ? undefined : text(page["next"]);
    } while (after !== undefined);
    this.rooms.replace(rooms);
    this.#listed = true;
    if (this.#open !== undefined && this.rooms.get(this.#open.id) === undefined) this.close();
    this.#changed("rooms", "room");
  }

  /** Shows a room of the list. */
  show(id: string): void {
    const room = this.rooms.get(id);
    if (this.#open?.id === id || room === undefined) return;
    const known = this.#states.get(id);
    const state = known ?? new RoomState(id);
    this.#states.set(id, state);
    state.passUnread();
    if (room.unread > 0) state.unread = { after: room.readSeq, count: room.unread, upTo: room.lastSeq };
    this.#open = state;
    this.#changed("rooms", "room", "messages", "members", "typing");
    void this.#refresh(state);
  }

  close(): void {
    this.#open = undefined;
    this.#changed("rooms", "room", "messages", "members", "typing");
  }

  /** Makes a room, or finds the one-to-one room that there is; resolves to its ID. */
  async create(room: Asked<"ROOM_CREATE">): Promise<string> {
    const made = await this.line.ask("ROOM_CREATE", room);
    await this.list();
    return text(made["id"]);
  }

  async join(id: string): Promise<void> {
    await this.line.ask("ROOM_JOIN", { room: id });
    await this.list();
  }

  async leave(id: string): Promise<void> {
    await this.line.ask("ROOM_LEAVE", { room: id });
    this.#gone(id);
  }

  /** Deletes the room for everybody. */
  async closeForAll(id: string): Promise<void> {
    await this.line.ask("ROOM_CLOSE", { room: id });
    this.#gone(id);
  }

  /** Asks for a change of the room or its members, and takes the answer as news. */
  async change<Q extends keyof typeof answerTypes>(type: Q, data: Asked<Q>): Promise<void> {
    this.#take(answerTypes[type], await this.line.ask(type, data));
  }

  // The open room

  /** Reads more of the members. */
  async moreMembers(): Promise<void> {
    const state = this.#open;
    if (state !== undefined) await this.#members(state);
  }

  async #members(state: RoomState): Promise<void> {
    const after = state.membersNext;
    const page = await this.line.ask("ROOM_MEMBERS", { room: state.id, limit: 100, ...(after === undefined ? {} : { after }) });
    if (after === undefined) state.members = [];
    for (const data of items(page["members"])) state.put(readMember(data));
    state.membersNext = text(page["next"]) === "" ? undefined : text(page["next"]);
    state.membersLoaded = true;
    this.#changed("members", "messages");
  }

  /** Brings an opened room up to date. */
  async #refresh(state: RoomState): Promise<void> {
    if (!this.line.online) return;
    state.membersNext = undefined;
    void this.#members(state).catch(() => undefined); // what is known of them stays
    await this.history.refresh(state, this.rooms.get(state.id)?.lastSeq ?? 0);
    await this.history.unread(state, this.me);
    await this.#fill(state); // what came while the page was read
  }

  /** Reads what is missing at the end, until nothing is. */
  async #fill(state: RoomState): Promise<void> {
    await this.history.fill(state);
    const { loaded, missingAfter } = state.timeline;
    if ((loaded && missingAfter === undefined) || state !== this.#open || !this.line.online || this.#over) return;
    window.setTimeout(() => state === this.#open && void (loaded ? this.#fill(state) : this.#refresh(state)), againMs);
  }

  // Messages

  /** Sends a text: it is shown at once, and stays until the server has it. */
  send(content: string): void {
    const state = this.#open;
    if (state === undefined) return;
    this.outbox.add({ clientId: `${newReference()}-${Date.now().toString(36)}`, room: state.id, content, at: Date.now() });
    this.#typedAt = 0;
    this.#changed("messages");
    this.#post();
  }

  retry(clientId: string): void {
    this.outbox.again(clientId);
    this.#changed("messages");
    this.#post();
  }

  discard(clientId: string): void {
    this.outbox.drop(clientId);
    this.#changed("messages");
  }

  /** Sends what waits. */
  #post(): void {
    if (!this.line.online) return;
    for (const draft of this.outbox.take()) void this.#postOne(draft);
    this.#changed("messages");
  }

  async #postOne({ room, content, clientId, at }: Draft): Promise<void> {
    try {
      const sent = await this.line.ask("ROOM_SEND", { room, content, clientId });
      this.outbox.sent(clientId);
      const message = readMessage({ ...sent, from: this.me, content });
      if (message !== undefined) this.#arrived(room, { ...message, at: time(sent["at"]) ?? at });
    } catch (error) {
      if (mayPass(error)) {
        this.outbox.again(clientId);
        if (this.line.online) this.#later();
      } else {
        this.outbox.failed(clientId, explained(error, this.#refusals(room)));
      }
    }
    this.#changed("messages");
    if (this.#againTimer === 0) this.#post();
  }

  /** What a refused message means, which goes by the kind of room. */
  #refusals(room: string): Sentences {
    const other = this.rooms.get(room)?.with;
    if (other === undefined) return { FORBIDDEN: "You may not write in this room.", NOT_FOUND: "You are not in this room any more." };
    return { FORBIDDEN: `${this.people.name(other)} does not want to hear from you, or is not here any more.` };
  }

  /** Tries again in a while. */
  #later(): void {
    if (this.#againTimer !== 0 || this.#over) return;
    this.#againTimer = window.setTimeout(() => {
      this.#againTimer = 0;
      this.#post();
    }, againMs);
  }

  async edit(message: Message, content: unknown): Promise<void> {
    await this.#alter((room) => this.line.ask("ROOM_EDIT", { room, id: message.id, content }));
  }

  async delete(message: Message): Promise<void> {
    await this.#alter((room) => this.line.ask("ROOM_DELETE", { room, id: message.id }));
  }

  async #alter(ask: (room: string) => Promise<Data>): Promise<void> {
    const state = this.#open;
    if (state === undefined) return;
    state.timeline.changed(readChange(await ask(state.id)));
    this.#changed("messages");
  }

  /** Everything in the open room has been seen. */
  async read(): Promise<void> {
    const room = this.openRoom;
    const state = this.#open;
    if (room === undefined || state === undefined || this.#reading || !this.line.online || !state.timeline.atEnd) return;
    const seq = state.timeline.last;
    if (seq <= room.readSeq) return;
    this.#reading = true;
    try {
      await this.line.ask("ROOM_READ", { room: room.id, seq });
      this.rooms.read(room.id, seq, state.timeline.messages);
      this.#changed("rooms");
    } catch {
      // The next message, or the next look, says it again.
    } finally {
      this.#reading = false;
    }
  }

  /** Somebody writes here. */
  typing(): void {
    const now = Date.now();
    if (this.#open === undefined || now - this.#typedAt < typingEveryMs) return;
    this.#typedAt = now;
    this.line.typing(this.#open.id);
  }

  // What comes from the server

  #line(change: StateChange): void {
    this.#lineState = change;
    if (change.state === "online") {
      this.#renewal.start();
      void this.#online();
    } else {
      this.outbox.offline();
    }
    this.#changed("line", "messages");
  }

  async #online(): Promise<void> {
    try {
      await this.list();
    } catch (error) {
      if (this.line.online) {
        this.#options.notice(explained(error));
        window.setTimeout(() => this.line.online && void this.#online(), againMs);
      }
      return;
    }
    this.#post();
    if (this.#open !== undefined) await this.#refresh(this.#open);
  }

  #take(type: string, data: Data): void {
    const room = text(data["room"]);
    const state = this.#states.get(room);
    switch (type) {
      case "ROOM_MESSAGE": {
        const message = readMessage(data);
        if (message !== undefined) this.#heard(room, message);
        return;
      }
      case "ROOM_MESSAGE_CHANGED":
        state?.timeline.changed(readChange(data));
        this.#changed("messages");
        return;
      case "ROOM_READ_BY":
        this.#readBy(room, text(data["user"]), number(data["seq"]));
        return;
      case "ROOM_TYPING":
        state?.typists.typing(text(data["user"]), Date.now());
        this.#typing();
        return;
      case "ROOM_CHANGED":
        this.#roomChanged(data);
        return;
      case "ROOM_MEMBER_JOINED":
      case "ROOM_MEMBER_LEFT":
      case "ROOM_MEMBER_CHANGED":
        this.#memberNews(type, room, data);
        return;
      default: // of a later protocol
    }
  }

  #heard(room: string, message: Message): void {
    const known = this.rooms.get(room);
    if (known === undefined) {
      void this.list().catch(() => undefined);
      return;
    }
    this.#states.get(room)?.typists.done(message.from);
    if (this.#arrived(room, message) && message.from !== this.me) this.#options.said(this.rooms.get(room) ?? known, message);
    this.#changed("typing");
  }

  /** Puts a new message in its place; false when it was there. */
  #arrived(room: string, message: Message): boolean {
    const isNew = message.seq > (this.rooms.get(room)?.lastSeq ?? 0);
    this.rooms.said(room, message);
    const state = this.#states.get(room);
    const arrived = state?.timeline.live(message);
    if (state !== undefined && arrived === "gap") void this.#fill(state);
    this.#changed("rooms", "messages");
    return isNew;
  }

  #readBy(room: string, user: string, seq: number): void {
    const state = this.#states.get(room);
    state?.marks.set(user, seq);
    if (user === this.me) this.rooms.read(room, seq, state?.timeline.messages);
    this.#changed("messages", "rooms");
  }

  #roomChanged(data: Data): void {
    const room = readRoom(data);
    if (room === undefined) return;
    if (data["deleted"] === true) {
      const name = this.rooms.get(room.id)?.name;
      this.#gone(room.id);
      if (name !== undefined) this.#options.notice(`The room ${name} was deleted.`);
      return;
    }
    if (!this.rooms.changed(room)) void this.list().catch(() => undefined);
    this.#changed("rooms", "room");
  }

  #memberNews(type: string, room: string, data: Data): void {
    const user = text(data["user"]);
    const state = this.#states.get(room);
    if (type === "ROOM_MEMBER_LEFT") {
      if (user === this.me) this.#putOut(room, text(data["reason"]), text(data["by"]));
      else if (this.#knows(state, user)) this.rooms.counted(room, -1);
      state?.remove(user);
    } else if (user === this.me && this.rooms.get(room) === undefined) {
      void this.list().catch(() => undefined);
    } else {
      if (text(data["role"]) === "") return; // of one who is no member, such as a ban that was lifted
      const role = readRole(data["role"]);
      if (type === "ROOM_MEMBER_JOINED" && !this.#knows(state, user, false)) this.rooms.counted(room, 1);
      state?.put({ user, role, readSeq: 0 });
      if (user === this.me && type === "ROOM_MEMBER_CHANGED") this.rooms.update(room, { role });
      // There is one owner: who hands the room over is none any more.
      if (role === "owner" && user !== this.me) void this.list().catch(() => undefined);
    }
    this.#changed("rooms", "room", "members", "messages");
  }

  /** Whether somebody is among the members at hand; where not all are, as told. */
  #knows(state: RoomState | undefined, user: string, otherwise = true): boolean {
    if (state?.membersLoaded !== true) return otherwise;
    return state.members.some((one) => one.user === user) || (otherwise && state.membersNext !== undefined);
  }

  #putOut(room: string, reason: string, by: string): void {
    const name = this.rooms.get(room)?.name;
    this.#gone(room);
    if (name === undefined || reason === "left") return;
    this.#options.notice(`${this.people.name(by)} ${reason === "banned" ? "banned you from" : "removed you from"} ${name}.`);
  }

  /** A room that this user is not in any more. */
  #gone(id: string): void {
    this.rooms.remove(id);
    this.#states.delete(id);
    if (this.#open?.id === id) this.close();
    this.#changed("rooms");
  }

  /** Who types is shown as long as that is so. */
  #typing(): void {
    this.#changed("typing");
    window.clearTimeout(this.#typingTimer);
    const next = this.#open?.typists.next;
    if (next !== undefined) this.#typingTimer = window.setTimeout(() => this.#typing(), Math.max(next - Date.now(), 0) + 20);
  }

  #changed(...parts: Part[]): void {
    if (this.#parts.size === 0) {
      queueMicrotask(() => {
        const all = new Set(this.#parts);
        this.#parts.clear();
        if (!this.#over) this.#options.changed(all);
      });
    }
    for (const part of parts) this.#parts.add(part);
  }
}

/** What answers a question, where the answer is news as well. */
const answerTypes = {
  ROOM_UPDATE: "ROOM_CHANGED",
  ROOM_INVITE: "ROOM_MEMBER_JOINED",
  ROOM_REMOVE: "ROOM_MEMBER_LEFT",
  ROOM_BAN: "ROOM_MEMBER_LEFT",
  ROOM_ROLE: "ROOM_MEMBER_CHANGED",
} as const;
