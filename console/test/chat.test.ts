import assert from "node:assert/strict";
import { test } from "node:test";
import { SwitchboardError } from "@switchboard/client";
import { Problem, type Api, type Ask } from "../src/api.js";
import { readMessage, readOwnRoom, readPage, readRoom, type Message, type OwnRoom, type Role } from "../src/chat/answers.js";
import { ReadMarks } from "../src/chat/marks.js";
import { Outbox } from "../src/chat/outbox.js";
import { badge, RoomList } from "../src/chat/roomlist.js";
import { People } from "../src/chat/people.js";
import { rowsOf } from "../src/chat/rows.js";
import { mayInRoom, mayToMember, mayToMessage } from "../src/chat/rules.js";
import { readTokens, savedTokens, Session, type Tokens } from "../src/chat/session.js";
import { Timeline } from "../src/chat/timeline.js";
import { Typists, typingMs } from "../src/chat/typists.js";
import { explained, mayPass } from "../src/chat/problems.js";
import { firstUnread } from "../src/chat/unread.js";
import { versionsOf } from "../src/chat/versions.js";
import { contentText, contentWords, dayName, foundPieces, isPlain, listed, pieces, rewritten } from "../src/chat/wording.js";

const me = "chat-1";
const other = "chat-2";

function message(seq: number, more: Partial<Message> = {}): Message {
  return { id: `id-${seq}`, seq, from: other, content: `text ${seq}`, at: seq * 1000, editedAt: undefined, editedBy: undefined, deleted: false, deletedBy: undefined, ...more };
}

function messages(from: number, to: number): Message[] {
  return Array.from({ length: to - from + 1 }, (_, i) => message(from + i));
}

function seqs(timeline: Timeline): number[] {
  return timeline.messages.map(({ seq }) => seq);
}

function opened(from: number, to: number): Timeline {
  const timeline = new Timeline();
  timeline.open({ messages: messages(from, to), more: from > 1 }, to, true);
  return timeline;
}

test("live messages follow the newest page, each once", () => {
  const timeline = opened(8, 10);
  assert.equal(timeline.live(message(11)), "added");
  assert.equal(timeline.live(message(11)), "known");
  assert.equal(timeline.live(message(9)), "known");
  assert.deepEqual(seqs(timeline), [8, 9, 10, 11]);
  assert.equal(timeline.missingAfter, undefined);
});

test("a message that comes too early waits until the hole before it is filled", () => {
  const timeline = opened(1, 3);
  assert.equal(timeline.live(message(6)), "gap");
  assert.equal(timeline.live(message(5)), "gap");
  assert.deepEqual(seqs(timeline), [1, 2, 3]);
  assert.equal(timeline.missingAfter, 3);
  timeline.newer({ messages: messages(4, 4), more: true });
  assert.deepEqual(seqs(timeline), [1, 2, 3, 4, 5, 6]);
  assert.equal(timeline.missingAfter, undefined);
});

test("what was missed is known by the room's number, also when nothing more is said", () => {
  const timeline = opened(1, 3);
  timeline.reaches(7);
  assert.equal(timeline.missingAfter, 3);
  timeline.newer({ messages: messages(4, 7), more: false });
  assert.equal(timeline.missingAfter, undefined);
  timeline.reaches(2);
  assert.equal(timeline.lastSeq, 7);
});

test("messages that arrive while the first page is read are put behind it", () => {
  const timeline = new Timeline();
  assert.equal(timeline.live(message(4)), "beyond");
  timeline.open({ messages: messages(1, 3), more: false }, 0, true);
  assert.equal(timeline.missingAfter, 3);
});

test("older pages come before, and the beginning is known", () => {
  const timeline = opened(101, 150);
  assert.equal(timeline.hasOlder, true);
  timeline.older({ messages: messages(51, 100), more: true });
  timeline.live(message(151));
  timeline.older({ messages: messages(1, 50), more: false });
  assert.deepEqual(seqs(timeline), messages(1, 151).map(({ seq }) => seq));
  assert.equal(timeline.hasOlder, false);
});

test("a part from the middle of the history does not grow at its end until that is read", () => {
  const timeline = opened(190, 200);
  timeline.open({ messages: messages(51, 100), more: true }, 0, false);
  assert.equal(timeline.atEnd, false);
  assert.equal(timeline.live(message(201)), "beyond");
  assert.deepEqual([timeline.first, timeline.last, timeline.lastSeq], [51, 100, 201]);
  assert.equal(timeline.missingAfter, undefined);
  timeline.newer({ messages: messages(101, 201), more: false });
  assert.equal(timeline.atEnd, true);
  assert.equal(timeline.live(message(202)), "added");
});

