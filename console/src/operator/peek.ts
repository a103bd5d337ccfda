import { button, element, setText } from "../dom.js";
import { framePreview, frameType } from "../frametext.js";
import { memberTexts, prettyJson } from "../json.js";
import type { Waiting } from "./answers.js";
import { Problem, sentence } from "../api.js";
import { ago, bytes, dateTime, plural } from "../format.js";
import { may, type Desk } from "./page.js";

/** How many messages are looked at at once: their frames may be long. */
const pageSize = 25;

/**
 * A look into a mailbox. What is in it is other people's mail, so nothing is
 * shown until it is asked for; frames are laid out when they are opened.
 */
export class Peek {
  readonly element: HTMLElement;
  /** The button that looks. */
  readonly look: HTMLButtonElement;
  readonly #desk: Desk;
  readonly #path: string;
  readonly #list = element("ol", "mail");
  readonly #more: HTMLButtonElement;
  readonly #note = element("p", "peek-note");
  #cursor = "";
  #busy = false;

  constructor(desk: Desk, userPath: string) {
    this.#desk = desk;
    this.#path = `${userPath}/mailbox/messages`;
    this.look = button("Look inside", "small", () => void this.#lookAgain());
    this.look.disabled = true;
    if (!may(desk.own, "mailboxes:read")) this.look.title = "The key lacks the scope mailboxes:read.";
    this.#more = button("Show more", "small", () => void this.#load());
    this.#more.hidden = true;
    this.#note.role = "status";
    this.element = element("div", "peek", this.#list, this.#note, this.#more);
  }

  /** How many messages the server says that there are. */
  set waiting(n: number) {
    this.look.disabled = n === 0 || !may(this.#desk.own, "mailboxes:read");
    if (n === 0) this.forget();
  }

  /** Shows nothing any more. */
  forget(): void {
    this.#list.replaceChildren();
    this.#more.hidden = true;
    this.#cursor = "";
    setText(this.look, "Look inside");
    setText(this.#note, "");
  }

  async #lookAgain(): Promise<void> {
    this.forget();
    await this.#load();
    setText(this.look, "Look again");
  }

  async #load(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      const query = { limit: pageSize, cursor: this.#cursor };
      const text = await this.#desk.api.text(this.#path, { query, signal: this.#desk.signal });
      this.#show(text);
    } catch (error) {
      if (this.#desk.signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      setText(this.#note, sentence(error));
    } finally {
      this.#busy = false;
    }
  }

  #show(text: string): void {
    const answer = JSON.parse(text) as { messages: Waiting[]; next?: string };
    const frames = memberTexts(text, "messages", "frame");
    const items = answer.messages.map((message, i) => mailItem(message, frames[i] ?? JSON.stringify(message.frame)));
    this.#list.append(...items);
    this.#cursor = answer.next ?? "";
    this.#more.hidden = answer.next === undefined;
    const shown = this.#list.childElementCount;
    setText(this.#note, answer.next === undefined ? `${plural(shown, "message")}, oldest first.` : `The oldest ${plural(shown, "message")}.`);
  }
}

function mailItem({ id, storedAt, expiresAt }: Waiting, text: string): HTMLElement {
  const type = frameType(text);
  const time = element("time", "", ago(Date.parse(storedAt), Date.now()));
  time.dateTime = storedAt;
  time.title = `Stored ${dateTime(Date.parse(storedAt))}`;
  const summary = element(
    "summary",
    "",
    time,
    element("span", "type", type),
    element("span", "preview", framePreview(text, type)),
    element("span", "size", bytes(new TextEncoder().encode(text).length)),
  );
  const details = element("details", "frame", summary);
  // Laid out only when somebody looks.
  details.addEventListener("toggle", () => {
    if (!details.open || details.childElementCount > 1) return;
    const expiry = expiresAt === undefined ? "" : `, expires ${dateTime(Date.parse(expiresAt))}`;
    details.append(element("p", "mail-about", `Stored ${dateTime(Date.parse(storedAt))}${expiry}, ID `, element("code", "", id)), element("pre", "", prettyJson(text)));
  });
  return element("li", "", details);
}
