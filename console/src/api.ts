import { newReference } from "@switchboard/client";
import { capital, withStop } from "./words.js";

/** How long an answer may take, unless who asks is less patient. */
const patienceMs = 20_000;

/** Accepted, and done: answers that may be empty. */
const nothingToSay: ReadonlySet<number> = new Set([202, 204]);

/** Why there is no good answer, as the server says it, or as it looks from here. */
export class Problem extends Error {
  /** Stable. UNREACHABLE, NO_ANSWER and ODD_ANSWER are our own. */
  readonly code: string;
  readonly status: number;
  /** The scope that the key lacks. */
  readonly scope: string | undefined;
  /** What is wrong in what was asked. */
  readonly field: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: string, reason: string, more: { status?: number; scope?: string; field?: string; retryAfterMs?: number } = {}) {
    super(reason);
    this.code = code;
    this.status = more.status ?? 0;
    this.scope = more.scope;
    this.field = more.field;
    this.retryAfterMs = more.retryAfterMs;
  }

  /** Whether the key is not good any more. */
  get keyIsBad(): boolean {
    return this.status === 401;
  }

  /** Whether the server, or the way to it, is the trouble, and may be over it soon. */
  get mayPass(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export interface Ask {
  query?: Record<string, string | number | undefined>;
  body?: unknown;
  signal?: AbortSignal;
  patienceMs?: number;
}

/** Hears how the calls go. */
export interface ApiEvents {
  /** The server answered, or could not be reached. */
  reached(problem: Problem | undefined): void;
  /** The key is not good any more. */
  keyRefused(problem: Problem): void;
}

/**
 * The server's calls under /v1, with one key, or with what a function gives each
 * time; without one for an empty text.
 */
export class Api {
  readonly #key: string | (() => Promise<string>);
  readonly #events: ApiEvents;
  readonly #once: boolean;

  /** Unless `once` is false, what changes something has an Idempotency-Key. The calls of accounts take none. */
  constructor(key: string | (() => Promise<string>), events: ApiEvents, { once = true } = {}) {
    this.#once = once;
    this.#key = key;
    this.#events = events;
  }

  get<T>(path: string, ask: Ask = {}): Promise<T> {
    return this.#json<T>("GET", path, ask);
  }

  /** As get, with the answer as the text that it is. */
  async text(path: string, ask: Ask = {}): Promise<string> {
    const response = await this.#send("GET", path, ask);
    return this.#read(response);
  }

  post<T>(path: string, ask: Ask = {}): Promise<T> {
    return this.#json<T>("POST", path, ask);
  }

  put<T>(path: string, ask: Ask = {}): Promise<T> {
    return this.#json<T>("PUT", path, ask);
  }

  patch<T>(path: string, ask: Ask = {}): Promise<T> {
    return this.#json<T>("PATCH", path, ask);
  }

  delete<T>(path: string, ask: Ask = {}): Promise<T> {
    return this.#json<T>("DELETE", path, ask);
  }

  /** Opens a stream of events. Its body is the caller's; there is no time limit. */
  async open(path: string, lastEventId: string, ask: Ask = {}): Promise<Response> {
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    if (lastEventId !== "") headers["Last-Event-ID"] = lastEventId;
    return this.#send("GET", path, ask, headers, Number.POSITIVE_INFINITY);
  }

  async #json<T>(method: string, path: string, ask: Ask): Promise<T> {
    const response = await this.#send(method, path, ask);
    const text = await this.#read(response);
    try {
      return (text === "" && nothingToSay.has(response.status) ? undefined : JSON.parse(text)) as T;
    } catch {
      throw new Problem("ODD_ANSWER", "what came back is no answer of Switchboard; is a proxy in between?", { status: response.status });
    }
  }

  async #read(response: Response): Promise<string> {
    try {
      return await response.text();
    } catch (error) {
      throw this.#unreached(error);
    }
  }

  async #send(method: string, path: string, ask: Ask, headers: Record<string, string> = {}, patience = ask.patienceMs ?? patienceMs): Promise<Response> {
    const key = typeof this.#key === "string" ? this.#key : await this.#key();
    if (key !== "") headers["Authorization"] = `Bearer ${key}`;
    if (ask.body !== undefined) headers["Content-Type"] = "application/json";
    if (this.#once && method !== "GET") headers["Idempotency-Key"] = `console-${newReference()}-${Date.now().toString(36)}`;
    const signals = [ask.signal, Number.isFinite(patience) ? AbortSignal.timeout(patience) : undefined].filter((one) => one !== undefined);
    let response: Response;
    try {
      response = await fetch(`v1${path}${search(ask.query)}`, {
        method,
        headers,
        signal: AbortSignal.any(signals),
        cache: "no-store",
        credentials: "omit",
        ...(ask.body === undefined ? {} : { body: JSON.stringify(ask.body) }),
      });
    } catch (error) {
      if (ask.signal?.aborted === true) throw error; // nobody waits for it any more
      throw this.#unreached(error);
    }
    this.#events.reached(undefined);
    if (response.ok) return response;
    const problem = problemOf(response, await response.text().catch(() => ""));
    if (problem.keyIsBad) this.#events.keyRefused(problem);
    throw problem;
  }

  #unreached(error: unknown): unknown {
    if (error instanceof DOMException && error.name === "AbortError") return error;
    const late = error instanceof DOMException && error.name === "TimeoutError";
    const problem = late
      ? new Problem("NO_ANSWER", `the server did not answer within ${patienceMs / 1000} s`)
      : new Problem("UNREACHABLE", "the server cannot be reached");
    this.#events.reached(problem);
    return problem;
  }
}

/** A problem in a sentence, with its code. */
export function sentence(problem: Problem): string {
  if (problem.scope !== undefined) return `The key lacks the scope ${problem.scope}.`;
  return `${capital(withStop(problem.message === "" ? "the server refused it" : problem.message))} (${problem.code})`;
}

/** Whether an error only says that nobody waits any more. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

function search(query: Ask["query"] = {}): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== "") params.set(name, String(value));
  }
  return params.size === 0 ? "" : `?${params.toString()}`;
}

/** Reads problem details (RFC 9457); what is none says so. */
export function problemOf(response: Pick<Response, "status" | "headers">, text: string): Problem {
  const retryAfter = Number(response.headers.get("Retry-After") ?? Number.NaN);
  const more: { status: number; retryAfterMs?: number; scope?: string; field?: string } = { status: response.status };
  if (Number.isFinite(retryAfter)) more.retryAfterMs = retryAfter * 1000;
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    // said below
  }
  if (typeof body !== "object" || body === null || !("code" in body) || typeof body.code !== "string") {
    return new Problem("ODD_ANSWER", `the server, or a proxy before it, answered with status ${response.status}`, more);
  }
  if ("scope" in body && typeof body.scope === "string") more.scope = body.scope;
  if ("field" in body && typeof body.field === "string") more.field = body.field;
  return new Problem(body.code, "detail" in body && typeof body.detail === "string" ? body.detail : "", more);
}