test("edits and deletions change a message where it is, and a page that was read before does not undo them", () => {
  const timeline = opened(1, 3);
  assert.equal(timeline.changed({ seq: 2, by: other, at: 5000, deleted: false, content: "better" }), true);
  timeline.newer({ messages: messages(1, 3), more: false });
  assert.deepEqual([timeline.message(2)?.content, timeline.message(2)?.editedAt], ["better", 5000]);
  timeline.changed({ seq: 3, by: me, at: 6000, deleted: true, content: undefined });
  timeline.newer({ messages: messages(3, 3), more: false });
  timeline.changed({ seq: 3, by: other, at: 7000, deleted: false, content: "again" });
  assert.deepEqual([timeline.message(3)?.deleted, timeline.message(3)?.deletedBy, timeline.message(3)?.content], [true, me, undefined]);
  assert.equal(timeline.changed({ seq: 9, by: me, at: 1, deleted: true, content: undefined }), false);
});

test("a message that waits for those before it is changed as well", () => {
  const timeline = opened(1, 1);
  timeline.live(message(3));
  timeline.changed({ seq: 3, by: other, at: 1, deleted: true, content: undefined });
  timeline.newer({ messages: messages(2, 2), more: true });
  assert.equal(timeline.message(3)?.deleted, true);
});

test("after a lost connection the newest messages are read again, with the edits of meanwhile", () => {
  const timeline = opened(1, 300);
  assert.equal(timeline.trim(200), 100);
  assert.equal(timeline.hasOlder, true);
  timeline.newer({ messages: [message(200, { content: "changed", editedAt: 9 }), ...messages(201, 302)], more: false });
  assert.equal(timeline.message(200)?.content, "changed");
  assert.equal(timeline.last, 302);
});

function room(id: string, more: Partial<OwnRoom> = {}): OwnRoom {
  return { id, name: id, banner: "", public: false, oneToOne: false, creator: me, members: 2, lastSeq: 0, lastAt: 0, role: "member", readSeq: 0, unread: 0, with: undefined, ...more };
}

test("unread counts rise by what others say, and by what was missed between", () => {
  const rooms = new RoomList(me);
  rooms.replace([room("a", { lastSeq: 5, readSeq: 5 }), room("b", { lastAt: 9 })]);
  rooms.said("a", { seq: 6, from: other, at: 10 });
  rooms.said("a", { seq: 6, from: other, at: 10 });
  rooms.said("a", { seq: 7, from: me, at: 11 });
  assert.equal(rooms.get("a")?.unread, 1);
  rooms.said("a", { seq: 9, from: other, at: 12 });
  assert.equal(rooms.get("a")?.unread, 3);
  assert.deepEqual(rooms.rooms.map(({ id }) => id), ["a", "b"]);
  assert.equal(rooms.said("none", { seq: 1, from: other, at: 1 }), false);
  assert.equal(rooms.unread, 3);
});

test("reading lowers the count, and never raises it again", () => {
  const rooms = new RoomList(me);
  rooms.replace([room("a", { lastSeq: 10, readSeq: 4, unread: 6 })]);
  rooms.read("a", 8, [message(9, { from: me }), message(10)]);
  assert.equal(rooms.get("a")?.unread, 1);
  rooms.read("a", 5);
  assert.deepEqual([rooms.get("a")?.unread, rooms.get("a")?.readSeq], [1, 8]);
  rooms.read("a", 10);
  assert.equal(rooms.get("a")?.unread, 0);
});

test("news of a room change what it is, not what one is in it", () => {
  const rooms = new RoomList(me);
  rooms.replace([room("a", { role: "owner", unread: 2, lastSeq: 7 })]);
  const news = readRoom({ id: "a", name: "new", lastSeq: 6, role: "member", unread: 9 });
  assert.ok(news !== undefined);
  assert.equal(rooms.changed(news), true);
  const known = rooms.get("a");
  assert.deepEqual([known?.name, known?.role, known?.unread, known?.lastSeq], ["new", "owner", 2, 7]);
  assert.equal(rooms.changed({ ...news, id: "b" }), false);
});

test("badges have few characters", () => {
  assert.deepEqual([0, 7, 99, 100].map(badge), ["", "7", "99", "99+"]);
});

function drawer(saved = ""): { load(): string; save(text: string): void; saved: string } {
  return { saved, load: () => saved, save(text) { this.saved = text; } };
}

