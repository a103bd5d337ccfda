import "./chat.css";
import type { StateChange } from "@switchboard/client";
import { Api, type Problem } from "../api.js";
import { byId, element, setText } from "../dom.js";
import { say } from "../said.js";
import { socketAddress } from "../server.js";
import { showAccount } from "./account.js";
import { Again } from "./again.js";
import { Blocks } from "./blocks.js";
import { Chat, type Part } from "./chat.js";
import type { Desk } from "./desk.js";
import { Door } from "./door.js";
import { MembersPane } from "./memberspane.js";
import { findRooms, newRoom } from "./roomforms.js";
import { badge } from "./roomlist.js";
import { RoomsPane } from "./roomspane.js";
import { roomName } from "./roomstate.js";
import { RoomView } from "./roomview.js";
import { SearchPane } from "./searchpane.js";
import { Session, type Tokens } from "./session.js";
import { drawerOf, hold, keepTokens, takeTokens } from "./store.js";
import { explained } from "./problems.js";
import { contentWords } from "./wording.js";

/** How long what is said over the page stays. */
const saidMs = 12_000;

const said = byId("said", HTMLElement);
const aside = byId("aside", HTMLElement);

/** What is there while somebody is signed in. */
interface Signed {
  session: Session;
  desk: Desk;
  over: AbortController;
  rooms: RoomsPane;
  room: RoomView;
  members: MembersPane;
  search: SearchPane;
}

type Beside = "" | "members" | "search";

let signed: Signed | undefined;
let beside: Beside = "";
let saidTimer = 0;
const again = new Again(() => void beginAgain());

const door = new Door((tokens) => {
  void hold(tokens.session);
  signIn(tokens);
});

addEventListener("hashchange", () => followAddress());
byId("back", HTMLButtonElement).addEventListener("click", () => (location.hash = ""));
byId("new-room", HTMLButtonElement).addEventListener("click", () => signed !== undefined && newRoom(signed.desk));
byId("find-rooms", HTMLButtonElement).addEventListener("click", () => signed !== undefined && findRooms(signed.desk));
byId("me", HTMLButtonElement).addEventListener("click", () => signed !== undefined && showAccount(signed.desk, signed.session));
byId("details-open", HTMLButtonElement).addEventListener("click", () => toggleBeside("members"));
byId("search-open", HTMLButtonElement).addEventListener("click", () => toggleBeside("search"));
byId("aside-close", HTMLButtonElement).addEventListener("click", () => closeBeside());
aside.addEventListener("keydown", (event) => event.key === "Escape" && closeBeside());

const tokens = await takeTokens();
if (tokens === undefined) signedOut("", false);
else signIn(tokens);

function signIn(tokens: Tokens): void {
  const over = new AbortController();
  const session = new Session(tokens, {
    renew: (refreshToken) => door.renew(refreshToken),
    save: keepTokens,
    ended: (problem: Problem) => signedOut(explained(problem), true),
    now: () => Date.now(),
  });
  // A token that is refused may only have been outlived; getting a new one shows it.
  const keyRefused = (): void => void session.renew().catch(() => undefined);
  const api = new Api(() => session.access(), { reached: () => undefined, keyRefused }, { once: false });
  const blocks = new Blocks(api, () => render(new Set<Part>(["messages", "members", "room"])));
  const chat = new Chat({
    api,
    session,
    url: socketAddress(),
    drawer: drawerOf(tokens.userId),
    changed: (parts) => render(parts),
    said: (room, message) => heard(chat, blocks, room.id, message.from, contentWords(message.content)),
    notice: tell,
  });
  const desk: Desk = { chat, api, blocks, signal: over.signal, say: tell, show, signedOut: (why) => leave(chat, why) };
  const room = new RoomView(desk);
  signed = { session, desk, over, rooms: new RoomsPane(desk), room, members: new MembersPane(desk), search: new SearchPane(desk, (seq) => void goTo(seq)) };
  byId("door", HTMLElement).hidden = true;
  byId("desk", HTMLElement).hidden = false;
  said.replaceChildren();
  setView("rooms");
  chat.start();
  void blocks.load().catch(() => undefined); // who is blocked is hidden as soon as that is known
  render(new Set<Part>(["line", "rooms", "room"]));
}

function signedOut(why: string, wrong: boolean): void {
  again.stop();
  signed?.session.forget();
  signed?.desk.chat.stop();
  signed?.over.abort();
  signed = undefined;
  for (const menu of document.querySelectorAll<HTMLElement>(".menu")) menu.hidePopover();
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  for (const id of ["rows", "rooms-list", "aside-body", "said", "me"]) byId(id, HTMLElement).replaceChildren();
  beside = "";
  aside.hidden = true;
  if (location.hash !== "") history.replaceState(null, "", location.pathname);
  document.title = "Switchboard chat";
  setText(byId("pill-text", HTMLElement), "Not signed in");
  document.body.dataset["state"] = "idle";
  byId("desk", HTMLElement).hidden = true;
  byId("door", HTMLElement).hidden = false;
  door.open(why, wrong);
}

/** Says something over the page, for a while. */
function tell(text: string): void {
  say(said, text);
  window.clearTimeout(saidTimer);
  saidTimer = window.setTimeout(() => said.replaceChildren(), saidMs);
}

