import { element, setText } from "../dom.js";
import { ago, dateTime } from "../format.js";

/** Writes how long ago something was into a cell, with the exact time for who points at it. */
export function fillTime(cell: HTMLElement, at: string | undefined, otherwise = "–"): void {
  if (at === undefined) {
    setText(cell, otherwise);
    return;
  }
  let time = cell.querySelector("time");
  if (time === null) {
    time = element("time");
    cell.replaceChildren(time);
  }
  const ms = Date.parse(at);
  setText(time, ago(ms, Date.now()));
  if (time.dateTime !== at) {
    time.dateTime = at;
    time.title = `${dateTime(ms)} here, ${at}`;
  }
}