test("of each room one message is under way at a time, in the order of writing", () => {
  const outbox = new Outbox(drawer());
  for (const [clientId, room] of [["1", "a"], ["2", "a"], ["3", "b"]] as const) outbox.add({ clientId, room, content: clientId, at: 0 });
  assert.deepEqual(outbox.take().map(({ clientId }) => clientId), ["1", "3"]);
  assert.deepEqual(outbox.take(), []);
  outbox.sent("1");
  assert.deepEqual(outbox.take().map(({ clientId }) => clientId), ["2"]);
  outbox.offline();
  assert.deepEqual(outbox.take().map(({ clientId }) => clientId), ["2", "3"]);
});

test("a message that was refused stands aside until it is sent again or discarded", () => {
  const outbox = new Outbox(drawer());
  outbox.add({ clientId: "1", room: "a", content: "x", at: 0 });
  outbox.add({ clientId: "2", room: "a", content: "y", at: 0 });
  outbox.take();
  outbox.failed("1", "No.");
  assert.deepEqual(outbox.take().map(({ clientId }) => clientId), ["2"]);
  outbox.sent("2");
  outbox.again("1");
  assert.deepEqual(outbox.take().map(({ clientId }) => clientId), ["1"]);
  outbox.drop("1");
  assert.equal(outbox.size, 0);
});

test("what was written and not stored outlives a reload, under the same client ID", () => {
  const first = drawer();
  const outbox = new Outbox(first);
  outbox.add({ clientId: "1", room: "a", content: "x", at: 5 });
  outbox.take();
  const again = new Outbox(drawer(first.saved));
  assert.deepEqual(again.take(), [{ clientId: "1", room: "a", content: "x", at: 5, state: "waiting", why: "" }]);
  outbox.sent("1");
  assert.equal(first.saved, "");
  for (const odd of ["", "{", "7", "null"]) assert.equal(new Outbox(drawer(odd)).size, 0);
});

test("each reader stands once, under the last message read, but not under their own", () => {
  const marks = new ReadMarks();
  marks.set("chat-3", 2);
  marks.set("chat-4", 99);
  marks.set("chat-4", 1);
  marks.set(other, 2);
  marks.set(me, 3);
  const all = [message(1), message(2), message(3, { from: me })];
  assert.deepEqual([...marks.under(all, me)], [[2, ["chat-3"]], [3, ["chat-4"]]]);
  assert.deepEqual(marks.readersOf(message(2), me), ["chat-3", "chat-4"]);
  marks.remove("chat-4");
  assert.deepEqual(marks.readersOf(message(3, { from: me }), me), []);
});

test("who types counts for a while, and not any more once it has arrived", () => {
  const typists = new Typists();
  typists.typing("chat-3", 0);
  typists.typing("chat-4", 1000);
  assert.deepEqual(typists.at(2000), ["chat-3", "chat-4"]);
  typists.done("chat-3");
  assert.deepEqual([typists.at(2000), typists.next], [["chat-4"], 1000 + typingMs]);
  assert.deepEqual([typists.at(1000 + typingMs), typists.next], [[], undefined]);
});

test("what is offered goes by the role", () => {
  const roles: Role[] = ["owner", "moderator", "member"];
  const deeds = ["invite", "update", "publish", "close", "leave", "bans"] as const;
  const inRoom = Object.fromEntries(roles.map((role) => [role, deeds.filter((deed) => mayInRoom({ role, oneToOne: false, members: 2 }, deed))]));
  assert.deepEqual(inRoom, { owner: [...deeds], moderator: ["invite", "update", "leave", "bans"], member: ["leave"] });
  assert.deepEqual(deeds.filter((deed) => mayInRoom({ role: "owner", oneToOne: true, members: 2 }, deed)), []);
  assert.deepEqual(deeds.filter((deed) => mayInRoom({ role: "owner", oneToOne: true, members: 1 }, deed)), ["leave"]);
  const toOthers = ["remove", "ban", "promote", "demote", "handOver"] as const;
  const to = (role: Role, target: Role): string[] => toOthers.filter((deed) => mayToMember({ role, oneToOne: false }, target, deed));
  assert.deepEqual(to("owner", "moderator"), ["remove", "ban", "demote", "handOver"]);
  assert.deepEqual(to("owner", "member"), ["remove", "ban", "promote", "handOver"]);
  assert.deepEqual(to("moderator", "member"), ["remove", "ban"]);
  for (const [role, target] of [["moderator", "moderator"], ["moderator", "owner"], ["member", "member"]] as const) assert.deepEqual(to(role, target), []);
  assert.deepEqual([mayToMessage({ role: "member", oneToOne: false }, true, "edit"), mayToMessage({ role: "owner", oneToOne: false }, false, "edit")], [true, false]);
  assert.deepEqual(roles.map((role) => mayToMessage({ role, oneToOne: false }, false, "delete")), [true, true, false]);
  assert.equal(mayToMessage({ role: "owner", oneToOne: true }, false, "delete"), false);
});

