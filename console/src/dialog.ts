import { element } from "./dom.js";

/** Shows a dialog until it is closed; then it is gone from the page. */
export function showDialog(title: string, ...content: (Node | string)[]): HTMLDialogElement {
  const heading = element("h2", "", title);
  heading.id = "dialog-title";
  const dialog = element("dialog", "dialog", heading, ...content);
  dialog.setAttribute("aria-labelledby", heading.id);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Asks before something is done that cannot be undone; resolves to whether it is wanted. */
export function confirmed(title: string, text: string, verb: string, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const yes = element("button", "danger", verb);
    const no = element("button", "", "Cancel");
    for (const button of [yes, no]) button.type = "button";
    const dialog = showDialog(title, element("p", "", text), element("div", "dialog-actions", no, yes));
    let wanted = false;
    yes.addEventListener("click", () => {
      wanted = true;
      dialog.close();
    });
    no.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => resolve(wanted));
    signal.addEventListener("abort", () => dialog.close());
    no.focus(); // a stray Enter does no harm
  });
}
