import { readPage, type Data, type MessagePage } from "./answers.js";
import type { RoomState } from "./roomstate.js";
import { explained } from "./problems.js";

/** How many messages a page has, and how many are asked for to fill a hole. */
const pageSize = 50;
const holeSize = 200;
/** Behind so many pages of nothing but one's own messages it is not looked any further for what is unread. */
const pagesOfOwn = 5;

/** Which page of a room's history. */
export interface Place {
  room: string;
  before?: number;
  after?: number;
  limit?: number;
}

/** Reads the history of rooms, as far as it is wanted. */
export class History {
  readonly #ask: (where: Place) => Promise<Data>;
  readonly #changed: () => void;
  readonly #under = new WeakMap<RoomState, Promise<boolean>>();
  readonly #seeking = new WeakSet<RoomState>();

  /** `ask` asks for a page of a room; `changed` hears when something was read, or not. */
  constructor(ask: (where: Place) => Promise<Data>, changed: () => void) {
    this.#ask = ask;
    this.#changed = changed;
  }

  /** Brings a room up to date that ends with this number: its newest page, or what was missed since. */
  async refresh(state: RoomState, lastSeq: number): Promise<void> {
    const { timeline } = state;
    timeline.reaches(lastSeq);
    const far = timeline.atEnd && timeline.lastSeq - timeline.last > holeSize;
    if (!timeline.loaded || far) {
      await this.newest(state);
    } else {
      // Edits leave no hole: what is shown is read again.
      const after = timeline.atEnd ? timeline.trim(holeSize) : timeline.first - 1;
      await this.#load(state, "newer", async () => timeline.newer(await this.#page(state, { after, limit: holeSize })));
    }
    await this.fill(state);
  }

  /** Reads what is missing at the end, as long as that helps. */
  async fill(state: RoomState): Promise<void> {
    const { timeline } = state;
    for (let after = timeline.missingAfter; after !== undefined; after = timeline.missingAfter) {
      const from = after;
      const read = await this.#load(state, "newer", async () => timeline.newer(await this.#page(state, { after: from, limit: holeSize })));
      if (!read || timeline.last <= from) return;
    }
  }

  /** Reads the page before the first message that is at hand. */
  async older(state: RoomState): Promise<void> {
    const { timeline } = state;
    if (!timeline.loaded || !timeline.hasOlder) return;
    await this.#load(state, "older", async () => timeline.older(await this.#page(state, { before: timeline.first, limit: pageSize })));
  }

  /** Reads the page after the last message that is at hand, where that is not the room's last. */
  async newer(state: RoomState): Promise<void> {
    const { timeline } = state;
    if (!timeline.loaded || timeline.atEnd) return;
    await this.#load(state, "newer", async () => timeline.newer(await this.#page(state, { after: timeline.last, limit: pageSize })));
  }

  /** Goes to the room's end. */
  async newest(state: RoomState): Promise<void> {
    await this.#load(state, "page", async () => state.timeline.open(await this.#page(state, { limit: pageSize }), 0, true));
  }

  /** Goes to the part of the history around a message. False when it could not be read. */
  async around(state: RoomState, seq: number): Promise<boolean> {
    if (state.timeline.message(seq) !== undefined) return true;
    return this.#load(state, "page", async () => {
      const page = await this.#page(state, { after: Math.max(seq - pageSize / 2, 0), limit: pageSize });
      state.timeline.open(page, 0, !page.more && page.messages[0]?.seq === 1);
      if (!page.more) state.timeline.newer(page);
    });
  }

  /** Goes to where what is unread begins, if the messages at hand do not tell where that is; once, however many ask. */
  async unread(state: RoomState, me: string): Promise<void> {
    if (this.#seeking.has(state)) return;
    this.#seeking.add(state);
    await this.#seek(state, me);
    this.#seeking.delete(state);
  }

  async #seek(state: RoomState, me: string): Promise<void> {
    const { timeline, unread } = state;
    if (unread === undefined || !timeline.loaded || state.findUnread(me)) return;
    let read = await this.around(state, unread.after + 1);
    for (let page = 0; read && state.unread === unread && !state.findUnread(me) && page < pagesOfOwn; page++) {
      read = await this.#load(state, "page", async () => timeline.newer(await this.#page(state, { after: timeline.last, limit: holeSize })));
    }
    if (state.unread !== unread) return;
    state.passUnread();
    await this.newest(state);
  }

  /** Reads; never twice at once for a room: only a way to somewhere else waits for its turn. False when it was not read. */
  async #load(state: RoomState, what: RoomState["loading"], read: () => Promise<void>): Promise<boolean> {
    while (state.loading !== "") {
      if (what !== "page") return false;
      await this.#under.get(state);
    }
    state.loading = what;
    state.problem = "";
    const under = this.#read(state, read);
    this.#under.set(state, under);
    this.#changed();
    return under;
  }

  async #read(state: RoomState, read: () => Promise<void>): Promise<boolean> {
    try {
      await read();
      return true;
    } catch (error) {
      state.problem = explained(error);
      return false;
    } finally {
      state.loading = "";
      this.#changed();
    }
  }

  async #page(state: RoomState, where: Omit<Place, "room">): Promise<MessagePage> {
    return readPage(await this.#ask({ room: state.id, ...where }));
  }
}
