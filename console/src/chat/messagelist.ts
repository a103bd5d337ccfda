import { byId, element, setText } from "../dom.js";
import { badge } from "./roomlist.js";
import type { RoomState } from "./roomstate.js";
import type { Row } from "./rows.js";
import { rowElement, shownIn, type RowWorld } from "./rowelements.js";

/** So near to an edge counts as there, in pixels. */
const atEdge = 40;
/** So near to an edge more is asked for. */
const nearEdge = 400;

export interface MessageListEvents {
  /** The upper edge is near. */
  top(): void;
  /** The lower edge is near. */
  bottom(): void;
  /** Wants to go to the room's end. */
  latest(): void;
  /** How many messages wait there to be read. */
  unread(): number;
}

/**
 * The messages of a room in a scrolling box. It follows its end while the reader
 * is there; otherwise what is read stays where it is, whatever comes before or
 * after it.
 */
export class MessageList {
  readonly #scroller = byId("scroller", HTMLElement);
  readonly #list = byId("rows", HTMLElement);
  readonly #older = byId("older", HTMLElement);
  readonly #latest = byId("latest", HTMLButtonElement);
  readonly #events: MessageListEvents;
  readonly #rows = new Map<string, { element: HTMLElement; shown: string }>();
  #state: RoomState | undefined;
  #follows = true;
  #size = "";
  /** The message that is being edited; 0 for none. */
  #edited = 0;

  constructor(events: MessageListEvents, signal: AbortSignal) {
    this.#events = events;
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { signal });
    this.#latest.addEventListener("click", () => events.latest(), { signal });
    const resized = new ResizeObserver(() => {
      this.#size = this.#measure();
      if (this.#follows) this.#end();
      else this.#row(this.#edited)?.scrollIntoView({ block: "nearest" });
    });
    resized.observe(this.#scroller);
    signal.addEventListener("abort", () => resized.disconnect());
  }

  /** Whether the reader is at the end of what there is. */
  get follows(): boolean {
    return this.#follows && this.#state?.timeline.atEnd === true;
  }

  /** Goes to the end, and stays there. */
  toEnd(): void {
    this.#follows = true;
    this.#end();
    this.#offerLatest();
  }

  /** Another room: nothing of the last one stays. */
  begin(state: RoomState | undefined): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#follows = true;
    this.#rows.clear();
    this.#list.replaceChildren();
  }

  render(rows: readonly Row[], world: RowWorld): void {
    const anchor = this.#anchor();
    this.#fill(rows, world);
    this.#mark();
    this.#say();
    if (this.#follows && this.#state?.timeline.atEnd === true) this.#end();
    else this.#keep(anchor);
    this.#offerLatest();
    this.#edges();
  }

  /** Shows the line below which everything is new: at the end, if it is to be seen from there. */
  toUnread(): void {
    const line = this.#rows.get("unread")?.element;
    if (line === undefined) return;
    const atEnd = this.#state?.timeline.atEnd === true;
    if (atEnd) this.toEnd();
    if (atEnd && line.offsetTop >= this.#scroller.scrollTop) return;
    this.#scroller.scrollTop = line.offsetTop - 24;
    this.#follows = this.#nearEnd();
    this.#offerLatest();
    this.#edges();
  }

  /** Goes to a message, and shows which one it is. */
  toMessage(seq: number): void {
    const row = this.#row(seq);
    if (row === undefined) return;
    this.#follows = false;
    row.scrollIntoView({ block: "center" });
    row.focus({ preventScroll: true });
    this.#list.querySelector(".pointed")?.classList.remove("pointed");
    row.classList.add("pointed");
    this.#scrolled();
  }

  /** Shows which message is edited, and brings it into sight; none for 0. */
  markEdited(seq: number): void {
    this.#edited = seq;
    this.#mark();
    const row = this.#row(seq);
    if (row === undefined) return;
    row.scrollIntoView({ block: "nearest" });
    this.#follows = this.#nearEnd();
    this.#offerLatest();
  }

  #mark(): void {
    this.#list.querySelector(".edited-now")?.classList.remove("edited-now");
    this.#row(this.#edited)?.classList.add("edited-now");
  }

  /** The row in which a message stands, by itself or with others. */
  #row(seq: number): HTMLElement | undefined {
    const alone = this.#rows.get(`m ${seq}`)?.element;
    if (alone !== undefined) return alone;
    const among = ({ dataset }: HTMLElement): boolean => Number(dataset["seq"]) <= seq && seq <= Number(dataset["to"]);
    return [...this.#list.querySelectorAll<HTMLElement>("[data-to]")].find(among);
  }

  #fill(rows: readonly Row[], world: RowWorld): void {
    const wanted = new Set(rows.map(({ key }) => key));
    for (const [key, { element }] of this.#rows) {
      if (wanted.has(key)) continue;
      element.remove();
      this.#rows.delete(key);
    }
    let at = this.#list.firstElementChild;
    for (const row of rows) {
      const shown = shownIn(row, world);
      const known = this.#rows.get(row.key);
      if (known !== undefined && known.shown === shown) {
        if (known.element === at) at = at.nextElementSibling;
        else this.#list.insertBefore(known.element, at);
        continue;
      }
      const made = rowElement(row, world);
      this.#rows.set(row.key, { element: made, shown });
      if (known === undefined) {
        this.#list.insertBefore(made, at);
        continue;
      }
      if (known.element === at) at = at.nextElementSibling;
      replace(known.element, made);
    }
  }

