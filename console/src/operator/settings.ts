import { element, setText } from "../dom.js";
import type { PendingSetting, Settings, SettingsTrouble } from "./answers.js";
import { fillBadge } from "./domaintables.js";
import { card, Freshness, pageHead, type Desk, type Page } from "./page.js";
import { Poll } from "./poll.js";
import { shownSettings, sourceWords, summaryOf, troubleHead, type ShownSetting } from "./settingswords.js";
import { Table } from "../table.js";
import { fillTime } from "./times.js";

/** How often they are asked for: a commit is to be seen soon after it takes effect. */
const everyMs = 2_000;

/** What is in force, from where, and what is wrong with what is newer. */
export function settingsPage(desk: Desk): Page {
  const title = "Settings";
  if (!desk.own.admin) return { title, element: element("div", "page", pageHead(title), card("In force", element("p", "lacks", "The settings are shown to admin keys only."))) };
  return { title, element: new SettingsPage(desk).element };
}

class SettingsPage {
  readonly element: HTMLElement;
  readonly #desk: Desk;
  readonly #freshness = new Freshness();
  readonly #summary = element("p", "settings-summary", "Loading …");
  readonly #source = element("p", "hint settings-source");
  readonly #facts = element("dl", "facts");
  readonly #values = { commit: element("dd"), since: element("dd"), confirmed: element("dd"), files: element("dd") };
  readonly #troubleTable = troublesTable();
  readonly #pendingTable = pendingTable();
  readonly #table = settingsTable();
  readonly #troubles: HTMLElement;
  readonly #pending: HTMLElement;
  readonly #find = element("input");
  readonly #all = element("input");
  #settings: Settings | undefined;

  constructor(desk: Desk) {
    this.#desk = desk;
    this.#summary.role = "status";
    for (const [name, value] of [["Commit", this.#values.commit], ["In force since", this.#values.since], ["Confirmed", this.#values.confirmed], ["Files", this.#values.files]] as const) {
      this.#facts.append(element("dt", "", name), value);
    }
    this.#facts.hidden = true;
    this.#find.type = "search";
    this.#find.spellcheck = false;
    this.#find.placeholder = "limits.";
    this.#all.type = "checkbox";
    this.#troubles = card("What is wrong", this.#troubleTable.element);
    this.#pending = card("At the next start", element("p", "hint", "These have changed, and take effect when this node is started again."), this.#pendingTable.element);
    this.#troubles.hidden = true;
    this.#pending.hidden = true;
    const filter = element(
      "div",
      "settings-find",
      element("div", "find", element("label", "inline", element("span", "", "Key"), this.#find)),
      element("label", "check", this.#all, element("span", "", "Defaults, too")),
    );
    filter.addEventListener("input", () => this.#list());
    this.element = element(
      "div",
      "page settings",
      pageHead("Settings", this.#freshness.element),
      card("In force", this.#summary, this.#source, this.#facts),
      this.#troubles,
      this.#pending,
      card("All settings", filter, this.#table.element),
    );
    new Poll((signal) => this.#look(signal), (problem) => this.#freshness.show(problem), desk.signal, everyMs);
  }

  async #look(signal: AbortSignal): Promise<void> {
    const settings = await this.#desk.api.get<Settings>("/settings", { signal });
    if (signal.aborted) return;
    this.#settings = settings;
    const { shape, words } = summaryOf(settings);
    fillBadge(this.#summary, shape, words);
    setText(this.#source, sourceWords(settings));
    this.#facts.hidden = settings.source === undefined;
    if (settings.source !== undefined) {
      setText(this.#values.commit, settings.source.commit);
      fillTime(this.#values.since, settings.source.since);
      fillTime(this.#values.confirmed, settings.source.confirmed, "not since the start");
      setText(this.#values.files, settings.source.files.join(", "));
    }
    this.#troubles.hidden = settings.troubles.length === 0;
    this.#troubleTable.show(settings.troubles);
    this.#pending.hidden = settings.pending.length === 0;
    this.#pendingTable.show(settings.pending);
    this.#list();
  }

  #list(): void {
    if (this.#settings === undefined) return;
    this.#table.show(shownSettings(this.#settings, this.#find.value, this.#all.checked));
  }
}

function troublesTable(): Table<SettingsTrouble> {
  return new Table<SettingsTrouble>({
    caption: "What is wrong, the oldest first",
    keyOf: ({ kind, since, text }) => `${kind} ${since} ${text.join(" ")}`,
    empty: "Nothing is wrong.",
    columns: [
      { head: "What", className: "first", fill: (cell, trouble) => fillBadge(cell, "bad", troubleHead(trouble)) },
      { head: "Since", className: "time", fill: (cell, { since }) => fillTime(cell, since) },
      { head: "Why", className: "settings-why", fill: fillWhy },
    ],
  });
}

function fillWhy(cell: HTMLElement, { text }: SettingsTrouble, fresh: boolean): void {
  if (fresh) cell.append(element("div", "two-lines", ...text.map((line) => element("span", "", line)))); // the key of a row has all of it
}

function pendingTable(): Table<PendingSetting> {
  return new Table<PendingSetting>({
    caption: "What takes effect at the next start",
    keyOf: ({ key }) => key,
    empty: "Nothing.",
    columns: [
      { head: "Key", className: "first settings-key", fill: (cell, { key }) => setText(cell, key) },
      { head: "Will be", className: "settings-value", fill: (cell, { value }) => setText(cell, value ?? "changed") },
    ],
  });
}

function settingsTable(): Table<ShownSetting> {
  return new Table<ShownSetting>({
    caption: "Settings that are in force, with where they come from",
    keyOf: ({ key }) => key,
    empty: "No setting is like this. Defaults are shown on demand.",
    columns: [
      { head: "Key", className: "first settings-key", fill: (cell, { key }) => setText(cell, key) },
      { head: "Value", className: "settings-value", fill: (cell, { value }) => setText(cell, value) },
      { head: "From", className: "settings-from", fill: fillFrom },
      { head: "Changes", className: "settings-changes", fill: (cell, { changes }) => setText(cell, changes) },
    ],
  });
}

function fillFrom(cell: HTMLElement, { from, place }: ShownSetting, fresh: boolean): void {
  if (fresh) cell.append(element("div", "two-lines", element("span"), element("span", "id")));
  const [first, second] = cell.querySelectorAll<HTMLElement>(".two-lines > span");
  if (first === undefined || second === undefined) return;
  setText(first, from);
  second.hidden = place === "";
  setText(second, place);
}
