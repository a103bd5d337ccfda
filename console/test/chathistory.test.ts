import assert from "node:assert/strict";
import { test } from "node:test";
import { SwitchboardError } from "@switchboard/client";
import type { Data } from "../src/chat/answers.js";
import { History, type Place } from "../src/chat/history.js";
import { RoomState } from "../src/chat/roomstate.js";

/** A room whose history is asked for, as a server has it. */
class Archive {
  readonly asked: Place[] = [];
  last: number;
  /** The next answers wait until `answer` is called. */
  held = false;
  down = false;
  /** Up to which message all are one's own. */
  own = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(last: number) {
    this.last = last;
  }

  readonly ask = async (where: Place): Promise<Data> => {
    this.asked.push(where);
    if (this.held) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.down) throw new SwitchboardError("GENERAL_ERROR", "STORE_DOWN", "no database");
    const { before, after, limit = 50 } = where;
    const first = after === undefined ? Math.max((before ?? this.last + 1) - limit, 1) : after + 1;
    const end = after === undefined ? (before ?? this.last + 1) - 1 : Math.min(after + limit, this.last);
    const messages = Array.from({ length: Math.max(end - first + 1, 0) }, (_, i) => ({ id: `${first + i}`, seq: first + i, from: first + i <= this.own ? "chat-1" : "chat-2", content: "x" }));
    return { messages, more: after === undefined ? first > 1 : end < this.last };
  };

  answer(): void {
    this.#waiting.shift()?.();
  }
}

function reading(last: number): { archive: Archive; history: History; state: RoomState; range: () => [number, number] } {
  const archive = new Archive(last);
  const state = new RoomState("room");
  return { archive, state, history: new History(archive.ask, () => undefined), range: () => [state.timeline.first, state.timeline.last] };
}

test("a room is read from its end backwards, until its beginning", async () => {
  const { archive, history, state, range } = reading(120);
  await history.refresh(state, 120);
  assert.deepEqual(range(), [71, 120]);
  await history.older(state);
  await history.older(state);
  assert.deepEqual([range(), state.timeline.hasOlder], [[1, 120], false]);
  const asked = archive.asked.length;
  await history.older(state);
  assert.equal(archive.asked.length, asked);
});

test("two who want the same page ask for it once", async () => {
  const { archive, history, state } = reading(120);
  await history.refresh(state, 120);
  const asked = archive.asked.length;
  await Promise.all([history.older(state), history.older(state)]);
  assert.equal(archive.asked.length, asked + 1);
});

test("what was missed is read in pages, with what is shown once more for its edits", async () => {
  const { archive, history, state, range } = reading(50);
  await history.refresh(state, 50);
  archive.last = 240;
  await history.refresh(state, 240);
  assert.deepEqual(archive.asked.slice(1).map(({ after }) => after), [0, 200]);
  assert.deepEqual(range(), [1, 240]);
});

test("after a long time away only the newest page is read", async () => {
  const { archive, history, state, range } = reading(50);
  await history.refresh(state, 50);
  archive.last = 5_000;
  await history.refresh(state, 5_000);
  assert.deepEqual(range(), [4_951, 5_000]);
  assert.equal(archive.asked.length, 2);
});

test("a hole that the history does not fill is not asked for without end", async () => {
  const { archive, history, state } = reading(10);
  await history.refresh(state, 12);
  assert.equal(state.timeline.missingAfter, 10);
  assert.equal(archive.asked.length, 2);
});

test("a place far back is shown with what is around it, and leads forward to the end", async () => {
  const { history, state, range } = reading(400);
  await history.refresh(state, 400);
  assert.equal(await history.around(state, 100), true);
  assert.deepEqual([range(), state.timeline.atEnd, state.timeline.hasOlder], [[76, 125], false, true]);
  while (!state.timeline.atEnd) await history.newer(state);
  assert.deepEqual(range(), [76, 400]);
  assert.equal(await history.around(state, 3), true);
  assert.deepEqual([state.timeline.first, state.timeline.hasOlder], [1, false]);
});

test("the way to a place waits for a page that is being read", async () => {
  const { archive, history, state } = reading(400);
  await history.refresh(state, 400);
  archive.held = true;
  const older = history.older(state);
  archive.held = false;
  const around = history.around(state, 100);
  archive.answer();
  await older;
  assert.equal(await around, true);
  assert.notEqual(state.timeline.message(100), undefined);
});

test("a page that cannot be read is said, and read again when asked for", async () => {
  const { archive, history, state, range } = reading(120);
  archive.down = true;
  await history.refresh(state, 120);
  assert.match(state.problem, /database/);
  assert.equal(state.timeline.loaded, false);
  archive.down = false;
  await history.refresh(state, 120);
  assert.deepEqual([state.problem, range()], ["", [71, 120]]);
});

test("where what is unread begins is looked for further back, if the newest page does not tell", async () => {
  const { archive, history, state, range } = reading(1000);
  archive.own = 600;
  state.unread = { after: 100, count: 400, upTo: 1000 };
  await history.refresh(state, 1000);
  const asked = archive.asked.length;
  await Promise.all([history.unread(state, "chat-1"), history.unread(state, "chat-1")]);
  assert.deepEqual([state.unreadFrom, state.unread], [601, undefined]);
  assert.equal(archive.asked.length, asked + 4);
  assert.ok(range()[0] <= 101 && range()[1] >= 601);
});

test("of one message that is unread at the end nothing else is read", async () => {
  const { archive, history, state, range } = reading(231);
  archive.own = 230;
  state.unread = { after: 0, count: 1, upTo: 231 };
  await history.refresh(state, 231);
  const asked = archive.asked.length;
  await history.unread(state, "chat-1");
  assert.deepEqual([state.unreadFrom, archive.asked.length, range()], [231, asked, [182, 231]]);
});

test("what is unread is given up where it cannot be found, and the room's end is shown", async () => {
  const { archive, history, state, range } = reading(5000);
  archive.own = 4990;
  state.unread = { after: 100, count: 100, upTo: 5000 }; // more than there are
  await history.refresh(state, 5000);
  await history.unread(state, "chat-1");
  assert.deepEqual([state.unreadFrom, state.unread, range()], [0, undefined, [4951, 5000]]);
  state.unread = { after: 100, count: 100, upTo: 5000 };
  archive.down = true;
  await history.unread(state, "chat-1");
  assert.deepEqual([state.unreadFrom, state.unread, range()], [0, undefined, [4951, 5000]]);
});
