import "./style.css";
import { Client, SwitchboardError, type ClientOptions } from "@switchboard/client";
import { Composer, type Draft } from "./composer.js";
import { Conversation } from "./conversation.js";
import { isPreset, presets, type PresetName } from "./demo.js";
import { byId, control } from "./dom.js";
import { FramesPane } from "./framespane.js";
import { Memory } from "./memory.js";
import { about } from "./server.js";
import { SignInForm } from "./signin.js";
import { capital, withStop } from "./words.js";

let client: Client | undefined;
let unread = 0;

const conversation = new Conversation();
const frames = new FramesPane();
const signIn = new SignInForm({ signIn: connect, signOut: () => client?.close(), retry: () => client?.retryNow() });
const composer = new Composer(send);
const mailbox = byId("mailbox", HTMLFormElement);
const fetched = byId("fetched", HTMLElement);
const onDemo = (await about()).demo;
signIn.open(onDemo);
if (onDemo) composer.to = presets.ben.userId;
const memory = new Memory([signIn.form, mailbox, composer.form]);

composer.refresh();
mailbox.addEventListener("submit", (event) => {
  event.preventDefault();
  void fetchMissing();
});
for (const button of document.querySelectorAll<HTMLButtonElement>("[data-preset]")) {
  button.addEventListener("click", () => usePreset(button.dataset["preset"] ?? ""));
}
for (const button of document.querySelectorAll<HTMLButtonElement>("[data-show]")) {
  button.addEventListener("click", () => showPart(button.dataset["show"] ?? ""));
}
byId("conversation-clear", HTMLButtonElement).addEventListener("click", () => countUnread(0));

// The link to a second tab names its user behind the "#". Taken once, so that a
// reload keeps what was typed since.
const asked = location.hash.slice(1);
if (asked !== "") history.replaceState(null, "", location.pathname + location.search);
if (onDemo) usePreset(asked);

function usePreset(name: string): void {
  if (!isPreset(name)) return;
  signIn.choose(name);
  composer.to = presets[presets[name].other].userId;
  memory.save();
  signIn.submit();
}

function connect(options: ClientOptions): void {
  client?.close();
  try {
    client = new Client(options);
  } catch (error) {
    if (!(error instanceof SwitchboardError)) throw error;
    client = undefined;
    signIn.problem(`${capital(withStop(error.message))} (${error.code})`);
    return;
  }
  listen(client, options);
  offerOtherTab(options.userId);
  client.connect().catch(() => undefined); // the state says why
}

function listen(own: Client, options: ClientOptions): void {
  // In the pane the token is not shown: screens are shared and photographed.
  const secret = `"token":${JSON.stringify(options.token)}`;
  own.on("frame", (frame) => frames.add({ ...frame, text: frame.text.replace(secret, () => '"token":"•••"') }));
  own.on("message", (message) => {
    conversation.received(message);
    countUnread(unread + 1);
  });
  own.on("stored", ({ reference }) => conversation.stored(own.userId, reference));
  own.on("confirmation", ({ reference }) => conversation.confirmed(own.userId, reference));
  own.on("error", (error) => conversation.failed(own.userId, error));
  own.on("presence", ({ userId, online }) => conversation.notice(`${userId} ${online ? "connected" : "disconnected"}`));
  own.on("state", (change) => {
    signIn.show(change, own.userId);
    const online = change.state === "online";
    composer.state = change.state;
    byId("fetch", HTMLButtonElement).disabled = !online;
    conversation.online = online;
    if (online && change.previous === "signing-in") {
      fetched.textContent = whatFetchBrings(conversation.unconfirmed(own.userId), options.push === true);
      if (currentPart() === "connection") showPart("conversation");
    }
  });
}

/** With push, confirmations come by themselves, as all that was missed does. */
function whatFetchBrings(unconfirmed: number, push: boolean): string {
  if (unconfirmed === 0 || push) return "Fetch brings what you missed.";
  return `Fetch brings what you missed. ${unconfirmed} of your messages ${unconfirmed === 1 ? "is" : "are"} not confirmed: confirmations wait to be fetched.`;
}

function send(draft: Draft): void {
  if (client === undefined) return;
  client.send(draft);
  conversation.sent({
    from: client.userId,
    to: typeof draft.to === "string" ? [draft.to] : draft.to,
    group: typeof draft.to !== "string",
    contentText: draft.contentText,
    fast: draft.feature === "FAST",
    confirmed: typeof draft.to === "string" && draft.feature !== "FAST" && draft.confirmationEnabled === true && draft.reference !== undefined,
    reference: draft.reference,
    at: Date.now(),
  });
}

async function fetchMissing(): Promise<void> {
  if (client === undefined || !mailbox.reportValidity()) return;
  fetched.textContent = "Fetching …";
  try {
    const { left } = await client.fetchMissing(control(mailbox, "count", HTMLInputElement).valueAsNumber);
    fetched.textContent = left === 0 ? "Fetched. Nothing is left." : `Fetched. ${left} left in the mailbox.`;
  } catch (error) {
    fetched.textContent = error instanceof Error ? capital(withStop(error.message)) : String(error);
  }
}

function offerOtherTab(userId: string): void {
  const names = Object.keys(presets) as PresetName[];
  signIn.offer(names.find((name) => presets[name].userId !== userId) ?? "ben");
}

/** On narrow screens one part is shown at a time. */
function showPart(part: string): void {
  document.body.dataset["view"] = part;
  for (const button of document.querySelectorAll<HTMLButtonElement>("[data-show]")) {
    if (button.dataset["show"] === part) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  countUnread(0);
}

function currentPart(): string {
  return document.body.dataset["view"] ?? "";
}

/** Messages that came while another part is shown. */
function countUnread(count: number): void {
  unread = currentPart() === "conversation" ? 0 : count;
  const badge = byId("unread", HTMLElement);
  badge.hidden = unread === 0;
  badge.textContent = unread === 0 ? "" : unread > 99 ? "99+" : String(unread);
}