  #say(): void {
    const state = this.#state;
    const empty = state?.timeline.loaded === true && this.#rows.size === 0;
    if (state === undefined) setText(this.#older, "");
    else if (state.problem !== "") setText(this.#older, state.problem);
    else if (state.loading === "older" || state.loading === "page") setText(this.#older, "Loading …");
    else if (empty) setText(this.#older, "Nothing was said here yet.");
    else setText(this.#older, state.timeline.loaded && !state.timeline.hasOlder ? "This is where the room begins." : "");
  }

  /** The first message to be seen, and where. */
  #anchor(): { seq: number; top: number } | undefined {
    const top = this.#scroller.scrollTop;
    for (const item of this.#list.children) {
      if (!(item instanceof HTMLElement) || item.dataset["seq"] === undefined) continue;
      if (item.offsetTop + item.offsetHeight > top) return { seq: Number(item.dataset["seq"]), top: item.offsetTop - top };
    }
    return undefined;
  }

  #keep(anchor: { seq: number; top: number } | undefined): void {
    const row = anchor === undefined ? undefined : this.#row(anchor.seq);
    if (row !== undefined && anchor !== undefined) this.#scroller.scrollTop = row.offsetTop - anchor.top;
  }

  #end(): void {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #offerLatest(): void {
    this.#latest.hidden = this.#state === undefined || this.follows || this.#rows.size === 0;
    const unread = badge(this.#events.unread());
    if (this.#latest.dataset["unread"] === unread) return;
    this.#latest.dataset["unread"] = unread;
    this.#latest.replaceChildren("Latest ↓");
    if (unread !== "") this.#latest.append(" ", element("span", "badge", unread, element("span", "visually-hidden", " new")));
  }

  #measure(): string {
    return `${this.#scroller.clientWidth} ${this.#scroller.clientHeight}`;
  }

  #scrolled(): void {
    if (this.#measure() !== this.#size) return; // the box changed, not the reader's mind
    this.#follows = this.#nearEnd();
    this.#offerLatest();
    this.#edges();
  }

  #nearEnd(): boolean {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < atEdge;
  }

  #edges(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    if (clientHeight === 0) return; // not to be seen
    if (scrollTop < nearEdge) this.#events.top();
    if (scrollHeight - scrollTop - clientHeight < nearEdge) this.#events.bottom();
  }
}

/** Puts a row in the place of another one; the focus stays in it. */
function replace(old: HTMLElement, made: HTMLElement): void {
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const within = focused === null || focused === old ? "" : focused.className;
  old.replaceWith(made);
  if (focused === null) return;
  const again = within === "" ? made : made.getElementsByClassName(within)[0];
  if (again instanceof HTMLElement) again.focus({ preventScroll: true });
  else made.focus({ preventScroll: true });
}
