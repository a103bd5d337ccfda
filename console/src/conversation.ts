import type { Message, SwitchboardError } from "@switchboard/client";
import { byId, clockTime, element } from "./dom.js";
import { prettyJson } from "./json.js";
import { ScrollList } from "./scrolllist.js";
import { withStop } from "./words.js";

/** How many entries are kept. */
const limit = 500;

/** A message that this page sent. */
export interface SentMessage {
  from: string;
  to: readonly string[];
  group: boolean;
  /** JSON text. */
  contentText: string;
  fast: boolean;
  /** Whether a confirmation is to come that waits in the mailbox while this user is away. */
  confirmed: boolean;
  reference: string | undefined;
  at: number;
}

type Fate = "sent" | "stored" | "confirmed" | "failed";

const marks: Readonly<Record<Fate, readonly [mark: string, words: string]>> = {
  sent: ["–", "sent"],
  stored: ["✓", "stored"],
  confirmed: ["✓✓", "confirmed"],
  failed: ["✗", "failed"],
};

interface Entry {
  message: SentMessage;
  fate: Fate;
  item: HTMLElement;
  mark: HTMLElement;
}

/** The messages sent and received, and what became of those sent. */
export class Conversation {
  readonly #list: ScrollList;
  readonly #empty = byId("messages-empty", HTMLElement);
  #sent: Entry[] = [];

  constructor() {
    this.#list = new ScrollList(
      {
        scroller: byId("messages-scroller", HTMLElement),
        list: byId("messages", HTMLElement),
        empty: this.#empty,
        latest: byId("messages-latest", HTMLElement),
      },
      limit,
    );
    byId("conversation-clear", HTMLButtonElement).addEventListener("click", () => {
      this.#sent = [];
      this.#list.clear();
    });
  }

  /** Says how to begin. */
  set online(online: boolean) {
    const first = online ? "Open" : "Sign in, open";
    this.#empty.textContent = `No messages yet. ${first} a second tab as another user, and say hello.`;
  }

  /** How many confirmations of what a user sent have not come. */
  unconfirmed(user: string): number {
    const waits = ({ message, fate }: Entry): boolean => message.confirmed && (fate === "sent" || fate === "stored");
    return this.#sent.filter((entry) => entry.message.from === user && waits(entry)).length;
  }

  sent(message: SentMessage): void {
    const mark = element("span", "mark");
    const who = message.to.length > 3 ? `${message.to.length} users` : message.to.join(", ");
    const item = entryItem("out", message.group ? `Group ${who}` : who, "to", message, mark);
    const entry: Entry = { message, fate: "sent", item, mark };
    show(entry);
    this.#sent.push(entry);
    if (this.#sent.length > limit) this.#sent.shift();
    this.#list.add(item);
    this.#list.toEnd(); // whoever writes wants to see it
  }

  received(message: Message): void {
    const { from, contentText, reference, receivedAt } = message;
    this.#list.add(entryItem("in", from, "from", { contentText, reference, at: receivedAt, fast: false }));
  }

  /** A line that is no message. */
  notice(text: string): void {
    this.#list.add(element("li", "notice", text));
  }

  stored(user: string, reference: string): void {
    this.#advance(user, reference, "stored", (fate) => fate === "sent");
  }

  confirmed(user: string, reference: string): void {
    this.#advance(user, reference, "confirmed", (fate) => fate === "sent" || fate === "stored");
  }

  /** Shows an error, and marks the message that it is about. */
  failed(user: string, error: SwitchboardError): void {
    if (error.reference !== undefined) {
      const whole = (entry: Entry): boolean => !entry.message.group || error.to.length === 0;
      this.#advance(user, error.reference, "failed", (fate, entry) => fate !== "failed" && fate !== "confirmed" && whole(entry));
    }
    const about = error.reference === undefined ? "" : ` Reference ${error.reference}.`;
    const to = error.to.length === 0 ? "" : ` To ${error.to.join(", ")}.`;
    const later = error.mayYetArrive ? " It may yet arrive." : "";
    this.#list.add(
      element("li", "problem", element("b", "code", error.code), ` ${withStop(error.message)}${to}${about}${later}`),
    );
  }

  #advance(user: string, reference: string, fate: Fate, from: (fate: Fate, entry: Entry) => boolean): void {
    const entry = this.#sent.find(
      (one) => one.message.from === user && one.message.reference === reference && from(one.fate, one),
    );
    if (entry === undefined) return;
    entry.fate = fate;
    show(entry);
  }
}

function show({ fate, item, mark }: Entry): void {
  const [sign, words] = marks[fate];
  const visible = element("span", "", sign);
  visible.ariaHidden = "true";
  mark.replaceChildren(visible, element("span", "visually-hidden", words));
  mark.title = words;
  item.dataset["fate"] = fate;
}

function entryItem(
  direction: "in" | "out",
  who: string,
  word: string,
  message: Pick<SentMessage, "contentText" | "reference" | "at" | "fast">,
  mark?: HTMLElement,
): HTMLElement {
  const time = element("time", "", clockTime(message.at).slice(0, 8));
  // Frames do not say when a message was sent; a fetched one may have waited.
  time.title = direction === "in" ? "When it arrived here; it may have been sent earlier" : "When it was sent";
  const head = element(
    "p",
    "who",
    element("span", "word", word),
    " ",
    element("b", "", who),
    time,
  );
  const foot = element("p", "meta");
  if (message.fast) foot.append(element("span", "tag", "FAST"));
  if (message.reference !== undefined) foot.append(element("code", "", message.reference));
  if (mark !== undefined) foot.append(mark);
  const item = element("li", `message ${direction}`, head, contentElement(message.contentText));
  if (foot.hasChildNodes()) item.append(foot);
  return item;
}

/** Strings are shown as what they say, everything else as JSON. */
function contentElement(contentText: string): HTMLElement {
  const content: unknown = JSON.parse(contentText);
  const shown = typeof content === "string" ? element("p", "text", content) : element("pre", "text json", prettyJson(contentText));
  shown.dir = "auto";
  return shown;
}
