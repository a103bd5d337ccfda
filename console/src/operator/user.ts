import { button, element, setText } from "../dom.js";
import type { Session, User } from "./answers.js";
import { confirmed } from "../dialog.js";
import { bytes, count, plural } from "../format.js";
import { Peek } from "./peek.js";
import { attempt, card, Freshness, lacks, may, pageHead, type Desk, type Page } from "./page.js";
import { Poll } from "./poll.js";
import { hrefOf } from "./route.js";
import { sessionsTable } from "./sessions.js";
import { type Table } from "../table.js";
import { fillTime } from "./times.js";

/** One user: sessions and mailbox. */
export function userPage(desk: Desk, userId: string): Page {
  const back = element("a", "back", "All users");
  back.href = hrefOf({ page: "users", app: desk.app });
  if (!may(desk.own, "users:read")) {
    return { title: userId, element: element("div", "page", back, pageHead(userId), card("User", lacks("users:read"))) };
  }
  return { title: userId, element: element("div", "page", back, ...new UserPage(desk, userId).elements) };
}

class UserPage {
  readonly elements: HTMLElement[];
  readonly #desk: Desk;
  readonly #userId: string;
  readonly #path: string;
  readonly #presence = element("p", "presence");
  readonly #freshness = new Freshness();
  readonly #sessions: Table<Session>;
  readonly #closeAll: HTMLButtonElement;
  readonly #clear: HTMLButtonElement;
  readonly #peek: Peek;
  readonly #poll: Poll;
  readonly #facts = { messages: element("dd", "", "–"), bytes: element("dd", "", "–"), oldest: element("dd", "", "–") };
  #user: User | undefined;

  constructor(desk: Desk, userId: string) {
    this.#desk = desk;
    this.#userId = userId;
    this.#path = `/users/${encodeURIComponent(userId)}`;
    this.#presence.dataset["online"] = "unknown";
    this.#sessions = sessionsTable(desk, false, "Not connected.", () => this.#poll.now());
    this.#closeAll = this.#actButton("Close all", "sessions:close", () => this.#closeSessions());
    this.#clear = this.#actButton("Clear", "mailboxes:clear", () => this.#clearMailbox());
    this.#clear.classList.add("danger-quiet");
    this.#peek = new Peek(desk, this.#path);
    const sessions = card("Sessions", this.#sessions.element);
    sessions.firstElementChild?.after(element("div", "card-tools", this.#closeAll));
    const facts = element("dl", "facts wide-facts");
    for (const [name, value] of [["Messages", this.#facts.messages], ["Size", this.#facts.bytes], ["Oldest", this.#facts.oldest]] as const) {
      facts.append(element("div", "", element("dt", "", name), value));
    }
    const mailbox = card("Mailbox", facts, this.#peek.element);
    mailbox.firstElementChild?.after(element("div", "card-tools", this.#peek.look, this.#clear));
    this.elements = [pageHead(userId, this.#presence, this.#freshness.element), sessions, mailbox];
    this.#poll = new Poll((signal) => this.#ask(signal), (problem) => this.#freshness.show(problem), desk.signal);
  }

  async #ask(signal: AbortSignal): Promise<void> {
    const [user, { sessions }] = await Promise.all([
      this.#desk.api.get<User>(this.#path, { signal }),
      this.#desk.api.get<{ sessions: Session[] }>(`${this.#path}/sessions`, { signal }),
    ]);
    this.#user = user;
    this.#sessions.show(sessions);
    this.#presence.dataset["online"] = String(user.online);
    setText(this.#presence, user.online ? `Online, ${plural(sessions.length, "session")}` : "Not connected");
    setText(this.#facts.messages, count(user.mailbox.messages));
    setText(this.#facts.bytes, bytes(user.mailbox.bytes));
    fillTime(this.#facts.oldest, user.mailbox.oldest);
    this.#enable(this.#closeAll, "sessions:close", sessions.length > 0);
    this.#enable(this.#clear, "mailboxes:clear", user.mailbox.messages > 0);
    this.#peek.waiting = user.mailbox.messages;
  }

  #actButton(text: string, scope: string, act: () => Promise<void>): HTMLButtonElement {
    const made = button(text, "small", () => void act());
    made.disabled = true;
    if (!may(this.#desk.own, scope)) made.title = `The key lacks the scope ${scope}.`;
    return made;
  }

  #enable(which: HTMLButtonElement, scope: string, useful: boolean): void {
    which.disabled = !useful || !may(this.#desk.own, scope);
  }

  async #closeSessions(): Promise<void> {
    const text = `All sessions of ${this.#userId} end. Its clients may connect again.`;
    if (!(await confirmed("Close all sessions?", text, "Close all", this.#desk.signal))) return;
    await attempt(this.#desk, async () => {
      const { closed } = await this.#desk.api.delete<{ closed: number }>(`${this.#path}/sessions`, { signal: this.#desk.signal });
      this.#desk.say(`Closed ${plural(closed, "session")} of ${this.#userId}.`);
      this.#poll.now();
    });
  }

  async #clearMailbox(): Promise<void> {
    const waiting = plural(this.#user?.mailbox.messages ?? 0, "message");
    const text = `${waiting} for ${this.#userId} will be gone for good, unread, except what is on its way to a session now. Nobody is told.`;
    if (!(await confirmed("Clear this mailbox?", text, "Clear mailbox", this.#desk.signal))) return;
    await attempt(this.#desk, async () => {
      const { removed } = await this.#desk.api.delete<{ removed: number }>(`${this.#path}/mailbox/messages`, { signal: this.#desk.signal });
      this.#desk.say(`Removed ${plural(removed, "message")} from the mailbox of ${this.#userId}.`);
      this.#peek.forget();
      this.#poll.now();
    });
  }
}
