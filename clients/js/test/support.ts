import type { TestContext } from "node:test";
import { WebSocket } from "ws";
import { Client, type ClientEvents, type ClientOptions, type Clock, type State } from "../src/index.js";
import { TestServer } from "./testserver.js";

export const ann = "ANZ-1";
export const ben = "ANZ-2";

/** Starts a server that is stopped after the test. */
export async function startServer(t: TestContext): Promise<TestServer> {
  const server = new TestServer();
  await server.start();
  t.after(() => server.stop());
  return server;
}

/** A client of a user, closed after the test. Reconnecting is quick unless the options say otherwise. */
export function clientOf(t: TestContext, server: TestServer, options: Partial<ClientOptions> = {}): Client {
  const client = new Client({
    url: server.url,
    appId: "app-id-343",
    userId: ann,
    token: "token-12345",
    WebSocket,
    reconnect: { baseMs: 5, maxMs: 20 },
    ...options,
  });
  t.after(() => client.close());
  return client;
}

/** Collects events, and waits for them. */
export class Collected<K extends keyof ClientEvents> {
  readonly events: ClientEvents[K][] = [];
  readonly #waiting = new Set<() => void>();

  constructor(client: Client, name: K) {
    client.on(name, (event) => {
      this.events.push(event);
      for (const wake of this.#waiting) wake();
      this.#waiting.clear();
    });
  }

  /** Waits until there are so many, and returns them. */
  async atLeast(count: number): Promise<ClientEvents[K][]> {
    while (this.events.length < count) await new Promise<void>((resolve) => this.#waiting.add(resolve));
    return this.events;
  }
}

/** Waits until the client is in a state. */
export function inState(client: Client, state: State): Promise<void> {
  if (client.state === state) return Promise.resolve();
  return new Promise((resolve) => {
    const off = client.on("state", (change) => {
      if (change.state !== state) return;
      off();
      resolve();
    });
  });
}

/** A clock that stands still until it is moved. */
export class ManualClock implements Clock {
  #now = 1_000;
  #timers = new Map<number, { due: number; run: () => void }>();
  #last = 0;

  now(): number {
    return this.#now;
  }

  setTimeout(run: () => void, ms: number): unknown {
    this.#timers.set(++this.#last, { due: this.#now + ms, run });
    return this.#last;
  }

  clearTimeout(timer: never): void {
    this.#timers.delete(timer);
  }

  /** When the earliest timer is due, in milliseconds from now; undefined when none runs. */
  get next(): number | undefined {
    const dues = [...this.#timers.values()].map(({ due }) => due - this.#now);
    return dues.length === 0 ? undefined : Math.min(...dues);
  }

  advance(ms: number): void {
    this.#now += ms;
    for (const [timer, { due, run }] of [...this.#timers]) {
      if (due > this.#now) continue;
      this.#timers.delete(timer);
      run();
    }
  }
}

/** A promise and the function that fulfils it. */
export function gate(): { opened: Promise<void>; open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}
