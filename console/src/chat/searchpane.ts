import { button, byId, element, setText } from "../dom.js";
import { readPage, type Message } from "./answers.js";
import type { Desk } from "./desk.js";
import { pieceNode } from "./rowelements.js";
import { explained } from "./problems.js";
import { contentWords, foundPieces, hourMinute, shortTime } from "./wording.js";

/** Finds messages of the room by their words. */
export class SearchPane {
  readonly title = "Search";
  readonly #desk: Desk;
  readonly #goTo: (seq: number) => void;
  readonly #body = byId("aside-body", HTMLElement);
  readonly #words = element("input");
  readonly #found = element("ol", "found");
  readonly #note = element("p", "hint");
  readonly #more: HTMLButtonElement;
  #asked = { room: "", words: "", before: 0 };

  constructor(desk: Desk, goTo: (seq: number) => void) {
    this.#desk = desk;
    this.#goTo = goTo;
    this.#words.type = "search";
    this.#words.ariaLabel = "Words to look for";
    this.#words.placeholder = "Words, all of them in one message";
    this.#note.role = "status";
    this.#more = button("Show older ones", "small", () => void this.#ask());
  }

  begin(): void {
    const form = element("form", "search-form", this.#words, element("button", "small primary", "Search"));
    form.role = "search";
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#start();
    });
    this.#body.replaceChildren(form, this.#note, this.#found, this.#more);
    this.#clear();
    this.#words.focus();
  }

  /** Another room was opened: what was found is not of it. */
  leave(): void {
    if (this.#asked.room !== "" && this.#asked.room !== this.#desk.chat.open?.id) this.#clear();
  }

  #clear(): void {
    this.#asked = { room: "", words: "", before: 0 };
    this.#found.replaceChildren();
    this.#more.hidden = true;
    setText(this.#note, "Whole words are found, whatever their case.");
  }

  #start(): void {
    const words = this.#words.value.trim();
    const { open } = this.#desk.chat;
    if (words === "" || open === undefined) return;
    this.#clear();
    this.#asked = { room: open.id, words, before: 0 };
    void this.#ask();
  }

  async #ask(): Promise<void> {
    const asked = this.#asked;
    setText(this.#note, "Searching …");
    this.#more.hidden = true;
    try {
      const { room, words, before } = asked;
      const page = readPage(await this.#desk.chat.line.ask("ROOM_SEARCH", { room, words, limit: 30, ...(before === 0 ? {} : { before }) }));
      if (asked !== this.#asked) return;
      this.#found.append(...page.messages.map((message) => this.#item(message, words)));
      this.#asked = { ...asked, before: page.before ?? page.messages.at(-1)?.seq ?? 0 };
      this.#more.hidden = !page.more;
      const n = this.#found.childElementCount;
      setText(this.#note, n === 0 ? "Nothing was found." : `${n}${page.more ? " or more" : ""} found, newest first.`);
    } catch (error) {
      if (asked === this.#asked) setText(this.#note, explained(error));
    }
  }

  #item(message: Message, words: string): HTMLElement {
    const name = this.#desk.chat.people.name(message.from);
    const when = shortTime(message.at, Date.now());
    const time = when.includes(":") ? when : `${when}, ${hourMinute(message.at)}`;
    const body = element("span", "found-text", ...foundPieces(contentWords(message.content), words).map(pieceNode));
    body.dir = "auto";
    const item = element("button", "found-item", element("small", "", `${name}, ${time}`), body);
    item.type = "button";
    item.addEventListener("click", () => this.#goTo(message.seq));
    return element("li", "", item);
  }
}
