import { button, element, setText } from "../dom.js";
import type { Key } from "./answers.js";
import { confirmed } from "../dialog.js";
import { KeyForm } from "./keyform.js";
import { attempt, card, lacks, may, pageHead, type Desk, type Page } from "./page.js";
import { pageSize, PagedList } from "./pagedlist.js";
import { Table } from "../table.js";
import { fillTime } from "./times.js";

/** API keys: list, make, revoke. */
export function keysPage(desk: Desk): Page {
  const title = "Keys";
  const head = pageHead(title);
  if (!may(desk.own, "keys:manage")) return { title, element: element("div", "page", head, card("API keys", lacks("keys:manage"))) };
  const list = new PagedList(desk, keysTable(desk, (key) => void revoke(desk, key, list)), "key", async (cursor, signal) => {
    const answer = await desk.api.get<{ keys: Key[]; next?: string }>("/keys", { query: { limit: pageSize, cursor }, signal });
    return { items: answer.keys, next: answer.next };
  });
  const form = new KeyForm(desk, () => list.reload());
  head.append(form.opener);
  return { title, element: element("div", "page", head, form.element, card("API keys", list.element)) };
}

function keysTable(desk: Desk, revokeKey: (key: Key) => void): Table<Key> {
  return new Table<Key>({
    caption: "API keys, oldest first",
    keyOf: ({ id }) => id,
    empty: "There are no keys. Make one above.",
    columns: [
      { head: "Key", className: "first", fill: (cell, key, fresh) => fresh && cell.append(nameOf(key, desk)) },
      { head: "For", className: "app-name", fill: (cell, key) => setText(cell, key.admin ? "all (admin)" : (key.app ?? "")) },
      { head: "Scopes", className: "scopes-cell", fill: (cell, key, fresh) => fresh && cell.append(scopesOf(key)) },
      { head: "Made", className: "time", fill: (cell, key) => fillTime(cell, key.createdAt) },
      { head: "Expires", className: "time", fill: fillExpiry },
      { head: "Last used", className: "time", fill: (cell, key) => fillTime(cell, key.lastUsedAt, "not since start") },
      {
        head: "Revoke",
        hideHead: true,
        className: "act",
        fill: (cell, key, fresh) => {
          if (!fresh) return;
          const made = button("Revoke", "small", () => revokeKey(key));
          made.ariaLabel = `Revoke key ${key.name ?? key.id}`;
          cell.append(made);
        },
      },
    ],
  });
}

function nameOf(key: Key, desk: Desk): HTMLElement {
  const name = element("span", "key-name", key.name === undefined || key.name === "" ? "without a name" : key.name);
  const id = element("code", "id", key.id);
  const box = element("div", "two-lines", name, id);
  if (key.id === desk.own.id) name.append(" ", element("span", "badge-soft", "yours"));
  if (key.untilRestart === true) name.append(" ", element("span", "badge-soft", "until restart"));
  return box;
}

function scopesOf(key: Key): HTMLElement {
  if (key.admin) return element("span", "muted", "all");
  return element("span", "tags", ...key.scopes.map((scope) => element("code", "tag-soft", scope)));
}

function fillExpiry(cell: HTMLElement, key: Key): void {
  fillTime(cell, key.expiresAt, "never");
  cell.classList.toggle("over", key.expiresAt !== undefined && Date.parse(key.expiresAt) <= Date.now());
}

async function revoke(desk: Desk, key: Key, list: PagedList<Key>): Promise<void> {
  const name = key.name === undefined || key.name === "" ? key.id : `“${key.name}” (${key.id})`;
  const own = key.id === desk.own.id ? " It is the key that you are signed in with: you will be signed out." : "";
  const text = `Whoever uses the key ${name} is refused from then on. This cannot be undone.${own}`;
  if (!(await confirmed("Revoke this key?", text, "Revoke", desk.signal))) return;
  await attempt(desk, async () => {
    await desk.api.delete(`/keys/${encodeURIComponent(key.id)}`, { signal: desk.signal });
    desk.say(`Revoked the key ${name}.`);
    list.reload();
  });
}
