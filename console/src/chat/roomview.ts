import { confirmed } from "../dialog.js";
import { copy } from "../clipboard.js";
import { byId, setText } from "../dom.js";
import type { Message, OwnRoom } from "./answers.js";
import type { Part } from "./chat.js";
import { Composer } from "./composer.js";
import { attempt, type Desk } from "./desk.js";
import { showMenu, type MenuItem } from "./menu.js";
import { MessageList } from "./messagelist.js";
import { showPerson } from "./person.js";
import { badge } from "./roomlist.js";
import { roomName, type RoomState } from "./roomstate.js";
import { rowsOf } from "./rows.js";
import type { RowWorld } from "./rowelements.js";
import { mayToMessage } from "./rules.js";
import { showVersions } from "./versionsdialog.js";
import { contentWords, isPlain, listed, rewritten } from "./wording.js";

/** Why a message is not edited or deleted. */
const alterProblems = {
  FORBIDDEN: "You may not change this message.",
  CONFLICT: "The message was deleted meanwhile.",
  NOT_FOUND: "The message is not there any more.",
};

/** The room that is open: its messages, and what is written to it. */
export class RoomView {
  readonly #desk: Desk;
  readonly #messages: MessageList;
  readonly #composer: Composer;
  readonly #world: RowWorld;
  /** Messages of blocked users that were asked to be shown. */
  readonly #revealed = new Set<string>();
  #state: RoomState | undefined;
  /** Whether the room is still to be opened where what is unread begins; nothing counts as seen before that. */
  #toUnread = false;

