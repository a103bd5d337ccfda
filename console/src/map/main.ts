import "./map.css";
import { type StateChange, type SwitchboardError } from "@switchboard/client";
import { Door } from "../chat/door.js";
import { explained, type Sentences } from "../chat/problems.js";
import type { Tokens } from "../chat/session.js";
import { hold, takeTokens } from "../chat/store.js";
import { demo, demoName } from "../demo.js";
import { byId, setText } from "../dom.js";
import { plural } from "../format.js";
import { say } from "../said.js";
import { about } from "../server.js";
import { addressOf, shownBy } from "./address.js";
import { AppDoor, rememberedUser, type AppUser } from "./appdoor.js";
import { distance, onEarth, placeText, type Place } from "./earth.js";
import { isFace, type Face } from "./faces.js";
import { scaleOf, scaleText } from "./grid.js";
import { MapView } from "./mapview.js";
import { PeoplePane, summary, type Listed } from "./peoplepane.js";
import type { Drawn } from "./peoplelayer.js";
import { Visit, type VisitEvents } from "./visit.js";

/** The server is asked when the view has been still for so long. */
const stillMs = 120;

/** How near one goes to somebody who was chosen, at least. */
const nearZoom = 5;

/** What a pole's face shows at first. */
const poleZoom = 2.2;

/** How long the line may be that says how far things are from each other. */
const longestScale = 120;

/** So many of a group are named beside the pointer. */
const mostNamed = 5;

/** What is said here in place of what is said in rooms. */
const here: Sentences = {
  NEARBY_OFF: "On this server nobody can say where he is: nearby.enabled is off.",
  STORE_DOWN: "The server cannot say just now who is around: a part of it is away. The map goes on by itself.",
  TOO_MANY: "You have moved too often in a short time, and were not seen everywhere. Wait a moment.",
  STORE_FULL: "The server has no room for more positions; tell whoever runs it.",
};

/** These stay until the server answers again, or for good; others are shown for a while. */
const lasting: ReadonlySet<string> = new Set(["STORE_DOWN", "NEARBY_OFF"]);
const troubleMs = 10_000;

const said = byId("said", HTMLElement);
const note = byId("map-note", HTMLElement);
const target = byId("map", HTMLElement);
const tip = byId("tip", HTMLElement);
const faces = byId("faces", HTMLFieldSetElement);
const place = byId("place", HTMLButtonElement);
const follow = byId("follow", HTMLButtonElement);
const showMeButton = byId("show-me", HTMLButtonElement);
const scale = byId("scale", HTMLElement);
const hide = byId("hide", HTMLButtonElement);

let visit: Visit | undefined;
/** Its users are the demo's. */
let ofDemo = false;
let map: MapView | undefined;
let state: StateChange = { state: "idle", previous: "idle" };
/** What the server could not do; over when it answers again. */
let trouble = "";
let troubleTimer = 0;
/** The next press on the map says where the user is. */
let placing = false;
/** The browser was asked where the user is, and the map goes there when it says so. */
let seeking = false;
let stillTimer = 0;

const pane = new PeoplePane((id) => choose(id));
const server = await about();
const ttlMs = server.map?.ttlMs ?? 300_000;
const events: VisitEvents = { state: showState, changed: render, trouble: showTrouble, ended: signedOut, refused };
const door = new Door((tokens) => {
  void hold(tokens.session);
  enterAccount(tokens);
});
const appDoor = new AppDoor((user) => enterUser(user));

wire();
const tokens = await takeTokens();
const remembered = rememberedUser();
if (remembered !== undefined) {
  appDoor.fill(remembered);
  enterUser(remembered);
} else if (tokens !== undefined) enterAccount(tokens);
else openDoor("");

