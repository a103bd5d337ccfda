import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

/** What was posted to a webhook. */
export interface Posted {
  headers: IncomingHttpHeaders;
  body: { type: string; data: Record<string, unknown> };
}

/** The server of an app that hears webhooks, and answers as the test wants it. */
export class Receiver {
  readonly posted: Posted[] = [];
  /** How it answers. */
  answer: (response: ServerResponse) => void = (response) => void response.writeHead(204).end();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      void text(request).then((body) => {
        this.posted.push({ headers: request.headers, body: JSON.parse(body) as Posted["body"] });
        this.answer(response);
      });
    });
  }

  static async start(): Promise<Receiver> {
    const receiver = new Receiver();
    receiver.#server.listen(0, "127.0.0.1");
    await once(receiver.#server, "listening");
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/hook`;
  }

  /** Answers with a status and a text from now on. */
  fail(status: number, said: string): void {
    this.answer = (response) => void response.writeHead(status, { "Content-Type": "text/plain" }).end(said);
  }

  /** Takes everything from now on. */
  recover(): void {
    this.answer = (response) => void response.writeHead(204).end();
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}