test("rows: days, one author's messages together, and where the new ones begin", () => {
  const noon = new Date(2026, 10, 26, 12).getTime();
  const day = 86_400_000;
  const all = [message(1, { at: noon - day }), message(2, { at: noon }), message(3, { at: noon + 1000 }), message(4, { at: noon + 2000 }), message(5, { at: noon + day / 48 })];
  const drafts = [{ clientId: "c", room: "a", content: "x", at: noon, state: "waiting" as const, why: "" }];
  const rows = rowsOf({ messages: all, drafts, readers: new Map(), unreadFrom: 4, hides: (user) => user === me, now: noon });
  const short = rows.map((row) => (row.kind === "day" ? row.text : row.kind === "message" ? `${row.message.seq}${row.follows ? "+" : ""}` : row.kind));
  assert.deepEqual(short, ["Yesterday", "1", "Today", "2", "3+", "unread", "4", "5", "draft"]);
});

test("what blocked people say without a break is one row", () => {
  const all = [message(1), message(2), message(3, { from: "chat-3" }), message(4, { from: me }), message(5), message(6)];
  const rows = rowsOf({ messages: all, drafts: [], readers: new Map(), unreadFrom: 6, hides: (user) => user !== me, now: 0 });
  const short = rows.map((row) => (row.kind === "hidden" ? row.messages.map(({ seq }) => seq) : row.kind));
  assert.deepEqual(short, ["day", [1, 2, 3], "message", [5], "unread", [6]]);
});

test("what is unread begins with the first message of others behind the mark", () => {
  // Sending moves no mark: one's own messages stand between the mark and what is unread.
  const own = (from: number, to: number): Message[] => messages(from, to).map((one) => ({ ...one, from: me }));
  const at = (all: Message[]): Timeline => {
    const timeline = new Timeline();
    timeline.open({ messages: all, more: (all[0]?.seq ?? 1) > 1 }, 0, true);
    return timeline;
  };
  assert.equal(firstUnread(at([...own(1, 30), message(31)]), me, { after: 0, count: 1, upTo: 31 }), 31);
  assert.equal(firstUnread(at([...own(182, 230), message(231)]), me, { after: 0, count: 1, upTo: 231 }), 231);
  assert.equal(firstUnread(at([...messages(1, 4), ...own(5, 5), ...messages(6, 8)]), me, { after: 4, count: 3, upTo: 8 }), 6);
  assert.equal(firstUnread(at(own(1, 8)), me, { after: 4, count: 2, upTo: 8 }), 0);
  // The page does not reach back to all that is unread; what came since does not count for it.
  assert.equal(firstUnread(at(messages(151, 200)), me, { after: 20, count: 180, upTo: 200 }), undefined);
  assert.equal(firstUnread(at([...own(151, 199), ...messages(200, 203)]), me, { after: 20, count: 2, upTo: 200 }), undefined);
  assert.equal(firstUnread(new Timeline(), me, { after: 0, count: 1, upTo: 1 }), undefined);
});

test("the versions of a message are what it said, and whose words that were", () => {
  const edited = message(3, { content: "c", editedAt: 5000, editedBy: "chat-3" });
  const answer = { versions: [{ content: "a", by: other, at: new Date(4000).toISOString() }, { content: "b", by: "chat-3", at: new Date(5000).toISOString() }] };
  assert.deepEqual(versionsOf(edited, answer), [
    { by: other, at: 3000, content: "a" },
    { by: other, at: 4000, content: "b" },
    { by: "chat-3", at: 5000, content: "c" },
  ]);
  assert.deepEqual(versionsOf(message(1), {}), [{ by: other, at: 1000, content: "text 1" }]);
});