function wire(): void {
  byId("sign-out", HTMLButtonElement).addEventListener("click", () => void visit?.signOut());
  byId("zoom-in", HTMLButtonElement).addEventListener("click", () => map?.zoomBy(1));
  byId("zoom-out", HTMLButtonElement).addEventListener("click", () => map?.zoomBy(-1));
  place.addEventListener("click", () => setPlacing(!placing));
  follow.addEventListener("click", followDevice);
  showMeButton.addEventListener("click", () => bringMe());
  hide.addEventListener("click", () => void hideMe());
  faces.addEventListener("change", ({ target: at }) => at instanceof HTMLInputElement && isFace(at.value) && turn(at.value));
  target.addEventListener("keydown", (event) => {
    if (event.key === "Escape") setPlacing(false);
    if (event.key === "Enter" && placing && map !== undefined) standAt(map.center);
  });
  addEventListener("hashchange", () => followAddress());
}

function enterUser(user: AppUser): void {
  ofDemo = server.demo && user.appId === demo.appId;
  enter(Visit.ofUser(user, ttlMs, events));
}

function enterAccount(signedIn: Tokens): void {
  ofDemo = false;
  enter(Visit.ofAccount(signedIn, door, ttlMs, events));
}

/** What a user is called; empty where nobody says. */
function nameOf(id: string): string {
  return visit?.line.view.users.get(id)?.name ?? (ofDemo ? demoName(id) : undefined) ?? "";
}

/** A name beside the user ID; where there is none the user ID alone. */
function fullName(id: string): string {
  const name = ofDemo ? nameOf(id) : "";
  return name === "" ? id : `${name} · ${id}`;
}

function enter(next: Visit): void {
  visit = next;
  trouble = "";
  byId("door", HTMLElement).hidden = true;
  byId("desk", HTMLElement).hidden = false;
  said.replaceChildren();
  if (map === undefined) openMap();
  map?.open();
  look();
  next.start();
  render();
}

function openMap(): void {
  map = new MapView(target, server.map?.tiles ?? "", { looked, pressed, over: showTip, tiles: render, drawn: (all) => (target.dataset["drawn"] = String(all.length)) });
  const attribution = byId("attribution", HTMLElement);
  setText(attribution, server.map?.attribution ?? "");
  attribution.hidden = attribution.textContent === "";
  followAddress();
}

function signedOut(why: string): void {
  clearDesk();
  openDoor(why);
}

function refused(error: SwitchboardError): void {
  clearDesk();
  showDoor();
  door.open("", false);
  document.body.dataset["state"] = "failed";
  appDoor.refuse(error);
}

function clearDesk(): void {
  visit = undefined;
  state = { state: "idle", previous: "idle" };
  setPlacing(false);
  pane.clear();
  map?.show([], undefined, "");
  map?.people.jump();
  for (const one of ["users", "crowd"]) target.dataset[one] = "0";
  document.body.dataset["state"] = "idle";
  setText(byId("pill-text", HTMLElement), "Not signed in");
  byId("pill", HTMLElement).title = "";
}

function openDoor(why: string): void {
  showDoor();
  appDoor.open(server.demo);
  door.open(why, why !== "");
}

function showDoor(): void {
  byId("desk", HTMLElement).hidden = true;
  byId("door", HTMLElement).hidden = false;
  byId("off-note", HTMLElement).hidden = server.map !== undefined;
}

/** What is shown is in the address, to come back to. */
function followAddress(): void {
  const shown = shownBy(location.hash);
  if (map === undefined || shown === undefined) return;
  checkFace(shown.face);
  map.look(shown.face, shown.place, shown.zoom);
}

function turn(face: Face): void {
  if (map === undefined || map.face === face) return;
  const { lat, lon } = map.center;
  if (face === "world") map.look(face, { lat: Math.min(Math.max(lat, -70), 70), lon }, Math.max(map.zoom, 2));
  else map.look(face, { lat: face === "north" ? 90 : -90, lon: 0 }, poleZoom);
}

function checkFace(face: Face): void {
  for (const one of faces.querySelectorAll("input")) one.checked = one.value === face;
}

