import { button, element, setText } from "../dom.js";
import { Problem, sentence } from "../api.js";
import { showDialog } from "../dialog.js";
import { plural } from "../format.js";
import { type Desk } from "./page.js";

interface Replayed {
  replayed: number;
  next?: string;
  reason?: string;
}

/** Asks which events of a webhook are to be sent again, and has them sent; resolves to what came of it, or to undefined when nothing was done. */
export function askReplay(desk: Desk, name: string, path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const state = element("select");
    for (const [value, words] of [["failed", "those that were given up"], ["delivered", "those that were delivered"], ["", "all that ended"]] as const) {
      state.append(new Option(words, value));
    }
    const from = timeField();
    const to = timeField();
    const problem = element("p", "form-problem");
    problem.role = "status";
    const submit = element("button", "primary", "Replay");
    submit.type = "submit";
    const form = element(
      "form",
      "replay-form",
      element("label", "field", "Events", state),
      element("div", "pair-fields", element("label", "field", "Ended from", from), element("label", "field", "to", to)),
      problem,
      element("div", "dialog-actions", button("Cancel", "", () => dialog.close()), submit),
    );
    const dialog = showDialog(
      `Replay events of ${name}`,
      element("p", "", "They are queued behind what waits, and posted again with the IDs that they had. Without times: as far back as the history goes."),
      form,
    );
    let result: string | undefined;
    dialog.addEventListener("close", () => resolve(result));
    desk.signal.addEventListener("abort", () => dialog.close());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      submit.disabled = true;
      const body = { ...timeOf("from", from), ...timeOf("to", to), ...(state.value === "" ? {} : { state: state.value }) };
      void replayAll(desk, path, body)
        .then((said) => {
          result = said;
          dialog.close();
        })
        .catch((error: unknown) => {
          if (desk.signal.aborted) return;
          if (!(error instanceof Problem)) throw error;
          setText(problem, sentence(error));
          submit.disabled = false;
        });
    });
    state.focus();
  });
}

/** One request queues only so many: goes on until all are. */
async function replayAll(desk: Desk, path: string, body: object): Promise<string> {
  let sum = 0;
  let cursor: string | undefined;
  do {
    const answer: Replayed = await desk.api.post<Replayed>(path, {
      query: { app: desk.app },
      body: cursor === undefined ? body : { ...body, cursor },
      signal: desk.signal,
    });
    sum += answer.replayed;
    cursor = answer.next;
    if (answer.reason !== undefined) return `Queued ${plural(sum, "event")} again; the rest not: ${answer.reason}`;
  } while (cursor !== undefined);
  return sum === 0 ? "There are no such events." : `Queued ${plural(sum, "event")} again.`;
}

function timeField(): HTMLInputElement {
  const input = element("input");
  input.type = "datetime-local";
  input.step = "1";
  return input;
}

function timeOf(name: string, input: HTMLInputElement): Record<string, string> {
  return input.value === "" ? {} : { [name]: new Date(input.value).toISOString() };
}
