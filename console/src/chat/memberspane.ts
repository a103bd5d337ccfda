import { confirmed } from "../dialog.js";
import { button, byId, element } from "../dom.js";
import { items, readProfile, text, type Data, type Member, type OwnRoom, type Role } from "./answers.js";
import { avatar } from "./avatar.js";
import type { Part } from "./chat.js";
import { attempt, type Desk } from "./desk.js";
import { askForm } from "./formdialog.js";
import { showMenu, type MenuItem } from "./menu.js";
import { showPerson } from "./person.js";
import type { RoomState } from "./roomstate.js";
import { editRoom, inviteSomebody } from "./roomforms.js";
import { mayInRoom, mayToMember, type MemberDeed } from "./rules.js";

const roleOrder: Readonly<Record<Role, number>> = { owner: 0, moderator: 1, member: 2 };

/** Why nothing is done to a member. */
const dealProblems = { FORBIDDEN: "You may not do this to this person any more.", NOT_FOUND: "This person is not in the room any more." };

/** From so many characters on what a room is about is long. */
const longBanner = 160;

/** Who is in the room, and what one may do to it and to them. */
export class MembersPane {
  readonly #desk: Desk;
  readonly #body = byId("aside-body", HTMLElement);
  #shown = "";
  /** The room whose long text is shown in full. */
  #unfolded = "";

  constructor(desk: Desk) {
    this.#desk = desk;
  }

  get title(): string {
    return this.#desk.chat.openRoom?.oneToOne === true ? "Details" : "Members";
  }

  /** Draws it anew when it is opened. */
  begin(): void {
    this.#shown = "";
    this.render(new Set(["members"]));
  }

