import { button, element } from "../dom.js";
import { dateTime } from "../format.js";
import type { Message } from "./answers.js";
import type { Draft } from "./outbox.js";
import type { Row } from "./rows.js";
import { contentWords, hourMinute, listed, pieces, type Piece } from "./wording.js";

/** What the rows need to know, and what can be done in them. */
export interface RowWorld {
  me: string;
  name(user: string): string;
  /** Names stand over the messages of others where there are several others. */
  withNames: boolean;
  online: boolean;
  openUser(user: string): void;
  openMenu(message: Message, anchor: HTMLElement): void;
  reveal(message: Message): void;
  retry(draft: Draft): void;
  discard(draft: Draft): void;
}

/** All that a row shows, as a text: as long as it is the same the row stays as it is. */
export function shownIn(row: Row, world: RowWorld): string {
  switch (row.kind) {
    case "day":
      return row.text;
    case "unread":
      return "";
    case "draft":
      return JSON.stringify([row.draft, world.online]);
    case "message": {
      const { message, follows, readers, hidden } = row;
      return JSON.stringify([message, follows, hidden, world.withNames, world.name(message.from), world.name(message.deletedBy ?? ""), readers.map((user) => world.name(user))]);
    }
  }
}

/** Makes the element of a row. */
export function rowElement(row: Row, world: RowWorld): HTMLElement {
  switch (row.kind) {
    case "day":
      return element("li", "row-day", element("span", "", row.text));
    case "unread":
      return element("li", "row-unread", element("span", "", "New"));
    case "draft":
      return draftElement(row.draft, world);
    case "message":
      return messageElement(row, world);
  }
}

function messageElement({ message, follows, readers, hidden }: Row & { kind: "message" }, world: RowWorld): HTMLElement {
  const own = message.from === world.me;
  const name = world.name(message.from);
  const bubble = element("div", "bubble");
  if (!follows && !own && world.withNames) {
    const who = button(name, "who-name", () => world.openUser(message.from));
    who.dir = "auto";
    bubble.append(who);
  } else {
    bubble.append(element("span", "visually-hidden", own ? "You: " : `${name}: `));
  }
  bubble.append(hidden ? hiddenNote(message, world) : contentElement(message, world), footElement(message));
  const line = element("div", "row-line", bubble);
  if (!message.deleted && !hidden) line.append(menuButton(message, world));
  const item = element("li", `row ${own ? "out" : "in"}${follows ? " follows" : ""}`, line);
  item.dataset["seq"] = String(message.seq);
  item.tabIndex = -1;
  if (readers.length > 0) item.append(element("p", "readers", `Read by ${listed(readers.map((user) => world.name(user)))}`));
  return item;
}

function hiddenNote(message: Message, world: RowWorld): HTMLElement {
  return element("p", "gone", "From somebody you blocked. ", button("Show", "small", () => world.reveal(message)));
}

function menuButton(message: Message, world: RowWorld): HTMLElement {
  const more = button("⋯", "more", () => world.openMenu(message, more));
  more.ariaLabel = `What to do with the message of ${hourMinute(message.at)}`;
  more.ariaHasPopup = "menu";
  return more;
}

function contentElement(message: Message, world: RowWorld): HTMLElement {
  if (message.deleted) {
    const by = message.deletedBy === undefined || message.deletedBy === message.from ? "" : ` by ${world.name(message.deletedBy)}`;
    return element("p", "gone", `Deleted${by}.`);
  }
  const words = contentWords(message.content);
  const shown = typeof message.content === "string" ? element("p", "text", ...pieces(words).map(pieceNode)) : element("pre", "text json", words);
  shown.dir = "auto";
  return shown;
}

/** A part of a text as a node; addresses open beside the page, and are not told where from. */
export function pieceNode({ text, href, found }: Piece): Node | string {
  if (found === true) return element("mark", "", text);
  if (href === undefined) return text;
  const link = element("a", "", text);
  link.href = href;
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  return link;
}

function footElement(message: Message): HTMLElement {
  const foot = element("p", "foot");
  if (message.editedAt !== undefined && !message.deleted) {
    const edited = element("span", "", "edited");
    edited.title = `Edited at ${dateTime(message.editedAt)}`;
    foot.append(edited);
  }
  foot.append(timeElement(message.at));
  return foot;
}

function timeElement(at: number): HTMLElement {
  const time = element("time", "", hourMinute(at));
  time.dateTime = new Date(at).toISOString();
  time.title = dateTime(at);
  return time;
}

function draftElement(draft: Draft, world: RowWorld): HTMLElement {
  const text = element("p", "text", ...pieces(draft.content).map(pieceNode));
  text.dir = "auto";
  const bubble = element("div", "bubble", element("span", "visually-hidden", "You: "), text);
  const foot = element("p", "foot");
  const line = element("div", "row-line", bubble);
  const item = element("li", "row out draft", line);
  item.dataset["fate"] = draft.state;
  if (draft.state === "failed") {
    item.append(
      element("div", "failure", element("span", "", `Not sent. ${draft.why}`), button("Send again", "small", () => world.retry(draft)), button("Discard", "small", () => world.discard(draft))),
    );
  } else {
    foot.append(draft.state === "sending" ? "Sending …" : world.online ? "Waiting …" : "Sent when the connection is back");
    bubble.append(foot);
  }
  return item;
}
