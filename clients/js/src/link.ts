/** The part of a WebSocket that the client uses; the browser's, Node's and `ws` all fit. */
export interface WebSocketLike {
  readonly bufferedAmount: number;
  // Event types differ between implementations; link.ts reads data, code and reason only.
  /* eslint-disable @typescript-eslint/no-explicit-any */
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  /* eslint-enable @typescript-eslint/no-explicit-any */
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export type WebSocketConstructor = new (url: string) => WebSocketLike;

export interface LinkEvents {
  opened(): void;
  received(data: unknown): void;
  closed(code: number, reason: string): void;
}

/** One socket from its opening to its end. After `drop` nothing is heard of it any more. */
export class Link {
  readonly #socket: WebSocketLike;

  /** Throws what the WebSocket constructor throws: a bad address, or an insecure one from a secure page. */
  constructor(url: string, WebSocketClass: WebSocketConstructor, events: LinkEvents) {
    const socket = new WebSocketClass(url);
    this.#socket = socket;
    socket.onopen = () => events.opened();
    socket.onmessage = (event: { data: unknown }) => events.received(event.data);
    socket.onclose = (event: { code: number; reason: string }) => {
      this.#unhook();
      events.closed(event.code, event.reason);
    };
    socket.onerror = () => undefined; // always followed by onclose, which knows the code
  }

  /** Bytes handed over and not yet on the wire. */
  get buffered(): number {
    return this.#socket.bufferedAmount;
  }

  send(text: string): void {
    this.#socket.send(text);
  }

  /** Closes without waiting for the other side's answer: a dead peer would never give it. */
  drop(code: number, reason: string): void {
    this.#unhook();
    this.#socket.close(code, reason);
  }

  #unhook(): void {
    this.#socket.onopen = null;
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    this.#socket.onerror = () => undefined; // `ws` throws errors that nobody hears
  }
}
