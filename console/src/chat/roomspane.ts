import { byId, element, setText } from "../dom.js";
import type { OwnRoom } from "./answers.js";
import { avatar } from "./avatar.js";
import type { Desk } from "./desk.js";
import { badge } from "./roomlist.js";
import { roomName } from "./roomstate.js";
import { shortTime } from "./wording.js";

/** The list of this user's rooms, and who this user is. */
export class RoomsPane {
  readonly #desk: Desk;
  readonly #list = byId("rooms-list", HTMLElement);
  readonly #empty = byId("rooms-empty", HTMLElement);
  readonly #me = byId("me", HTMLButtonElement);
  readonly #items = new Map<string, { item: HTMLElement; button: HTMLButtonElement; shown: string }>();
  #meShown = "";

  constructor(desk: Desk) {
    this.#desk = desk;
    this.#list.replaceChildren();
    this.#me.replaceChildren();
  }

  render(): void {
    const { chat } = this.#desk;
    const { rooms } = chat.rooms;
    setText(this.#empty, chat.listed ? "You are in no room yet. Find a public one, make one, or write to somebody." : "Loading …");
    this.#empty.hidden = rooms.length > 0;
    for (const id of this.#items.keys()) if (chat.rooms.get(id) === undefined) this.#drop(id);
    let at = this.#list.firstElementChild;
    for (const room of rooms) {
      const item = this.#item(room);
      if (item === at) at = at.nextElementSibling;
      else this.#list.insertBefore(item, at);
    }
    this.#showMe();
  }

  #drop(id: string): void {
    this.#items.get(id)?.item.remove();
    this.#items.delete(id);
  }

  #item(room: OwnRoom): HTMLElement {
    const { chat } = this.#desk;
    let known = this.#items.get(room.id);
    if (known === undefined) {
      const button = element("button", "room-item");
      button.type = "button";
      button.addEventListener("click", () => this.#desk.show(room.id));
      known = { item: element("li", "", button), button, shown: "" };
      this.#items.set(room.id, known);
    }
    const { button, item } = known;
    const name = roomName(room, (user) => chat.people.name(user));
    const open = chat.open?.id === room.id;
    const now = shortTime(room.lastAt, Date.now());
    const shown = JSON.stringify([name, room.unread, now, open, room.members, room.public]);
    if (shown === known.shown) return item;
    known.shown = shown;
    if (open) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    button.replaceChildren(...facesOf(room, name, now));
    return item;
  }

  #showMe(): void {
    const { people, me } = this.#desk.chat;
    const profile = people.profile(me);
    const name = people.name(me);
    const shown = `${name} ${profile?.username ?? ""}`;
    if (shown === this.#meShown) return;
    this.#meShown = shown;
    this.#me.replaceChildren(
      avatar(name, me),
      element("span", "me-names", element("b", "", name), element("small", "", profile === undefined ? me : `@${profile.username}`)),
      element("span", "me-word", "Account"),
    );
  }
}

function facesOf(room: OwnRoom, name: string, when: string): HTMLElement[] {
  const kind = room.oneToOne ? "One to one" : `${room.public ? "Public" : "Private"}, ${room.members === 1 ? "1 member" : `${room.members} members`}`;
  const title = element("b", "room-item-name", name);
  title.dir = "auto";
  const names = element("span", "room-item-names", title, element("small", "", kind));
  const side = element("span", "room-item-side", element("small", "", when));
  if (room.unread > 0) side.append(element("span", "badge", badge(room.unread), element("span", "visually-hidden", " unread")));
  return [avatar(name, room.with ?? room.id), names, side];
}
