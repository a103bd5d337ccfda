import { element, setText } from "../dom.js";
import type { Webhook } from "./answers.js";
import { count, plural } from "../format.js";
import { card, lacks, may, pageHead, type Desk, type Page } from "./page.js";
import { pageSize, PagedList } from "./pagedlist.js";
import { hrefOf } from "./route.js";
import { Table } from "../table.js";
import { fillTime } from "./times.js";

/** An app's webhooks, and how it goes with them. */
export function webhooksPage(desk: Desk): Page {
  const title = "Webhooks";
  const head = pageHead(title);
  if (!may(desk.own, "webhooks:read")) return { title, element: element("div", "page", head, card("Webhooks", lacks("webhooks:read"))) };
  const list = new PagedList(desk, webhooksTable(desk), "webhook", async (cursor, signal) => {
    const query = { app: desk.app, limit: pageSize, cursor };
    const answer = await desk.api.get<{ webhooks: Webhook[]; next?: string }>("/webhooks", { query, signal });
    return { items: answer.webhooks, next: answer.next };
  });
  return { title, element: element("div", "page", head, card(`Webhooks of ${desk.app}`, list.element)) };
}

function webhooksTable(desk: Desk): Table<Webhook> {
  return new Table<Webhook>({
    caption: "Webhooks, by name",
    keyOf: ({ app, name }) => `${app} ${name}`,
    empty: `${desk.app} has no webhooks. They are named in the settings of the node, under apps[].webhooks.`,
    columns: [
      { head: "Webhook", className: "first", fill: (cell, hook, fresh) => fresh && cell.append(nameOf(hook)) },
      { head: "State", fill: fillState },
      { head: "Waiting", className: "number", fill: (cell, { waiting }) => setText(cell, count(waiting)) },
      { head: "Delivered", className: "number", fill: (cell, { delivered }) => setText(cell, count(delivered)) },
      { head: "Given up", className: "number", fill: (cell, { failed }) => setText(cell, count(failed)) },
      { head: "Last success", className: "time", fill: (cell, { lastSuccess }) => fillTime(cell, lastSuccess, "none yet") },
      { head: "Last failure", className: "failure", fill: fillFailure },
    ],
  });
}

function nameOf({ app, name, url }: Webhook): HTMLElement {
  const link = element("a", "", name);
  link.href = hrefOf({ page: "webhook", app, name, state: "" });
  return element("div", "two-lines", link, element("code", "id", url));
}

const states: Readonly<Record<string, string>> = { ok: "good", failing: "bad", idle: "quiet" };

/** How a webhook does, in a word and a colour. */
export function fillState(cell: HTMLElement, { state }: Pick<Webhook, "state">): void {
  let badge = cell.querySelector<HTMLElement>(".state");
  if (badge === null) {
    badge = element("span");
    cell.replaceChildren(badge);
  }
  badge.className = `state ${states[state] ?? "quiet"}`;
  setText(badge, state);
}

/** When an attempt failed last, and why. */
export function fillFailure(cell: HTMLElement, { lastFailure, stuckUsers }: Webhook): void {
  if (lastFailure === undefined) {
    setText(cell, "none");
    return;
  }
  let parts = cell.querySelectorAll<HTMLElement>("span");
  if (parts.length < 2) {
    cell.replaceChildren(element("div", "two-lines", element("span"), element("span", "reason")));
    parts = cell.querySelectorAll("span");
  }
  const [when, why] = parts;
  if (when === undefined || why === undefined) return;
  fillTime(when, lastFailure.at);
  setText(why, stuckUsers === 0 ? lastFailure.reason : `${lastFailure.reason} (${plural(stuckUsers, "user")} held up)`);
}