/** The view is another one: the address says so at once, the server hears when it is still. */
function looked(): void {
  if (map === undefined) return;
  history.replaceState(null, "", addressOf({ face: map.face, place: map.center, zoom: map.zoom }));
  window.clearTimeout(stillTimer);
  stillTimer = window.setTimeout(look, stillMs);
  render();
}

function look(): void {
  const box = map?.box;
  if (box !== undefined) visit?.line.look(box);
}

function pressed(at: Place, drawn: Drawn | undefined): void {
  const only = drawn?.spot.dots.length === 1 ? drawn.spot.dots[0]?.id : undefined;
  if (placing) standAt(at);
  else if (drawn === undefined) choose("");
  else if (only !== undefined && only !== "") choose(only);
  else map?.unfold(drawn.spot);
}

function standAt(at: Place): void {
  setPlacing(false);
  seeking = false;
  visit?.me.stand(at);
}

function followDevice(): void {
  if (visit === undefined) return;
  seeking = !visit.me.following;
  if (seeking) visit.me.follow();
  else visit.me.stop();
}

/** Where others see the user; undefined: nowhere. */
function ownPlace(): Place | undefined {
  return visit?.line.view.users.get(visit.line.userId) ?? visit?.me.place;
}

/** Brings the map to the user, on a face on which he can be seen. */
function bringMe(own = ownPlace()): void {
  if (map === undefined || own === undefined) return;
  const zoom = Math.max(map.zoom, nearZoom);
  const face = map.faceFor(own);
  if (face === map.face) {
    map.goTo(own, zoom);
    return;
  }
  checkFace(face);
  map.look(face, own, zoom);
}

function setPlacing(on: boolean): void {
  placing = on;
  place.ariaPressed = String(on);
  target.classList.toggle("placing", on);
  render();
}

async function hideMe(): Promise<void> {
  try {
    await visit?.hide();
  } catch (error) {
    say(said, `${explained(error, here)} Others may see you for a while yet: press “Hide me” again.`);
  }
}

/** Marks somebody, and brings the map there. */
function choose(id: string): void {
  pane.choose(id);
  map?.people.choose(id);
  const user = visit?.line.view.users.get(id);
  if (user !== undefined) map?.goTo(user, Math.max(map.zoom, nearZoom));
}

function showState(change: StateChange): void {
  state = change;
  const words = { idle: "Connecting…", connecting: "Connecting…", "signing-in": "Signing in…", online: fullName(visit?.line.userId ?? ""), waiting: "Reconnecting…", closed: "Not connected" }[change.state];
  document.body.dataset["state"] = change.state === "closed" ? "failed" : change.state;
  setText(byId("pill-text", HTMLElement), words);
  byId("pill", HTMLElement).title = words;
  trouble = "";
  render();
}

function showTrouble(error: SwitchboardError): void {
  trouble = explained(error, here);
  window.clearTimeout(troubleTimer);
  if (!lasting.has(error.code)) troubleTimer = window.setTimeout(() => calm(), troubleMs);
  render();
}

function calm(): void {
  trouble = "";
  render();
}

