/**
 * Where an error comes from:
 * - `GENERAL_ERROR`, `INVALID_MESSAGE`, `DELIVER_FAILED`: the server's frame of that name;
 * - `REFUSED`: the server refused the sign-in;
 * - `CONNECTION`: the connection failed or was closed;
 * - `CLIENT`: this client refused before anything was sent, or a handler threw.
 */
export type ErrorKind = "GENERAL_ERROR" | "INVALID_MESSAGE" | "DELIVER_FAILED" | "REFUSED" | "CONNECTION" | "CLIENT";

/** What an error may carry besides its kind, code and reason. */
export interface ErrorDetails {
  reference?: string | undefined;
  to?: readonly string[] | undefined;
  mayYetArrive?: boolean | undefined;
  closeCode?: number | undefined;
  home?: string | undefined;
  cause?: unknown;
}

/** Every error that this client throws, rejects with or reports. `code` is stable, `message` is for people. */
export class SwitchboardError extends Error {
  override readonly name = "SwitchboardError";
  readonly kind: ErrorKind;
  /** A stable word, such as `MAILBOX_FULL` or `NOT_CONNECTED`. */
  readonly code: string;
  /** The reference of the frame that failed, if it had one. */
  readonly reference: string | undefined;
  /** The receivers that it failed for, if the server named any. */
  readonly to: readonly string[];
  /** True when the outcome is unknown: the message may have been kept all the same. */
  readonly mayYetArrive: boolean;
  /** The WebSocket close code, when a closed connection is the reason. */
  readonly closeCode: number | undefined;
  /** With `WRONG_DOMAIN`: the URL to connect to instead, if the server knows it. */
  readonly home: string | undefined;

  constructor(kind: ErrorKind, code: string, reason: string, details: ErrorDetails = {}) {
    super(reason, details.cause === undefined ? undefined : { cause: details.cause });
    this.kind = kind;
    this.code = code;
    this.reference = details.reference;
    this.to = details.to ?? [];
    this.mayYetArrive = details.mayYetArrive ?? false;
    this.closeCode = details.closeCode;
    this.home = details.home;
  }
}

/** An error of this client's own making. */
export function refusedHere(code: string, reason: string, reference?: string): SwitchboardError {
  return new SwitchboardError("CLIENT", code, reason, { reference });
}

interface CloseMeaning {
  code: string;
  reason: string;
  /** Connecting again by itself would be wrong. */
  final?: boolean;
}

/** The server's close codes, under the names that it gives them. */
export const closeMeanings: Readonly<Record<number, CloseMeaning>> = {
  1000: { code: "NORMAL", reason: "the server ended the session", final: true },
  1001: { code: "GOING_AWAY", reason: "the server is going away" },
  1002: { code: "PROTOCOL_ERROR", reason: "the server saw a protocol error" },
  1003: { code: "UNSUPPORTED", reason: "the server takes text frames only" },
  1007: { code: "INVALID_UTF8", reason: "the server was sent invalid text" },
  1008: { code: "POLICY", reason: "the server closed the connection for a breach of its rules" },
  1009: { code: "TOO_BIG", reason: "a frame was larger than the server allows" },
  1011: { code: "INTERNAL", reason: "the server failed" },
  1012: { code: "RESTART", reason: "the server stops or restarts" },
  4001: { code: "SIGN_IN_TIMEOUT", reason: "the sign-in took too long" },
  4002: { code: "NOT_AUTHENTICATED", reason: "the sign-in was refused, or what it rested on was revoked", final: true },
  4003: { code: "CLOSED_BY_MASTER", reason: "the master user closed this session", final: true },
  4004: { code: "NO_PROOF", reason: "the server heard nothing from this client for too long" },
  4005: { code: "TOKEN_EXPIRED", reason: "the token has expired" },
  4006: { code: "TOO_MANY_SESSIONS", reason: "this user has too many sessions" },
  4007: { code: "TOO_SLOW", reason: "this client read too slowly" },
  4008: { code: "NOT_ACKNOWLEDGED", reason: "messages were not acknowledged in time" },
  4009: { code: "REPLACED", reason: "another connection has taken this one's place", final: true },
};

/** What the WebSocket itself says when there was no close frame. */
const broken: CloseMeaning = {
  code: "CONNECTION_LOST",
  reason: "the server cannot be reached, or the connection broke",
};

/** Says in words why a connection ended. What the server says beyond the code's name wins over our words. */
export function closeError(closeCode: number, said: string): SwitchboardError {
  const unknown = { code: "CLOSED", reason: `the connection was closed with code ${closeCode}` };
  const meaning = closeCode === 1005 || closeCode === 1006 ? broken : (closeMeanings[closeCode] ?? unknown);
  const reason = said === "" || said === meaning.code ? meaning.reason : said;
  return new SwitchboardError("CONNECTION", meaning.code, reason, { closeCode, mayYetArrive: true });
}

/** Sign-ins refused with one of these may succeed later without anything being changed. */
const passingRefusals: ReadonlySet<string> = new Set(["BUSY", "HOOK_FAILED", "STORE_DOWN", "TOO_MANY_SESSIONS", "RATE_LIMITED"]);

/** How a sign-in is refused: by its reply, or by an error that comes in its place. */
const refusals: ReadonlySet<ErrorKind> = new Set<ErrorKind>(["REFUSED", "INVALID_MESSAGE", "GENERAL_ERROR"]);

/**
 * Whether connecting again by itself makes sense after this error. An expired
 * token only does when a new one can be had.
 */
export function mayRetry(error: SwitchboardError, freshToken: boolean): boolean {
  if (error.code === "TOKEN_EXPIRED") return freshToken;
  if (refusals.has(error.kind)) return passingRefusals.has(error.code);
  return error.closeCode === undefined || closeMeanings[error.closeCode]?.final !== true;
}
