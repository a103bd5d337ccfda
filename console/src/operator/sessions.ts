import { button, element, setText } from "../dom.js";
import type { Session } from "./answers.js";
import { confirmed } from "../dialog.js";
import { attempt, card, lacks, may, pageHead, type Desk, type Page } from "./page.js";
import { pageSize, PagedList } from "./pagedlist.js";
import { Table, type Column } from "../table.js";
import { fillTime } from "./times.js";
import { userLink } from "./users.js";

/** All sessions of an app. */
export function sessionsPage(desk: Desk): Page {
  const title = "Sessions";
  const head = pageHead(title);
  if (!may(desk.own, "users:read")) return { title, element: element("div", "page", head, card("Sessions", lacks("users:read"))) };
  const table = sessionsTable(desk, true, `There are no sessions of ${desk.app}.`, () => list.reload());
  const list = new PagedList(desk, table, "session", async (cursor, signal) => {
    const query = { app: desk.app, limit: pageSize, cursor };
    const answer = await desk.api.get<{ sessions: Session[]; next?: string }>("/sessions", { query, signal });
    return { items: answer.sessions, next: answer.next };
  });
  return { title, element: element("div", "page", head, card(`Sessions of ${desk.app}`, list.element)) };
}

/** A table of sessions, each with a button that closes it. */
export function sessionsTable(desk: Desk, withUser: boolean, empty: string, closed: () => void): Table<Session> {
  const user: Column<Session> = { head: "User", className: "first", fill: (cell, { userId }, fresh) => fresh && cell.append(userLink(userId)) };
  return new Table<Session>({
    caption: withUser ? "Sessions, by user ID" : "Sessions of this user, oldest first",
    keyOf: ({ userId, id }) => `${userId} ${id}`,
    empty,
    columns: [
      ...(withUser ? [user] : []),
      { head: "Session", className: withUser ? "code" : "first code", fill: (cell, { id }) => setText(cell, id) },
      { head: "Connected", className: "time", fill: (cell, { since }) => fillTime(cell, since) },
      { head: "Address", className: "code", fill: (cell, { address }) => setText(cell, address) },
      { head: "Over", fill: (cell, { transport }) => setText(cell, transport) },
      { head: "Close", hideHead: true, className: "act", fill: (cell, session, fresh) => fresh && cell.append(closeButton(desk, session, closed)) },
    ],
  });
}

function closeButton(desk: Desk, session: Session, closed: () => void): HTMLButtonElement {
  const made = button("Close", "small", () => void close());
  made.ariaLabel = `Close session ${session.id} of ${session.userId}`;
  made.disabled = !may(desk.own, "sessions:close");
  if (made.disabled) made.title = "The key lacks the scope sessions:close.";
  return made;

  async function close(): Promise<void> {
    const text = `The session of ${session.userId} from ${session.address} ends. Its client may connect again.`;
    if (!(await confirmed("Close this session?", text, "Close session", desk.signal))) return;
    await attempt(desk, async () => {
      await desk.api.delete(`/users/${encodeURIComponent(session.userId)}/sessions/${encodeURIComponent(session.id)}`, { signal: desk.signal });
      desk.say(`Closed a session of ${session.userId}.`);
      closed();
    });
  }
}