  render(parts: ReadonlySet<Part>): void {
    const { chat, blocks } = this.#desk;
    const room = chat.openRoom;
    const state = chat.open;
    if (room === undefined || state === undefined) return;
    if (!["room", "members", "people", "rooms"].some((part) => parts.has(part as Part))) return;
    const members = this.#sorted(state);
    const shown = JSON.stringify([room.id, room.role, room.banner, room.name, room.public, state.membersLoaded, state.membersNext, blocks.users, members.map(({ user, role }) => [user, role, chat.people.name(user), chat.people.profile(user)?.username])]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    const focused = this.#body.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset["of"] : undefined;
    const { scrollTop } = this.#body;
    this.#body.replaceChildren(...this.#parts(room, state, members));
    this.#body.scrollTop = scrollTop;
    if (focused === undefined) return;
    const again = [...this.#body.querySelectorAll<HTMLElement>("[data-of]")].find((one) => one.dataset["of"] === focused);
    (again ?? byId("aside-title", HTMLElement)).focus({ preventScroll: true });
  }

  #sorted(state: RoomState): Member[] {
    const name = (user: string): string => this.#desk.chat.people.name(user);
    return [...state.members].sort((a, b) => roleOrder[a.role] - roleOrder[b.role] || name(a.user).localeCompare(name(b.user)));
  }

  #parts(room: OwnRoom, state: RoomState, members: readonly Member[]): HTMLElement[] {
    const parts = [this.#about(room)];
    const list = element("ul", "people");
    list.ariaLabel = "Members";
    list.append(...members.map((member) => this.#member(room, member)));
    if (!state.membersLoaded && members.length === 0) parts.push(element("p", "hint", "Loading …"));
    parts.push(list);
    if (state.membersNext !== undefined) parts.push(button("Show more", "small", () => void attempt(this.#desk, () => this.#desk.chat.moreMembers())));
    return parts;
  }

  #about(room: OwnRoom): HTMLElement {
    const { chat } = this.#desk;
    const about = element("div", "about");
    if (room.banner !== "") about.append(...this.#banner(room));
    const kind = room.oneToOne ? "Only the two of you can read what is said here." : room.public ? "Public: anybody may join, and then read all that was said." : "Private: who is in it was invited.";
    about.append(element("p", "hint", kind));
    const actions = element("div", "about-actions");
    const offer = (words: string, className: string, act: () => void): void => {
      const made = button(words, className, act);
      made.dataset["of"] = words;
      actions.append(made);
    };
    if (mayInRoom(room, "invite")) offer("Invite", "small primary", () => inviteSomebody(this.#desk, room));
    if (mayInRoom(room, "update")) offer("Edit room", "small", () => editRoom(this.#desk, room));
    if (mayInRoom(room, "bans")) offer("Banned", "small", () => void attempt(this.#desk, () => this.#bans(room)));
    if (mayInRoom(room, "leave")) offer("Leave", "small danger-quiet", () => void this.#leave(room));
    if (mayInRoom(room, "close")) offer("Delete room", "small danger-quiet", () => void this.#close(room));
    if (room.with !== undefined) offer("Profile", "small", () => showPerson(this.#desk, room.with ?? ""));
    about.append(actions);
    chat.people.profile(room.with ?? "");
    return about;
  }

  /** What the room is about; a long text is shown in part, until somebody asks for all of it. */
  #banner(room: OwnRoom): HTMLElement[] {
    const banner = element("p", "about-banner", room.banner);
    banner.dir = "auto";
    if (room.banner.length <= longBanner) return [banner];
    const unfold = button("", "small unfold", () => {
      this.#unfolded = this.#unfolded === room.id ? "" : room.id;
      show(this.#unfolded === room.id);
    });
    unfold.dataset["of"] = "banner";
    const show = (all: boolean): void => {
      banner.classList.toggle("folded", !all);
      unfold.ariaExpanded = String(all);
      unfold.textContent = all ? "Less" : "More";
    };
    show(this.#unfolded === room.id);
    return [banner, unfold];
  }

  #member(room: OwnRoom, { user, role }: Member): HTMLElement {
    const { chat, blocks } = this.#desk;
    const name = chat.people.name(user);
    const username = chat.people.profile(user)?.username;
    const own = element("b", "", name);
    own.dir = "auto";
    const notes = [username === undefined ? "" : `@${username}`, user === chat.me ? "you" : "", blocks.has(user) ? "blocked" : ""];
    const names = element("span", "person-names", own, element("small", "", notes.filter((note) => note !== "").join(", ")));
    const item = element("li", "person-item", avatar(name, user), names);
    if (role !== "member") item.append(element("span", "tag", role));
    const more = button("⋯", "more", () => showMenu(more, this.#deeds(room, { user, role, readSeq: 0 })));
    more.ariaLabel = `What to do about ${name}`;
    more.ariaHasPopup = "menu";
    more.dataset["of"] = user;
    item.append(more);
    return item;
  }

  #deeds(room: OwnRoom, { user, role }: Member): MenuItem[] {
    const { chat } = this.#desk;
    const list: MenuItem[] = [{ text: "Profile", act: () => showPerson(this.#desk, user) }];
    if (user === chat.me) return list;
    list.push({ text: this.#desk.blocks.has(user) ? "Unblock" : "Block", act: () => void attempt(this.#desk, () => this.#block(user)) });
    const about = { room: room.id, user };
    const change = (type: "ROOM_REMOVE" | "ROOM_BAN"): void => void attempt(this.#desk, () => chat.change(type, about), dealProblems);
    const makeIt = (role: Role): void => void attempt(this.#desk, () => chat.change("ROOM_ROLE", { ...about, role }), dealProblems);
    const offer = (deed: MemberDeed, words: string, act: () => void, danger = false): void => {
      if (mayToMember(room, role, deed)) list.push({ text: words, act, danger });
    };
    offer("promote", "Make moderator", () => makeIt("moderator"));
    offer("demote", "Make ordinary member", () => makeIt("member"));
    offer("handOver", "Hand the room over", () => void this.#sure("Hand the room over?", `${chat.people.name(user)} becomes the owner; you will be a moderator.`, "Hand over", () => makeIt("owner")));
    offer("remove", "Remove from the room", () => change("ROOM_REMOVE"), true);
    offer("ban", "Ban from the room", () => void this.#sure("Ban from the room?", `${chat.people.name(user)} leaves the room and cannot come back until unbanned.`, "Ban", () => change("ROOM_BAN")), true);
    return list;
  }

  /** Blocks somebody, or hears them again. */
  async #block(user: string): Promise<void> {
    const { blocks, chat } = this.#desk;
    const name = chat.people.name(user);
    if (blocks.has(user)) {
      await blocks.remove(user);
      this.#desk.say(`${name} is not blocked any more.`);
    } else {
      await blocks.add(user);
      this.#desk.say(`You have blocked ${name}.`);
    }
  }

  async #sure(title: string, words: string, verb: string, act: () => void): Promise<void> {
    if (await confirmed(title, words, verb, this.#desk.signal)) act();
  }

  async #leave(room: OwnRoom): Promise<void> {
    const { chat, signal } = this.#desk;
    const last = room.members === 1 ? " You are the last one: the room goes, with all that was said." : room.role === "owner" ? " Another member becomes its owner." : "";
    if (await confirmed(`Leave ${room.name}?`, `You will not hear from it any more.${last}`, "Leave", signal)) await attempt(this.#desk, () => chat.leave(room.id));
  }

  async #close(room: OwnRoom): Promise<void> {
    const { chat, signal } = this.#desk;
    const sure = await confirmed(`Delete ${room.name}?`, "The room goes for everybody, with all that was said.", "Delete", signal);
    if (sure) await attempt(this.#desk, () => chat.closeForAll(room.id));
  }

  /** Who is banned, and the way back for them. */
  async #bans(room: OwnRoom): Promise<void> {
    const { chat, api, signal } = this.#desk;
    const answer = await api.get<Data>(`/rooms/${room.id}/bans`);
    const users = items(answer["bans"]).map((ban) => text(ban["user"]));
    await Promise.all(users.filter((user) => chat.people.profile(user) === undefined).map((user) => chat.people.look(user).catch(() => readProfile({ userId: user }))));
    askForm(
      {
        title: "Banned",
        intro: users.length === 0 ? "Nobody is banned from this room." : "Choose who may come back.",
        fields: users.map((user) => ({ name: user, label: chat.people.name(user), kind: "checkbox" as const })),
        verb: users.length === 0 ? "Good" : "Unban",
        submit: async (value) => {
          for (const user of users) if (value(user) === "on") await chat.line.ask("ROOM_UNBAN", { room: room.id, user });
        },
      },
      signal,
    );
  }
}
