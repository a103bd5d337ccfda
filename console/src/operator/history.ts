import { element, setText } from "../dom.js";
import { prettyJson } from "../json.js";
import type { EndedEvent } from "./answers.js";
import { count } from "../format.js";
import { Table } from "../table.js";
import { fillTime } from "./times.js";

/** An event of the history, with what was posted as the text that it was. */
export type HistoryEntry = EndedEvent & { text: string };

/** What became of a webhook's events. */
export function historyTable(state: string): Table<HistoryEntry> {
  return new Table<HistoryEntry>({
    caption: "Events that ended, newest first",
    // A replayed event ends again, under the same ID.
    keyOf: ({ id, endedAt, state: ended }) => `${id} ${endedAt} ${ended}`,
    empty: state === "failed" ? "Nothing was given up." : "No event has ended yet.",
    columns: [
      { head: "Event", className: "first event", fill: (cell, entry, fresh) => fresh && cell.append(eventDetails(entry)) },
      { head: "Ended", className: "time", fill: (cell, { endedAt }) => fillTime(cell, endedAt) },
      { head: "How", fill: (cell, entry, fresh) => fresh && cell.append(fateOf(entry)) },
      { head: "Attempts", className: "number", fill: (cell, { attempts }) => setText(cell, count(attempts)) },
      { head: "Answer", className: "reason", fill: (cell, entry) => setText(cell, answerOf(entry)) },
    ],
  });
}

function fateOf({ state }: HistoryEntry): HTMLElement {
  return element("span", `state ${state === "delivered" ? "good" : "bad"}`, state === "failed" ? "given up" : state);
}

function answerOf({ status, reason }: HistoryEntry): string {
  if (reason !== undefined && reason !== "") return reason;
  return status === undefined ? "none" : `status ${status}`;
}

/** The event's type and whom it is about; what was posted once it is opened. */
function eventDetails({ id, event, text }: HistoryEntry): HTMLElement {
  const details = element("details", "", element("summary", "", element("b", "", memberOf(event, "type")), " ", element("span", "muted", aboutOf(event))));
  details.addEventListener("toggle", () => {
    if (!details.open || details.childElementCount > 1) return;
    details.append(element("p", "mail-about", "ID ", element("code", "", id)), element("pre", "", prettyJson(text)));
  });
  return details;
}

function aboutOf(event: unknown): string {
  const data = typeof event === "object" && event !== null && "data" in event ? event.data : undefined;
  const user = memberOf(data, "userId");
  if (user !== "") return user;
  const [from, to] = [memberOf(data, "from"), memberOf(data, "to")];
  return from === "" ? to : `${from} → ${to}`;
}

function memberOf(value: unknown, name: string): string {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return "";
  const member = (value as Record<string, unknown>)[name];
  return typeof member === "string" ? member : "";
}
