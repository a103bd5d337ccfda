import { showDialog } from "../dialog.js";
import { button, element, setText } from "../dom.js";
import { dateTime } from "../format.js";
import type { Message } from "./answers.js";
import type { Desk } from "./desk.js";
import { contentNode } from "./rowelements.js";
import { versionsOf, type Version } from "./versions.js";
import { explained } from "./problems.js";

/** Shows what a message said before it was edited, and who changed it. */
export function showVersions(desk: Desk, room: string, message: Message): void {
  const list = element("ol", "versions");
  const note = element("p", "form-problem", "Loading …");
  note.role = "status";
  const dialog = showDialog("Versions of the message", list, note, element("div", "dialog-actions", button("Close", "", () => dialog.close())));
  desk.signal.addEventListener("abort", () => dialog.close());
  desk.api.get<Record<string, unknown>>(`/rooms/${encodeURIComponent(room)}/messages/${encodeURIComponent(message.id)}/versions`).then(
    (answer) => {
      list.replaceChildren(...versionsOf(message, answer).map((version, i) => versionItem(desk, version, i === 0)));
      setText(note, "");
    },
    (error: unknown) => setText(note, explained(error)),
  );
}

function versionItem(desk: Desk, { by, at, content }: Version, first: boolean): HTMLElement {
  const who = by === desk.chat.me ? "you" : desk.chat.people.name(by);
  return element("li", "", element("small", "", `${first ? "Written" : "Edited"} by ${who}, ${dateTime(at)}`), contentNode(content));
}