test("days, names and contents in words", () => {
  const now = new Date(2026, 10, 26, 0, 5).getTime();
  const at = (...when: [number, number, number, number?]): string => dayName(new Date(...when).getTime(), now);
  assert.deepEqual([at(2026, 10, 26), at(2026, 10, 25, 23), at(2026, 10, 24), at(2025, 10, 24)], ["Today", "Yesterday", "Tuesday 24 November", "24 November 2025"]);
  assert.deepEqual([listed([]), listed(["A"]), listed(["A", "B"]), listed(["A", "B", "C"]), listed(["A", "B", "C", "D", "E"])], ["", "A", "A and B", "A, B and C", "A, B and 3 others"]);
  assert.deepEqual([contentWords("a"), contentWords({ a: 1 }), contentWords(undefined), contentWords(null)], ["a", '{\n  "a": 1\n}', "", "null"]);
});

test("an object with a text says its text; other JSON is shown as it is", () => {
  assert.deepEqual([{ text: "Hello" }, { text: "Hello", to: "all" }, { text: "" }, { text: 7 }, ["text"], null, "text"].map(contentText), ["Hello", "Hello", undefined, undefined, undefined, undefined, "text"]);
  assert.equal(contentWords({ text: "Hello", to: "all" }), "Hello");
  // What has more than a text would lose it by an edit.
  assert.deepEqual([{ text: "Hello" }, "Hello", { text: "Hello", to: "all" }, { a: 1 }, null].map(isPlain), [true, true, false, false, false]);
  assert.deepEqual([rewritten({ text: "Hello" }, "Bye"), rewritten("Hello", "Bye")], [{ text: "Bye" }, "Bye"]);
});

test("only addresses of the web become links, without the end of the sentence", () => {
  assert.deepEqual(pieces("See https://example.org/a?b=1#c, or (http://x.test)."), [
    { text: "See " },
    { text: "https://example.org/a?b=1#c", href: "https://example.org/a?b=1#c" },
    { text: ", or (" },
    { text: "http://x.test", href: "http://x.test" },
    { text: ")." },
  ]);
  for (const none of ["javascript:alert(1)", "data:text/html,x", "https://", "www.example.org"]) assert.deepEqual(pieces(none), [{ text: none }]);
});

test("found words are whole words, whatever their case", () => {
  assert.deepEqual(foundPieces("Grüße an die grüße-Runde", "GRÜSSE grüße"), [
    { text: "Grüße", found: true },
    { text: " an die " },
    { text: "grüße", found: true },
    { text: "-Runde" },
  ]);
});

test("errors are said for people, and faults of ours go on", () => {
  assert.equal(explained(new Problem("BAD_CREDENTIALS", "x", { status: 401 })), "Name or password is wrong.");
  assert.equal(explained(new Problem("RATE_LIMITED", "x", { status: 429, retryAfterMs: 3200 })), "Too many tries. Wait 4 s, then try again.");
  const forbidden = new SwitchboardError("GENERAL_ERROR", "FORBIDDEN", "the user may not do this in that room");
  assert.deepEqual([explained(forbidden), explained(forbidden, { FORBIDDEN: "Ben does not want to hear from you." })], ["You may not do this.", "Ben does not want to hear from you."]);
  assert.equal(explained(new SwitchboardError("INVALID_MESSAGE", "BAD_FIELD", "data.name has 1 to 100 characters, none of them a control character")), "The name of a room has 1 to 100 characters.");
  assert.equal(explained(new Problem("INVALID_REQUEST", "username must have 3 to 20 characters", { status: 400, field: "username" })), "A name has 3 to 20 letters, digits, dots, hyphens or underscores.");
  assert.equal(explained(new Problem("INVALID_REQUEST", "limit must be less", { status: 400, field: "limit" })), "Limit must be less.");
  assert.equal(explained(new SwitchboardError("GENERAL_ERROR", "TOO_MANY", "one user may be in 1000 rooms")), "One user may be in 1000 rooms.");
  assert.equal(explained(new Problem("LATER_CODE", "of a later server", { status: 400 })), "Of a later server. (LATER_CODE)");
  assert.throws(() => explained(new TypeError("fault")));
  assert.deepEqual([new Problem("UNREACHABLE", ""), new SwitchboardError("CONNECTION", "CONNECTION_LOST", ""), new SwitchboardError("GENERAL_ERROR", "STORE_DOWN", ""), new SwitchboardError("GENERAL_ERROR", "FORBIDDEN", "")].map(mayPass), [true, true, true, false]);
});

test("what the server says is read with care", () => {
  assert.equal(readMessage({ seq: "1" }), undefined);
  assert.equal(readOwnRoom({ name: "x" }), undefined);
  assert.deepEqual(readPage({ messages: [null, 7, { seq: 1, from: [], at: 7 }], more: "yes" }), { messages: [message(1, { id: "", from: "", content: undefined, at: 0 })], more: false, before: undefined });
});

