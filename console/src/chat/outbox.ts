/** A message that was written here and is not known to be stored. */
export interface Draft {
  /** The server stores what has the same one once, however often it is sent. */
  clientId: string;
  room: string;
  content: string;
  at: number;
  state: "waiting" | "sending" | "failed";
  /** Why it failed, for people. */
  why: string;
}

/** Where drafts outlive a reload. */
export interface Drawer {
  load(): string;
  save(text: string): void;
}

/**
 * What was written and waits to be stored. Of each room one is under way at a
 * time, so that they are stored in the order in which they were written; one
 * that was refused for good stands aside until somebody decides.
 */
export class Outbox {
  readonly #drawer: Drawer;
  #drafts: Draft[];

  constructor(drawer: Drawer) {
    this.#drawer = drawer;
    this.#drafts = read(drawer.load());
  }

  get size(): number {
    return this.#drafts.length;
  }

  of(room: string): Draft[] {
    return this.#drafts.filter((one) => one.room === room);
  }

  add(draft: Pick<Draft, "clientId" | "room" | "content" | "at">): void {
    this.#set([...this.#drafts, { ...draft, state: "waiting", why: "" }]);
  }

  /** Takes the next ones to send, one of each room in which nothing is under way. */
  take(): Draft[] {
    const busy = new Set(this.#drafts.filter(({ state }) => state === "sending").map(({ room }) => room));
    const taken: Draft[] = [];
    for (const one of this.#drafts) {
      if (one.state !== "waiting" || busy.has(one.room)) continue;
      busy.add(one.room);
      taken.push(one);
    }
    for (const { clientId } of taken) this.#change(clientId, { state: "sending" });
    return taken;
  }

  /** It is stored; undefined when it is not known here. */
  sent(clientId: string): Draft | undefined {
    const draft = this.#drafts.find((one) => one.clientId === clientId);
    this.drop(clientId);
    return draft;
  }

  failed(clientId: string, why: string): void {
    this.#change(clientId, { state: "failed", why });
  }

  /** It is not known what became of it, or the server cannot do it now: it is sent again. */
  again(clientId: string): void {
    this.#change(clientId, { state: "waiting", why: "" });
  }

  /** There is no connection any more: what was under way is sent again later. */
  offline(): void {
    for (const { clientId, state } of this.#drafts) if (state === "sending") this.again(clientId);
  }

  clear(): void {
    this.#set([]);
  }

  drop(clientId: string): void {
    this.#set(this.#drafts.filter((one) => one.clientId !== clientId));
  }

  #change(clientId: string, part: Partial<Draft>): void {
    this.#set(this.#drafts.map((one) => (one.clientId === clientId ? { ...one, ...part } : one)));
  }

  #set(drafts: Draft[]): void {
    this.#drafts = drafts;
    this.#drawer.save(drafts.length === 0 ? "" : JSON.stringify(drafts));
  }
}

function read(saved: string): Draft[] {
  try {
    const drafts: unknown = JSON.parse(saved);
    if (!Array.isArray(drafts)) return [];
    return (drafts as Draft[]).map((one) => ({ ...one, state: one.state === "failed" ? "failed" : "waiting" }));
  } catch {
    return [];
  }
}
