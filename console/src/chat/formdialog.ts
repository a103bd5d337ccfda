import { button, element, setText } from "../dom.js";
import { showDialog } from "../dialog.js";
import { explained, type Sentences } from "./problems.js";

/** A field of a form in a dialog. */
export interface Field {
  name: string;
  label: string;
  kind?: "text" | "password" | "textarea" | "checkbox" | "url";
  value?: string;
  hint?: string;
  required?: boolean;
  maxLength?: number;
  autocomplete?: AutoFill;
}

export interface FormSpec {
  title: string;
  intro?: string;
  fields: readonly Field[];
  verb: string;
  danger?: boolean;
  /** What some codes mean here. */
  problems?: Sentences;
  /** Does what is asked for; what goes wrong is said in the dialog, which stays open. */
  submit(value: (name: string) => string): Promise<void>;
}

/** Shows a form in a dialog, which closes when what it asks for is done. */
export function askForm(spec: FormSpec, signal: AbortSignal): HTMLDialogElement {
  const form = element("form", "dialog-form");
  const problem = element("p", "form-problem");
  problem.role = "alert";
  const submit = element("button", spec.danger === true ? "danger" : "primary", spec.verb);
  submit.type = "submit";
  if (spec.intro !== undefined) form.append(element("p", "hint", spec.intro));
  form.append(...spec.fields.map(fieldOf), problem, element("div", "dialog-actions", button("Cancel", "", () => dialog.close()), submit));
  const dialog = showDialog(spec.title, form);
  signal.addEventListener("abort", () => dialog.close());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void send();
  });
  return dialog;

  async function send(): Promise<void> {
    if (submit.disabled) return;
    submit.disabled = true;
    setText(problem, "");
    try {
      const values = new FormData(form);
      await spec.submit((name) => {
        const value = values.get(name);
        return typeof value === "string" ? value : "";
      });
      dialog.close();
    } catch (error) {
      setText(problem, explained(error, spec.problems));
    } finally {
      submit.disabled = false;
    }
  }
}

function fieldOf(field: Field): HTMLElement {
  const control = field.kind === "textarea" ? element("textarea") : element("input");
  control.name = field.name;
  control.required = field.required ?? false;
  if (field.maxLength !== undefined) control.maxLength = field.maxLength;
  if (field.autocomplete !== undefined) control.autocomplete = field.autocomplete;
  if (field.kind === "checkbox" && control instanceof HTMLInputElement) {
    control.type = "checkbox";
    control.checked = field.value === "on";
    const words = element("span", "", field.label);
    if (field.hint !== undefined) words.append(" ", element("small", "", field.hint));
    return element("label", "check", control, words);
  }
  if (control instanceof HTMLInputElement) control.type = field.kind === "password" ? "password" : "text";
  control.value = field.value ?? "";
  const label = element("label", "field", field.label, control);
  if (field.hint !== undefined) label.append(element("small", "", field.hint));
  return label;
}