/** Somebody wants to leave: nothing of theirs stays. */
function leave(chat: Chat, why: string): void {
  chat.outbox.clear();
  signedOut(why, false);
}

function show(room: string): void {
  location.hash = `#/${room}`;
  followAddress();
}

/** Brings up to date what has changed. */
function render(parts: ReadonlySet<Part>): void {
  if (signed === undefined) return;
  const { desk, rooms, room, members, search } = signed;
  const { chat } = desk;
  if (parts.has("line")) showLine(chat.lineState);
  if (parts.has("rooms")) followAddress();
  if (parts.has("rooms") || parts.has("people") || parts.has("line")) rooms.render();
  if (chat.open === undefined && beside !== "") setBeside("");
  room.render(parts);
  if (beside === "members") members.render(parts);
  search.leave();
  const open = chat.openRoom;
  const name = open === undefined ? "" : `${roomName(open, (user) => chat.people.name(user))} · `;
  const unread = badge(chat.rooms.unread);
  document.title = `${unread === "" ? "" : `(${unread}) `}${name}Switchboard chat`;
  if (chat.lineState.state === "online") setText(byId("pill-text", HTMLElement), chat.people.name(chat.me));
}

/** The address says which room is shown. */
function followAddress(): void {
  if (signed === undefined) return;
  const { chat } = signed.desk;
  if (!chat.listed) return;
  const id = location.hash.startsWith("#/") ? location.hash.slice(2) : "";
  if (chat.open?.id === id || (id === "" && chat.open === undefined)) return;
  if (chat.rooms.get(id) === undefined) {
    if (id !== "") history.replaceState(null, "", location.pathname);
    chat.close();
    setView("rooms");
    if (matchMedia("(width < 760px)").matches) byId("rooms-title", HTMLElement).focus();
    return;
  }
  chat.show(id);
  setView("room");
  queueMicrotask(() => {
    signed?.room.focus();
    if (beside === "members") signed?.members.begin();
  });
}

function showLine({ state, error, retryInMs }: StateChange): void {
  const words = { idle: "Connecting…", connecting: "Connecting…", "signing-in": "Signing in…", online: "Online", waiting: "Reconnecting…", closed: "Not connected" }[state];
  document.body.dataset["state"] = state === "closed" ? "failed" : state;
  setText(byId("pill-text", HTMLElement), words);
  byId("pill", HTMLElement).title = words;
  const note = byId("line-note", HTMLElement);
  const why = error === undefined || error.kind === "CONNECTION" ? "There is no connection to the server." : explained(error);
  if (state === "waiting" || state === "closed") {
    const again = retryInMs === undefined ? "" : ` Trying again in ${Math.ceil(retryInMs / 1000)} s.`;
    note.replaceChildren(element("span", "", `${why}${again} What you write is sent when the connection is back.`));
  } else if (state === "online") {
    note.replaceChildren();
    again.reset();
  }
  again.stop();
  if (state === "closed" && error !== undefined) again.later();
}

/** The server does not want this sign-in: whether that is for good, renewing it shows. */
async function beginAgain(): Promise<void> {
  const current = signed;
  if (current === undefined) return;
  try {
    await current.session.renew();
    if (signed === current) current.desk.chat.line.start();
  } catch (error) {
    if (signed !== current) return;
    tell(explained(error));
    again.later();
  }
}

/** Shows one of the parts beside the room, or none. */
function setBeside(part: Beside): void {
  beside = part;
  aside.hidden = part === "";
  byId("desk", HTMLElement).classList.toggle("with-aside", part !== "");
  byId("details-open", HTMLButtonElement).ariaExpanded = String(part === "members");
  byId("search-open", HTMLButtonElement).ariaExpanded = String(part === "search");
  setView(part === "" ? (signed?.desk.chat.open === undefined ? "rooms" : "room") : "aside");
  if (part === "" || signed === undefined) return;
  const pane = part === "members" ? signed.members : signed.search;
  setText(byId("aside-title", HTMLElement), pane.title);
  if (part === "members") byId("aside-title", HTMLElement).focus({ preventScroll: true });
  pane.begin();
}

function toggleBeside(part: Beside): void {
  const open = beside === part;
  if (open && !aside.checkVisibility()) setView("aside"); // one part is shown at a time, and it was the room
  else setBeside(open ? "" : part);
}

function closeBeside(): void {
  const opener = byId(beside === "search" ? "search-open" : "details-open", HTMLButtonElement);
  setBeside("");
  opener.focus();
}

/** On narrow screens one part is shown at a time. */
function setView(view: "rooms" | "room" | "aside"): void {
  document.body.dataset["view"] = view;
}

async function goTo(seq: number): Promise<void> {
  if (matchMedia("(width < 1100px)").matches) setView("room");
  await signed?.room.goTo(seq);
}

/** Says what was said to who cannot see it. */
function heard(chat: Chat, blocks: Blocks, room: string, from: string, words: string): void {
  if (blocks.has(from) || chat.open?.id !== room) return;
  setText(byId("heard", HTMLElement), `${chat.people.name(from)}: ${words.slice(0, 300)}`);
}
