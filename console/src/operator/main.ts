import "./operator.css";
import { byId, element, setText } from "../dom.js";
import { Api, Problem, sentence } from "../api.js";
import type { Own } from "./answers.js";
import { clusterPage } from "./cluster.js";
import { domainsPage } from "./domains.js";
import { dateTime } from "../format.js";
import { keysPage } from "./keys.js";
import { rememberedKey, rememberKey } from "../keymemory.js";
import { say } from "../said.js";
import { relayPage } from "./relay.js";
import { overviewPage } from "./overview.js";
import { card, pageHead, type Desk, type Page } from "./page.js";
import { hrefOf, parseRoute, partOf, type Route } from "./route.js";
import { servicesPage } from "./services.js";
import { sessionsPage } from "./sessions.js";
import { userPage } from "./user.js";
import { usersPage } from "./users.js";
import { webhookPage } from "./webhook.js";
import { webhooksPage } from "./webhooks.js";

const form = byId("sign-in", HTMLFormElement);
const keyField = byId("key", HTMLInputElement);
const status = byId("status", HTMLElement);
const pillText = byId("pill-text", HTMLElement);
const main = byId("page", HTMLElement);
const said = byId("said", HTMLElement);
const appChoice = byId("app", HTMLSelectElement);

/** What is there while somebody is signed in. */
interface Signed {
  api: Api;
  own: Own;
  app: string;
}

let signed: Signed | undefined;
let leaving = new AbortController();
/** What was used last was a key, not the mouse. */
let byKeyboard = false;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  void signIn(keyIn(keyField.value), true);
});
byId("sign-out", HTMLButtonElement).addEventListener("click", () => signOut("Signed out."));
byId("show-key", HTMLInputElement).addEventListener("change", ({ target }) => {
  keyField.type = target instanceof HTMLInputElement && target.checked ? "text" : "password";
});
appChoice.addEventListener("change", () => chooseApp(appChoice.value));
addEventListener("hashchange", () => showRoute(true));
addEventListener("keydown", () => (byKeyboard = true), { capture: true });
addEventListener("pointerdown", () => (byKeyboard = false), { capture: true });
void servesDemo().then((demo) => (byId("demo-hint", HTMLElement).hidden = !demo));
await signIn(rememberedKey(), false);

/** The key in what was pasted, such as the whole line that the demo prints. */
function keyIn(text: string): string {
  return /sb_[a-z2-7]+_[a-z2-7]+/.exec(text)?.[0] ?? text.trim();
}

/** Finds out what a key is good for; with an empty one the form is shown. */
async function signIn(key: string, byForm: boolean): Promise<void> {
  if (key === "") {
    show("signed-out");
    keyField.focus();
    return;
  }
  show("signing-in");
  setText(status, "Asking the server …");
  const api = new Api(key, { reached, keyRefused: (problem) => signed?.api === api && signOut(sentence(problem)) });
  try {
    const own = await api.get<Own>("/whoami");
    rememberKey(key);
    keyField.value = "";
    signed = { api, own, app: "" };
    fillApps(own);
    setText(status, "");
    show("signed-in");
    setText(pillText, own.name === undefined || own.name === "" ? (own.admin ? "Admin key" : `Key of ${own.app ?? ""}`) : own.name);
    const until = own.expiresAt === undefined ? "" : `, good until ${dateTime(Date.parse(own.expiresAt))}`;
    byId("pill", HTMLElement).title = `Signed in with ${own.admin ? "an admin key" : `a key of app ${own.app ?? ""}`}${until}`;
    showRoute(byForm);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    // A key that cannot be asked about now may be good: it stays for the next try.
    if (error.keyIsBad) rememberKey("");
    else keyField.value = key;
    show("signed-out");
    setText(status, sentence(error));
    document.body.dataset["state"] = "failed";
    keyField.focus();
  }
}

function signOut(why: string): void {
  signed = undefined;
  rememberKey("");
  leave();
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  main.replaceChildren();
  said.replaceChildren();
  show("signed-out");
  setText(status, why);
  keyField.focus();
}

