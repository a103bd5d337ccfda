import { clockTime, element, setText } from "../dom.js";
import type { Access } from "./access.js";
import { Line, type LineState } from "./line.js";
import { doorOf, hear, wrongIn, type Typed } from "./lines.js";

/** How many lines of a log are kept. */
const keptLines = 200;

const stateWords: Readonly<Record<LineState, string>> = {
  idle: "Not connected.",
  connecting: "Connecting …",
  up: "Connected: waiting for a device nearby.",
  waiting: "",
  failed: "",
};

/** One device: who and where it is, what it hears, with whom it is matched, and what it says. */
export class DeviceCard {
  readonly element: HTMLElement;
  readonly #access: Access;
  readonly #changed: () => void;
  readonly #title = element("h3", "card-title");
  readonly #handled = element("p", "handled");
  readonly #fields = { id: field("ID"), lat: field("Lat"), lon: field("Lon") };
  readonly #token = field("Token");
  readonly #where: HTMLFieldSetElement;
  readonly #connect = element("button", "primary", "Connect");
  readonly #match = element("p", "match");
  readonly #log = element("ol", "heard");
  readonly #frame = element("div", "heard-frame");
  readonly #text = element("input");
  readonly #send = element("button", "", "Send");
  readonly #line: Line;
  #state: LineState = "idle";
  #peer: string | undefined;

  constructor(preset: Typed, access: Access, changed: () => void) {
    this.#access = access;
    this.#changed = changed;
    for (const name of ["id", "lat", "lon"] as const) this.#fields[name].input.value = preset[name];
    this.#fields.lat.input.inputMode = this.#fields.lon.input.inputMode = "decimal";
    this.#token.input.type = "password";
    this.#token.input.placeholder = "if its app wants one";
    this.#token.label.classList.add("token");
    this.#token.label.hidden = true;
    this.#where = element("fieldset", "where", element("legend", "visually-hidden", "Who and where it is"), ...Object.values(this.#fields).map(({ label }) => label), this.#token.label);
    const door = element("form", "door-form", this.#where, this.#connect);
    door.noValidate = true;
    door.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#state === "idle" || this.#state === "failed") this.#open();
      else this.#line.close();
    });
    this.#fields.id.input.addEventListener("input", () => this.#name());
    this.#match.role = "status";
    this.#frame.append(this.#log);
    this.#frame.role = "region";
    this.#frame.tabIndex = 0;
    this.element = element("section", "card device", element("div", "device-head", this.#title, this.#handled), door, this.#match, this.#frame, this.#saying());
    this.#name();
    this.#line = new Line({ state: (state, why) => this.#show(state, why), line: (text) => this.#heard(text) });
    this.#show("idle", "");
  }

  get connected(): boolean {
    return this.#state === "up";
  }

  /** Whether it has a field for a token. */
  set takesToken(takes: boolean) {
    this.#token.label.hidden = !takes;
  }

  #saying(): HTMLFormElement {
    this.#text.autocomplete = "off";
    this.#text.placeholder = "A text to send";
    const saying = element("form", "saying", element("label", "grow", element("span", "visually-hidden", "Text"), this.#text), this.#send);
    saying.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#say();
    });
    return saying;
  }

  #name(): void {
    const id = this.#fields.id.input.value.trim();
    const name = id === "" ? "A device without an ID" : `Device ${id}`;
    setText(this.#title, name);
    this.element.ariaLabel = name;
    this.#frame.ariaLabel = `What ${id === "" ? "it" : id} hears`;
  }

  #open(): void {
    const typed = { id: this.#fields.id.input.value.trim(), lat: this.#fields.lat.input.value, lon: this.#fields.lon.input.value };
    const wrong = wrongIn(typed);
    for (const name of ["id", "lat", "lon"] as const) {
      if (wrong?.field === name) this.#fields[name].input.ariaInvalid = "true";
      else this.#fields[name].input.removeAttribute("aria-invalid");
    }
    const credentials = this.#access.credentials(this.#token.input.value.trim());
    if (wrong !== undefined) {
      this.#show("failed", wrong.sentence);
      this.#fields[wrong.field].input.focus();
      return;
    }
    if (typeof credentials === "string") {
      this.#show("failed", credentials);
      return;
    }
    const url = new URL(doorOf(typed, credentials), document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    this.#line.open(url.href);
  }

  #show(state: LineState, why: string): void {
    const was = this.#state;
    this.#state = state;
    if (state !== "up") {
      this.#peer = undefined;
      setText(this.#handled, "");
    }
    const off = state === "idle" || state === "failed";
    this.#where.disabled = !off;
    setText(this.#connect, off ? "Connect" : "Disconnect");
    this.#connect.classList.toggle("primary", off);
    this.#send.disabled = this.#text.disabled = state !== "up";
    this.element.dataset["state"] = state;
    this.#tell(why === "" ? stateWords[state] : why);
    if (was === "up" && state !== "up") this.#add("note", state === "idle" ? "Disconnected." : why);
    this.#changed();
  }

  #tell(sentence: string): void {
    setText(this.#match, sentence);
  }

  #heard(line: string): void {
    const heard = hear(line, this.#peer);
    this.#add("in", line);
    switch (heard.kind) {
      case "handled":
        setText(this.#handled, heard.by);
        break;
      case "matched":
        this.#peer = heard.peer;
        this.element.dataset["state"] = "matched";
        this.#tell(`Matched with ${heard.peer}.`);
        break;
      case "left":
        this.#peer = undefined;
        this.element.dataset["state"] = "up";
        this.#tell(`${heard.peer} left: waiting for another device nearby.`);
        break;
      case "said":
      case "other":
        break;
    }
  }

  #say(): void {
    const text = this.#text.value;
    if (text === "" || !this.#line.send(text)) return;
    this.#text.value = "";
    this.#add("out", text);
    if (this.#peer === undefined) this.#add("note", "Nobody is matched with it: the server drops that.");
  }

  #add(kind: "in" | "out" | "note", text: string): void {
    const frame = this.#frame;
    const atEnd = frame.scrollTop + frame.clientHeight >= frame.scrollHeight - 8;
    const words = element("span", "text", text);
    if (kind === "out") words.prepend(element("span", "visually-hidden", "Sent: "));
    const time = element("time", "", clockTime(Date.now()).slice(0, 8));
    this.#log.append(element("li", kind, time, words));
    while (this.#log.childElementCount > keptLines) this.#log.firstElementChild?.remove();
    if (atEnd) frame.scrollTop = frame.scrollHeight;
  }
}

function field(name: string): { label: HTMLLabelElement; input: HTMLInputElement } {
  const input = element("input");
  input.autocomplete = "off";
  input.spellcheck = false;
  input.autocapitalize = "off";
  return { label: element("label", "field", name, input), input };
}
