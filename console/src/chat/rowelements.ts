import { button, element } from "../dom.js";
import { dateTime } from "../format.js";
import type { Message } from "./answers.js";
import type { Draft } from "./outbox.js";
import type { Row } from "./rows.js";
import { contentText, contentWords, hourMinute, listed, pieces, type Piece } from "./wording.js";

/** What the rows need to know, and what can be done in them. */
export interface RowWorld {
  me: string;
  name(user: string): string;
  /** Names stand over the messages of others where there are several others. */
  withNames: boolean;
  online: boolean;
  openUser(user: string): void;
  openMenu(message: Message, anchor: HTMLElement): void;
  openVersions(message: Message): void;
  /** Shows messages of blocked people after all. */
  reveal(messages: readonly Message[]): void;
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
    case "hidden":
      return JSON.stringify(row.messages.map(({ seq, from }) => [seq, from]));
    case "message": {
      const { message, follows, readers } = row;
      const names = [message.from, message.editedBy ?? "", message.deletedBy ?? "", ...readers].map((user) => world.name(user));
      return JSON.stringify([message, follows, world.withNames, names]);
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
    case "hidden":
      return hiddenElement(row.messages, world);
    case "message":
      return messageElement(row, world);
  }
}

function messageElement({ message, follows, readers }: Row & { kind: "message" }, world: RowWorld): HTMLElement {
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
  bubble.append(contentElement(message, world), footElement(message, world));
  const line = element("div", "row-line", bubble);
  if (!message.deleted) line.append(menuButton(message, world));
  const item = element("li", `row ${own ? "out" : "in"}${follows ? " follows" : ""}`, line);
  item.dataset["seq"] = String(message.seq);
  item.tabIndex = -1;
  if (readers.length > 0) item.append(element("p", "readers", `Read by ${listed(readers.map((user) => world.name(user)))}`));
  return item;
}

/** What blocked people say, as one line that leads to it. */
function hiddenElement(messages: readonly Message[], world: RowWorld): HTMLElement {
  const whose = new Set(messages.map(({ from }) => from)).size === 1 ? "somebody" : "people";
  const words = `${messages.length === 1 ? "1 message" : `${messages.length} messages`} from ${whose} you blocked.`;
  const item = element("li", "row row-hidden", element("p", "gone", words), button("Show", "small", () => world.reveal(messages)));
  item.dataset["seq"] = String(messages[0]?.seq);
  item.dataset["to"] = String(messages.at(-1)?.seq);
  item.tabIndex = -1;
  return item;
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
  return contentNode(message.content);
}

/** What a message says: text with its addresses as links, other JSON as it is. */
export function contentNode(content: unknown): HTMLElement {
  const text = contentText(content);
  const shown = text === undefined ? element("pre", "text json", contentWords(content)) : element("p", "text", ...pieces(text).map(pieceNode));
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

function footElement(message: Message, world: RowWorld): HTMLElement {
  const foot = element("p", "foot");
  if (message.editedAt !== undefined && !message.deleted) {
    const by = message.editedBy === undefined || message.editedBy === message.from ? "" : ` by ${world.name(message.editedBy)}`;
    const edited = button(`edited${by}`, "edited", () => world.openVersions(message));
    edited.title = `Edited at ${dateTime(message.editedAt)}: show what it said before`;
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