function show(state: "signed-out" | "signing-in" | "signed-in"): void {
  document.body.dataset["state"] = state === "signed-in" ? "online" : state === "signing-in" ? "connecting" : "idle";
  byId("door", HTMLElement).hidden = state === "signed-in";
  byId("desk", HTMLElement).hidden = state !== "signed-in";
  byId("sign-out", HTMLButtonElement).hidden = state !== "signed-in";
  byId("sign-in-button", HTMLButtonElement).disabled = state === "signing-in";
  if (state !== "signed-in") {
    document.title = "Switchboard operator";
    setText(pillText, state === "signing-in" ? "Signing in…" : "Not signed in");
  }
}

/** Shows in the pill whether the server can be reached. */
function reached(problem: Problem | undefined): void {
  if (signed === undefined) return;
  document.body.dataset["state"] = problem === undefined ? "online" : "waiting";
}

/** The apps to choose from; the choice is of lists, and part of their addresses. */
function fillApps(own: Own): void {
  appChoice.replaceChildren(...own.apps.map((app) => new Option(app, app)));
  byId("app-field", HTMLElement).hidden = own.apps.length < 2;
}

function chooseApp(app: string): void {
  const route = parseRoute(location.hash);
  if ("app" in route && route.page !== "webhook") {
    location.hash = hrefOf({ ...route, app });
    return;
  }
  if (signed !== undefined) signed.app = app;
  linkParts(route);
  if (route.page === "user" || route.page === "webhook") location.hash = hrefOf({ page: partOf(route) === "users" ? "users" : "webhooks", app });
}

/** Shows the page that the address names. */
function showRoute(move: boolean): void {
  if (signed === undefined) return;
  leave();
  const route = parseRoute(location.hash);
  signed.app = appOf(route, signed);
  appChoice.value = signed.app;
  linkParts(route);
  said.replaceChildren();
  const desk: Desk = { api: signed.api, own: signed.own, app: signed.app, signal: leaving.signal, say: (text) => say(said, text) };
  const page = pageOf(route, desk);
  main.replaceChildren(page.element);
  document.title = `${page.title} · Switchboard operator`;
  if (!move) return;
  scrollTo(0, 0);
  const title = main.querySelector<HTMLElement>(".page-title");
  // For whoever came by mouse a box around a heading that nothing can be done with means nothing.
  title?.classList.toggle("unmarked", !byKeyboard);
  title?.focus({ preventScroll: true });
}

/** The app that a page is about: the address's, or a user's own, or the one chosen before. */
function appOf(route: Route, { own, app }: Signed): string {
  const asked = "app" in route ? route.app : route.page === "user" ? (route.userId.split("-")[0] ?? "") : "";
  if (own.apps.includes(asked)) return asked;
  return own.apps.includes(app) ? app : (own.apps[0] ?? "");
}

function linkParts(route: Route): void {
  const app = signed !== undefined && signed.own.apps.length > 1 ? signed.app : "";
  for (const link of document.querySelectorAll<HTMLAnchorElement>("[data-part]")) {
    const part = link.dataset["part"];
    if (part === "users" || part === "sessions" || part === "webhooks") link.href = hrefOf({ page: part, app });
    if (part === partOf(route) && route.page !== "unknown") link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function pageOf(route: Route, desk: Desk): Page {
  switch (route.page) {
    case "overview":
      return overviewPage(desk);
    case "users":
      return usersPage(desk);
    case "user":
      return userPage(desk, route.userId);
    case "sessions":
      return sessionsPage(desk);
    case "keys":
      return keysPage(desk);
    case "webhooks":
      return webhooksPage(desk);
    case "webhook":
      return webhookPage(desk, route.name, route.state);
    case "domains":
      return domainsPage(desk, route.user);
    case "cluster":
      return clusterPage(desk);
    case "relay":
      return relayPage(desk);
    case "services":
      return servicesPage(desk);
    case "unknown":
      return nothingHere();
  }
}

function nothingHere(): Page {
  const home = element("a", "", "Go to the overview");
  home.href = hrefOf({ page: "overview" });
  return { title: "Nothing here", element: element("div", "page", pageHead("Nothing here"), card("There is no such page", element("p", "", home))) };
}

function leave(): void {
  leaving.abort();
  leaving = new AbortController();
}

/** Whether the server is the demo, which prints a key when it starts. */
async function servesDemo(): Promise<boolean> {
  try {
    const answer = await fetch("console.json", { signal: AbortSignal.timeout(5000) });
    const about: unknown = answer.ok ? await answer.json() : undefined;
    return typeof about === "object" && about !== null && "demo" in about && about.demo === true;
  } catch {
    return false;
  }
}