  constructor(desk: Desk) {
    this.#desk = desk;
    const { chat, signal } = desk;
    this.#messages = new MessageList(
      {
        top: () => this.#state !== undefined && void chat.history.older(this.#state),
        bottom: () => this.#bottom(),
        latest: () => void this.#latest(),
        unread: () => chat.openRoom?.unread ?? 0,
      },
      signal,
    );
    this.#composer = new Composer(
      {
        send: (text) => this.#send(text),
        edit: (message, text) => this.#edit(message, text),
        typing: () => chat.typing(),
        editing: (message) => this.#messages.markEdited(message?.seq ?? 0),
        editLast: () => void this.#editLast(),
      },
      signal,
    );
    this.#world = {
      me: chat.me,
      name: (user) => chat.people.name(user),
      withNames: true,
      online: false,
      openUser: (user) => showPerson(desk, user),
      openMenu: (message, anchor) => this.#menu(message, anchor),
      openVersions: (message) => showVersions(desk, chat.open?.id ?? "", message),
      reveal: (messages) => this.#reveal(messages),
      retry: ({ clientId }) => chat.retry(clientId),
      discard: ({ clientId }) => chat.discard(clientId),
    };
    for (const event of ["focus", "visibilitychange"]) addEventListener(event, () => this.#readIfSeen(), { signal });
    document.addEventListener("visibilitychange", () => this.#readIfSeen(), { signal });
  }

  render(parts: ReadonlySet<Part>): void {
    const { chat } = this.#desk;
    if (chat.open !== this.#state) this.#change(chat.open);
    const room = chat.openRoom;
    byId("room-open", HTMLElement).hidden = room === undefined;
    byId("nothing", HTMLElement).hidden = room !== undefined;
    if (room === undefined || this.#state === undefined) return;
    this.#head(room);
    if (parts.has("typing") || parts.has("people")) this.#typing(this.#state);
    if (parts.has("messages") || parts.has("people") || parts.has("room")) this.#list(room, this.#state);
  }

  /** Goes to a message, wherever in the history it is. */
  async goTo(seq: number): Promise<void> {
    if (this.#state === undefined) return;
    this.#state.unread = undefined;
    if (!(await this.#desk.chat.history.around(this.#state, seq))) return;
    this.render(new Set(["messages"]));
    this.#messages.toMessage(seq);
  }

  focus(): void {
    // A dialog that closes gives the focus back to what had it: this comes after.
    const dialog = document.querySelector("dialog[open]");
    if (dialog === null) this.#takeFocus();
    else dialog.addEventListener("close", () => this.#takeFocus(), { once: true });
  }

  #takeFocus(): void {
    // On screens that are touched the keyboard would hide the messages.
    if (matchMedia("(hover: hover)").matches) this.#composer.focus();
    else byId("room-title", HTMLElement).focus({ preventScroll: true });
  }

  #change(state: RoomState | undefined): void {
    if (this.#state !== undefined) this.#state.draft = this.#composer.draft;
    this.#state = state;
    this.#toUnread = state?.unread !== undefined;
    this.#messages.begin(state);
    this.#composer.draft = state?.draft ?? "";
  }

  #head(room: OwnRoom): void {
    const { people, rooms } = this.#desk.chat;
    const name = roomName(room, (user) => people.name(user));
    const title = byId("room-title", HTMLElement);
    title.dir = "auto";
    setText(title, name);
    byId("room", HTMLElement).ariaLabel = name;
    const members = room.members === 1 ? "1 member" : `${room.members} members`;
    const about = room.banner === "" ? "" : ` · ${room.banner}`;
    setText(byId("room-sub", HTMLElement), room.oneToOne ? "One to one" : `${members}${about}`);
    setText(byId("details-open", HTMLElement), room.oneToOne ? "Details" : "Members");
    const elsewhere = badge(rooms.unread - room.unread);
    byId("elsewhere", HTMLElement).hidden = elsewhere === "";
    setText(byId("elsewhere", HTMLElement), elsewhere);
    this.#composer.refused = room.with !== undefined && this.#desk.blocks.has(room.with) ? `You have blocked ${name}.` : "";
  }

  #typing(state: RoomState): void {
    const { people, me } = this.#desk.chat;
    const who = state.typists.at(Date.now()).filter((user) => user !== me && !this.#desk.blocks.has(user));
    const names = who.map((user) => people.name(user));
    setText(byId("typing", HTMLElement), names.length === 0 ? "" : `${listed(names)} ${names.length === 1 ? "is" : "are"} typing …`);
  }

  #list(room: OwnRoom, state: RoomState): void {
    const { chat, blocks } = this.#desk;
    const { timeline } = state;
    state.findUnread(chat.me);
    const hides = (user: string): boolean => !room.oneToOne && blocks.has(user) && !this.#revealed.has(`${state.id} ${user}`);
    this.#world.withNames = !room.oneToOne;
    this.#world.online = chat.line.online;
    const drafts = timeline.atEnd || !timeline.loaded ? chat.outbox.of(state.id) : [];
    const readers = state.marks.under(timeline.messages, chat.me);
    this.#messages.render(rowsOf({ messages: timeline.messages, drafts, readers, unreadFrom: state.unreadFrom, hides, now: Date.now() }), this.#world);
    if (this.#toUnread && state.unread === undefined) {
      this.#toUnread = false;
      this.#messages.toUnread();
    }
    this.#readIfSeen();
  }

  /** What is at the end and on a screen that is looked at has been read. */
  #readIfSeen(): void {
    if (!this.#toUnread && !document.hidden && document.hasFocus() && this.#messages.follows) void this.#desk.chat.read();
  }

  #bottom(): void {
    if (this.#state === undefined) return;
    if (this.#state.timeline.atEnd) this.#readIfSeen();
    else void this.#desk.chat.history.newer(this.#state);
  }

  async #latest(): Promise<void> {
    if (this.#state !== undefined) this.#state.unread = undefined;
    if (this.#state?.timeline.atEnd === false) await this.#desk.chat.history.newest(this.#state);
    this.render(new Set(["messages"]));
    this.#messages.toEnd();
    this.#readIfSeen();
    byId("scroller", HTMLElement).focus({ preventScroll: true });
  }

  #send(text: string): void {
    this.#state?.passUnread();
    this.#desk.chat.send(text);
    void this.#latest().then(() => this.#composer.focus()); // whoever writes wants to see it
  }

  async #edit(message: Message, text: string): Promise<boolean> {
    let done = false;
    await attempt(this.#desk, async () => {
      await this.#desk.chat.edit(message, rewritten(message.content, text));
      done = true;
    }, alterProblems);
    return done;
  }

  async #editLast(): Promise<void> {
    const { chat } = this.#desk;
    const state = this.#state;
    if (state?.timeline.atEnd === false) await this.#latest();
    if (state !== this.#state) return;
    const last = state?.timeline.messages.findLast((one) => one.from === chat.me && !one.deleted && isPlain(one.content));
    if (last !== undefined) this.#composer.edit(last);
  }

  #menu(message: Message, anchor: HTMLElement): void {
    const room = this.#desk.chat.openRoom;
    const state = this.#state;
    if (room === undefined || state === undefined) return;
    const { chat } = this.#desk;
    const own = message.from === chat.me;
    const items: MenuItem[] = [{ text: "Copy the text", act: () => void this.#copy(message, anchor) }];
    if (own && isPlain(message.content)) items.unshift({ text: "Edit", act: () => this.#composer.edit(message) });
    if (message.editedAt !== undefined) items.push({ text: "What it said before", act: () => showVersions(this.#desk, room.id, message) });
    items.push({ text: "Who has read it", act: () => this.#sayReaders(message, state) });
    if (!own) items.push({ text: `About ${chat.people.name(message.from)}`, act: () => showPerson(this.#desk, message.from) });
    if (mayToMessage(room, own, "delete")) items.push({ text: "Delete", danger: true, act: () => void this.#delete(message) });
    showMenu(anchor, items);
  }

  async #copy(message: Message, anchor: HTMLElement): Promise<void> {
    const where = anchor.parentElement?.querySelector<HTMLElement>(".text") ?? anchor;
    this.#desk.say((await copy(contentWords(message.content), where)) ? "Copied." : "It could not be copied.");
  }

  #sayReaders(message: Message, state: RoomState): void {
    const names = state.marks.readersOf(message, this.#desk.chat.me).map((user) => this.#desk.chat.people.name(user));
    this.#desk.say(names.length === 0 ? "Nobody else has read it yet." : `Read by ${listed(names, 20)}.`);
  }

  async #delete(message: Message): Promise<void> {
    const { signal, chat } = this.#desk;
    const words = contentWords(message.content);
    const sure = await confirmed("Delete this message?", words.length > 200 ? `${words.slice(0, 200)}…` : words, "Delete", signal);
    if (sure) await attempt(this.#desk, () => chat.delete(message), alterProblems);
  }

  #reveal(messages: readonly Message[]): void {
    if (this.#state === undefined) return;
    for (const { from } of messages) this.#revealed.add(`${this.#state.id} ${from}`);
    this.render(new Set(["messages"]));
  }
}
