import { button, byId, element, setText } from "../dom.js";
import { plural } from "../format.js";
import { distanceText, placeText, type Place } from "./earth.js";

/** Somebody in view. */
export interface Listed {
  id: string;
  name: string;
  /** The user ID stands beside the name. */
  named: boolean;
  place: Place;
  /** Metres. */
  far: number;
  me: boolean;
}

/** So many are listed: those who are nearest. */
export const mostListed = 300;

/** The list is brought up to date so often at most. */
const everyMs = 200;

interface Row {
  item: HTMLLIElement;
  button: HTMLButtonElement;
  name: HTMLElement;
  id: HTMLElement;
  place: HTMLElement;
  far: HTMLElement;
}

/** Who is in view, nearest first. While somebody is about to choose, nobody changes places. */
export class PeoplePane {
  readonly #list = byId("people", HTMLOListElement);
  readonly #note = byId("people-note", HTMLElement);
  readonly #rows = new Map<string, Row>();
  readonly #choose: (id: string) => void;
  #next: { listed: readonly Listed[]; note: string } | undefined;
  #chosen = "";
  #timer = 0;
  #shownAt = Number.NEGATIVE_INFINITY;

  constructor(choose: (id: string) => void) {
    this.#choose = choose;
    this.#list.addEventListener("keydown", (event) => this.#key(event));
    this.#list.addEventListener("pointerleave", () => this.#soon());
    this.#list.addEventListener("focusout", () => this.#soon());
  }

  /** Shows these, who come sorted, and says something above them. */
  show(listed: readonly Listed[], note: string): void {
    this.#next = { listed, note };
    this.#soon();
  }

  choose(id: string): void {
    this.#chosen = id;
    for (const [of, row] of this.#rows) mark(row, of === id);
  }

  clear(): void {
    window.clearTimeout(this.#timer);
    this.#timer = 0;
    this.#next = undefined;
    this.#rows.clear();
    this.#list.replaceChildren();
    setText(this.#note, "");
  }

  #soon(): void {
    if (this.#timer !== 0 || this.#next === undefined) return;
    const wait = this.#shownAt + everyMs - performance.now();
    if (wait <= 0) this.#fill();
    else this.#timer = window.setTimeout(() => this.#fill(), wait);
  }

  #fill(): void {
    this.#timer = 0;
    if (this.#next === undefined) return;
    this.#shownAt = performance.now();
    const { listed, note } = this.#next;
    const shown = listed.slice(0, mostListed);
    const ids = new Set(shown.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      row.item.remove();
      this.#rows.delete(id);
    }
    const still = this.#list.matches(":hover, :focus-within");
    let at: Element | null = this.#list.firstElementChild;
    for (const one of shown) {
      const known = this.#rows.get(one.id);
      const row = known ?? this.#row(one.id);
      fill(row, one);
      if (still && known !== undefined) continue;
      if (still) this.#list.append(row.item);
      else if (row.item === at) at = at.nextElementSibling;
      else this.#list.insertBefore(row.item, at);
    }
    this.#list.hidden = shown.length === 0;
    const more = listed.length - shown.length;
    setText(this.#note, more > 0 ? `${note} The nearest ${mostListed} are listed.` : note);
    this.#oneStop();
  }

  #row(id: string): Row {
    const [name, user, place, far] = [element("b", "person-name"), element("small", "person-id"), element("small", "person-place"), element("span", "person-far")];
    const choose = button("", "person-row", () => this.#choose(id));
    choose.append(element("span", "person-who", name, " ", user), far, place);
    const row = { item: element("li", "", choose), button: choose, name, id: user, place, far };
    choose.tabIndex = -1;
    mark(row, id === this.#chosen);
    this.#rows.set(id, row);
    return row;
  }

  /** The list is one stop for the Tab key; within it the arrows lead on. */
  #oneStop(): void {
    const buttons = [...this.#list.querySelectorAll<HTMLButtonElement>("button")];
    if (buttons.some((one) => one.tabIndex === 0)) return;
    const [first] = buttons;
    if (first !== undefined) first.tabIndex = 0;
  }

  #key(event: KeyboardEvent): void {
    const buttons = [...this.#list.querySelectorAll<HTMLButtonElement>("button")];
    const at = buttons.findIndex((one) => one === document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    const next = to === undefined ? undefined : buttons[Math.min(Math.max(to, 0), buttons.length - 1)];
    if (next === undefined) return;
    event.preventDefault();
    for (const one of buttons) one.tabIndex = one === next ? 0 : -1;
    next.focus();
  }
}

function mark({ button: row }: Row, chosen: boolean): void {
  if (chosen) row.setAttribute("aria-current", "true");
  else row.removeAttribute("aria-current");
}

function fill(row: Row, { id, name, named, place, far, me }: Listed): void {
  setText(row.name, name === "" ? id : name);
  row.id.hidden = !named || name === "";
  setText(row.id, row.id.hidden ? "" : id);
  setText(row.place, `${me ? "You · " : ""}${placeText(place)}`);
  setText(row.far, distanceText(far));
  row.button.classList.toggle("mine", me);
}

/** What stands above the list. */
export function summary(users: number, crowd: number): string {
  if (crowd > 0) return `${plural(crowd, "person", "people")}, too many to tell one by one: zoom in to see who they are.`;
  return users === 0 ? "Nobody is in view." : `${plural(users, "person", "people")}.`;
}