interface Renewals {
  session: Session;
  asked: string[];
  saved: (Tokens | undefined)[];
  ended: string[];
  answer: (turn: number) => Promise<Record<string, unknown>>;
  now: number;
}

function signedIn(): Renewals {
  const world: Renewals = {
    asked: [],
    saved: [],
    ended: [],
    answer: (turn) => Promise.resolve({ userId: me, accessToken: `access ${turn}`, refreshToken: `refresh ${turn}`, session: "s", expiresAt: new Date(world.now + 900_000).toISOString() }),
    now: 0,
    session: undefined as unknown as Session,
  };
  world.session = new Session(readTokens({ userId: me, accessToken: "access 0", refreshToken: "refresh 0", session: "s", expiresAt: new Date(900_000).toISOString() }, 0), {
    renew: (token) => {
      world.asked.push(token);
      return world.answer(world.asked.length);
    },
    save: (tokens) => world.saved.push(tokens),
    ended: ({ code }) => world.ended.push(code),
    now: () => world.now,
  });
  return world;
}

test("all whose names are needed at once are asked for with one call", async () => {
  const asked: string[] = [];
  let changes = 0;
  let lost = 0;
  const get = (path: string, { query }: Ask): Promise<unknown> => {
    const ids = String(query?.["ids"]);
    asked.push(`${path} ${ids.split(",").length}`);
    if (lost-- > 0) return Promise.reject(new Problem("UNREACHABLE", ""));
    return Promise.resolve({ profiles: ids.split(",").map((userId) => ({ userId, username: `name of ${userId}` })) });
  };
  const people = new People({ get } as unknown as Api, () => changes++);
  const settled = () => new Promise((done) => setImmediate(done));
  for (let n = 1; n <= 130; n++) assert.equal(people.name(`chat-${n}`), `chat-${n}`);
  people.name("chat-1");
  await settled();
  assert.deepEqual([asked, changes], [["/profiles 100", "/profiles 30"], 2]);
  assert.equal(people.name("chat-130"), "name of chat-130");
  lost = 1;
  people.name("chat-131");
  await settled();
  people.name("chat-132");
  await settled();
  assert.deepEqual([people.name("chat-131"), people.name("chat-132")], ["chat-131", "name of chat-132"]);
});

test("an access token is renewed before it ends, once for all who wait for it", async () => {
  const world = signedIn();
  assert.equal(await world.session.access(), "access 0");
  world.now = 850_000;
  assert.deepEqual(await Promise.all([world.session.access(), world.session.access(), world.session.renew()]), ["access 1", "access 1", "access 1"]);
  assert.deepEqual(world.asked, ["refresh 0"]);
  assert.equal(world.saved.at(-1)?.refreshToken, "refresh 1");
  assert.equal(await world.session.renew(), "access 2");
  assert.deepEqual(world.asked, ["refresh 0", "refresh 1"]);
});

test("a refused renewal ends the session; one that may pass does not", async () => {
  const world = signedIn();
  world.answer = () => Promise.reject(new Problem("UNREACHABLE", ""));
  await assert.rejects(world.session.renew());
  assert.deepEqual(world.ended, []);
  world.answer = () => Promise.reject(new Problem("TOKEN_REUSED", "", { status: 401 }));
  await assert.rejects(world.session.renew());
  assert.deepEqual([world.ended, world.saved.at(-1)], [["TOKEN_REUSED"], undefined]);
  await assert.rejects(world.session.access());
  assert.deepEqual(world.ended, ["TOKEN_REUSED"]);
});

test("how long a token is good is taken from itself, whatever this machine's clock says", () => {
  const claims = Buffer.from(JSON.stringify({ iat: 1000, exp: 1900, aud: "talk" })).toString("base64url");
  const tokens = readTokens({ userId: me, accessToken: `h.${claims}.s`, refreshToken: "r", expiresAt: "1970-01-01T00:31:40Z" }, 5_000_000);
  assert.deepEqual([tokens.renewAt, tokens.appId], [5_000_000 + 900_000 - 60_000, "talk"]);
  assert.throws(() => readTokens({ userId: me }, 0));
  assert.deepEqual(savedTokens(JSON.stringify(tokens)), tokens);
  for (const odd of ["", "{", "[]", '{"renewAt":1}']) assert.equal(savedTokens(odd), undefined);
});
