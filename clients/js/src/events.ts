/** A handler may return a promise; whoever emits may wait for it. */
export type Handler<T> = (event: T) => unknown;

/** A small typed emitter. Handlers run in the order in which they were added. */
export class Emitter<Events extends object> {
  readonly #handlers = new Map<keyof Events, Set<Handler<never>>>();
  readonly #failed: (error: unknown, event: keyof Events) => void;

  /** `failed` hears of handlers that threw or rejected; it must not throw. */
  constructor(failed: (error: unknown, event: keyof Events) => void) {
    this.#failed = failed;
  }

  /** Adds a handler and returns the function that takes it off again. */
  on<K extends keyof Events>(name: K, handler: Handler<Events[K]>): () => void {
    let set = this.#handlers.get(name);
    if (set === undefined) {
      set = new Set();
      this.#handlers.set(name, set);
    }
    // A wrapper of its own per call: the same function added twice is called twice.
    const own: Handler<Events[K]> = (event) => handler(event);
    set.add(own);
    return () => set.delete(own);
  }

  has(name: keyof Events): boolean {
    return (this.#handlers.get(name)?.size ?? 0) > 0;
  }

  /**
   * Calls every handler. Returns a promise that settles, always fulfilled, when
   * all of them have, or undefined when none of them returned a promise.
   */
  emit<K extends keyof Events>(name: K, event: Events[K]): Promise<void> | undefined {
    const waiting: Promise<unknown>[] = [];
    for (const handler of [...(this.#handlers.get(name) ?? [])]) {
      try {
        const result = (handler as Handler<Events[K]>)(event);
        if (isThenable(result)) {
          waiting.push(Promise.resolve(result).catch((error: unknown) => this.#failed(error, name)));
        }
      } catch (error) {
        this.#failed(error, name);
      }
    }
    return waiting.length === 0 ? undefined : Promise.all(waiting).then(() => undefined);
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