/** Brings all up to date. */
function render(): void {
  if (visit === undefined || map === undefined) return;
  const { line, me } = visit;
  // Whatever has no place on the earth is no person: it comes from afar.
  const users = [...line.view.users.values()].filter(onEarth);
  const cells = line.view.cells === undefined ? undefined : [...line.view.cells.values()].filter(onEarth);
  if (line.fresh && trouble === here["STORE_DOWN"]) trouble = "";
  const shown: { id: string; name: string; place: Place }[] = users.map((user) => ({ id: user.userId, name: nameOf(user.userId) || user.userId, place: user }));
  // Among those who are only counted the user himself is still seen.
  if (cells !== undefined && me.place !== undefined) shown.push({ id: line.userId, name: "", place: me.place });
  map.show(shown, cells, line.userId);
  const own = ownPlace();
  const from = own ?? map.center;
  const listed = users.filter((user) => map?.shows(user) === true).map(
    (user): Listed => ({ id: user.userId, name: nameOf(user.userId), place: user, named: ofDemo, far: distance(from, user), me: user.userId === line.userId }),
  );
  listed.sort((a, b) => a.far - b.far || (a.id < b.id ? -1 : 1));
  const crowd = cells?.reduce((sum, { count }) => sum + count, 0) ?? 0;
  pane.show(listed, line.fresh || users.length > 0 || crowd > 0 ? summary(listed.length, crowd) : "Looking …");
  setText(byId("people-from", HTMLElement), own === undefined ? "from the middle of the map" : "from you");
  target.dataset["users"] = String(listed.length);
  target.dataset["crowd"] = String(crowd);
  for (const one of [target, byId("people-side", HTMLElement)]) one.classList.toggle("stale", !line.fresh);
  setText(note, noteText());
  showScale(map.metresAPixel, map.face);
  showMe();
  if (seeking && me.way === "followed" && me.place !== undefined) {
    seeking = false;
    // What the server told of him last may be where he was before.
    if (!map.shows(me.place)) bringMe(me.place);
  }
}

function noteText(): string {
  if (state.state === "waiting" || state.state === "closed") {
    const why = state.error === undefined || state.error.kind === "CONNECTION" ? "There is no connection to the server." : explained(state.error, here);
    return `${why} What is shown is from before.`;
  }
  if (placing) return "Press on the map where you are; with the keyboard, Enter takes its middle. Escape leaves it.";
  if (trouble !== "" || map?.tilesFail !== true) return trouble;
  return `The tiles of this map do not come: ${originOf(server.map?.tiles ?? "")} does not answer, or has none here. The outlines do.`;
}

function originOf(address: string): string {
  return URL.canParse(address) ? new URL(address).host : "the server";
}

/** A line as long as it says; on a pole's face it would be another one in each direction. */
function showScale(metresAPixel: number, face: Face): void {
  scale.hidden = face !== "world";
  if (scale.hidden) return;
  const { metres, px } = scaleOf(metresAPixel, longestScale);
  setText(scale, scaleText(metres));
  scale.style.width = `${px.toFixed(1)}px`;
}

function showMe(): void {
  if (visit === undefined) return;
  const { me } = visit;
  follow.ariaPressed = String(me.following);
  setText(follow, me.following ? "Stop following" : "Follow this device");
  showMeButton.disabled = ownPlace() === undefined;
  hide.disabled = me.way === "hidden" && !visit.line.view.users.has(visit.line.userId);
  setText(byId("me-where", HTMLElement), whereText(visit));
}

function whereText({ me, line }: Visit): string {
  if (me.problem !== "") return me.problem;
  if (me.place === undefined && me.following) return "Asking the browser where you are …";
  const known = line.view.users.get(line.userId);
  if (me.place === undefined) return known === undefined ? "Others do not see you." : `Others see you: ${placeText(known)}, as you said elsewhere or before.`;
  return `Others see you: ${placeText(known ?? me.place)}${me.following ? ", as this device moves" : ""}.`;
}

/** Says beside the pointer who is there. */
function showTip(drawn: Drawn | undefined): void {
  tip.hidden = drawn === undefined;
  target.classList.toggle("pointing", drawn !== undefined);
  if (drawn === undefined) return;
  const names = drawn.spot.dots.filter(({ id }) => id !== "").map(({ id }) => nameOf(id) || id);
  const more = drawn.spot.count - Math.min(names.length, mostNamed);
  const rest = names.length === 0 ? plural(drawn.spot.count, "person", "people") : more > 0 ? ` and ${more} more` : "";
  setText(tip, `${names.slice(0, mostNamed).join(", ")}${rest}`);
  tip.style.translate = `${Math.round(drawn.x)}px ${Math.round(drawn.y - drawn.radius)}px`;
}
