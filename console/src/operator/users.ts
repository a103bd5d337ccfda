import { element, setText } from "../dom.js";
import type { OnlineUser } from "./answers.js";
import { count } from "../format.js";
import { card, lacks, may, pageHead, type Desk, type Page } from "./page.js";
import { pageSize, PagedList } from "./pagedlist.js";
import { hrefOf } from "./route.js";
import { Table } from "../table.js";
import { fillTime } from "./times.js";

/** Who is connected, and a way to any user. */
export function usersPage(desk: Desk): Page {
  const title = "Users";
  const head = pageHead(title, findForm(desk));
  const parts: HTMLElement[] = [head];
  if (may(desk.own, "users:read")) {
    const list = new PagedList(desk, usersTable(desk.app), "user", async (cursor, signal) => {
      const query = { app: desk.app, limit: pageSize, cursor };
      const answer = await desk.api.get<{ users: OnlineUser[]; next?: string }>("/users", { query, signal });
      return { items: answer.users, next: answer.next };
    });
    parts.push(card(`Connected users of ${desk.app}`, list.element));
  } else {
    parts.push(card("Connected users", lacks("users:read")));
  }
  return { title, element: element("div", "page", ...parts) };
}

function usersTable(app: string): Table<OnlineUser> {
  return new Table<OnlineUser>({
    caption: "Connected users, by user ID",
    keyOf: ({ userId }) => userId,
    empty: `Nobody of ${app} is connected. To see a user's mailbox, find the user by ID.`,
    columns: [
      { head: "User", className: "first", fill: (cell, { userId }, fresh) => fresh && cell.append(userLink(userId)) },
      { head: "Sessions", className: "number", fill: (cell, { sessions }) => setText(cell, count(sessions)) },
      { head: "Connected", className: "time", fill: (cell, { since }) => fillTime(cell, since) },
    ],
  });
}

export function userLink(userId: string): HTMLAnchorElement {
  const link = element("a", "user-link", userId);
  link.href = hrefOf({ page: "user", userId });
  return link;
}

/** Goes to a user, who need not be connected. A number alone is one of the chosen app's. */
function findForm(desk: Desk): HTMLElement {
  const input = element("input");
  input.type = "search";
  input.spellcheck = false;
  input.required = true;
  input.placeholder = `${desk.app}-123`;
  const go = element("button", "", "Open");
  go.type = "submit";
  const form = element("form", "find", element("label", "inline", element("span", "", "User ID"), input), go);
  form.role = "search";
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const typed = input.value.trim();
    const userId = /^\d+$/.test(typed) ? `${desk.app}-${typed}` : typed;
    if (userId !== "") location.hash = hrefOf({ page: "user", userId });
  });
  return form;
}
