import { SwitchboardError, refusedHere, type ErrorKind } from "./errors.js";

/** RELIABLE is kept on disk until it is delivered, FAST lives in memory only. */
export type Feature = "RELIABLE" | "FAST";

/** One message to send. */
export interface Outgoing {
  /** One user ID, or several for a group message. */
  to: string | readonly string[];
  /** Any JSON value. */
  content?: unknown;
  /** Instead of `content`: JSON text that is sent byte for byte. */
  contentText?: string;
  /** Default RELIABLE. */
  feature?: Feature;
  /** Your own word for this message: confirmations and errors carry it. */
  reference?: string;
  /** Whether a MESSAGE_CONFIRMATION is wanted, if there is a reference. Default true. */
  confirmationEnabled?: boolean;
  /** How long a RELIABLE message may wait, in whole seconds above 0. Default: no limit of its own. */
  ttl?: number;
  /**
   * With `producer`: the number of a RELIABLE message, above those of all that
   * this client has sent. Default: the next one.
   */
  seq?: number;
}

/** A message as it is written: what is not there may also be undefined. */
export type Numbered = Omit<Outgoing, "seq" | "reference" | "confirmationEnabled"> & {
  reference?: string | undefined;
  confirmationEnabled?: boolean | undefined;
  seq?: number | undefined;
};

/** What signs a session in. */
export interface SignIn {
  appId: string;
  userId: string;
  token: string;
  options: SignInOptions;
}

/** The extensions of the protocol that a session asks for. */
export interface SignInOptions {
  /** Delivered means acknowledged: RELIABLE frames carry an id and are acknowledged after their handlers settled. */
  ack?: boolean | undefined;
  /** The server also says when a message is on disk. */
  receipts?: boolean | undefined;
  /** The mailbox is sent by itself after sign-in. */
  push?: boolean | undefined;
  /** The users whose coming and going to be told of. */
  presence?: readonly string[] | undefined;
  /**
   * The name of this client's outbox, 1 to 64 of `A-Z a-z 0-9 . _ -`. RELIABLE messages
   * are numbered, kept until they are stored, and sent again after a reconnect;
   * each is stored once. Implies `receipts`. Two clients of one user at a time must
   * not have the same.
   */
  producer?: string | undefined;
}

/** A frame from the server, its envelope checked. */
export interface Envelope {
  type: string;
  data: Readonly<Record<string, unknown>>;
  reference: string | undefined;
  id: string | undefined;
  producer: string | undefined;
  seq: number | undefined;
}

/** Reads a frame; undefined when it is not one. */
export function readFrame(text: string): Envelope | undefined {
  let frame: unknown;
  try {
    frame = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(frame) || typeof frame["type"] !== "string") return undefined;
  return {
    type: frame["type"],
    data: isObject(frame["data"]) ? frame["data"] : {},
    reference: textOf(frame["reference"]),
    id: textOf(frame["id"]),
    producer: textOf(frame["producer"]),
    seq: typeof frame["seq"] === "number" ? frame["seq"] : undefined,
  };
}

/** Turns an error frame into an error. */
export function readError(frame: Envelope): SwitchboardError {
  const { data } = frame;
  const to = typeof data["to"] === "string" ? [data["to"]] : Array.isArray(data["to"]) ? data["to"] : [];
  const code = textOf(data["code"]) ?? frame.type;
  return new SwitchboardError(frame.type as ErrorKind, code, textOf(data["reason"]) ?? code, {
    reference: frame.reference,
    to: to.filter((user): user is string => typeof user === "string"),
    mayYetArrive: data["mayYetArrive"] === true,
  });
}

/** The AUTH_CLIENT frame. Options are left out when none is set: then it is the frame of the first protocol. */
export function authFrame({ appId, userId, token, options }: SignIn): string {
  const asked: Record<string, unknown> = {};
  if (options.ack) asked["ack"] = true;
  if (options.receipts) asked["receipts"] = true;
  if (options.push) asked["push"] = true;
  if (options.presence !== undefined && options.presence.length > 0) asked["presence"] = options.presence;
  if (options.producer !== undefined) asked["producer"] = options.producer;
  const data = Object.keys(asked).length > 0 ? { appId, userId, token, options: asked } : { appId, userId, token };
  return JSON.stringify({ type: "AUTH_CLIENT", data });
}

/** The MESSAGE or GROUP_MESSAGE frame. Throws a SwitchboardError when it cannot be written. */
export function messageFrame(message: Numbered): string {
  const type = typeof message.to === "string" ? "MESSAGE" : "GROUP_MESSAGE";
  const rest = JSON.stringify({
    feature: message.feature,
    reference: message.reference,
    confirmationEnabled: message.confirmationEnabled,
    ttl: message.ttl,
    seq: message.seq,
  }).slice(1, -1);
  const data = `{"to":${JSON.stringify(message.to)},"content":${contentJson(message)}}`;
  return `{"type":"${type}","data":${data}${rest === "" ? "" : `,${rest}`}}`;
}

export function ackFrame(id: string): string {
  return JSON.stringify({ type: "MESSAGE_ACK", data: { id } });
}

export function fetchFrame(count: number, reference: string): string {
  return JSON.stringify({ type: "FETCH_MISSING_MESSAGES_REQUEST", data: { count }, reference });
}

export function closeConnectionFrame(userId: string, reference: string | undefined): string {
  return JSON.stringify({ type: "CLOSE_CONNECTION", data: { userId }, reference });
}

function contentJson({ content, contentText, reference }: Numbered): string {
  if (contentText === undefined) {
    // Says undefined for what JSON cannot hold, whatever its type says.
    const text = JSON.stringify(content) as string | undefined;
    if (text === undefined) throw refusedHere("BAD_CONTENT", "the content is not a JSON value", reference);
    return text;
  }
  try {
    JSON.parse(contentText);
  } catch (cause) {
    throw new SwitchboardError("CLIENT", "BAD_CONTENT", "the content is not valid JSON", { reference, cause });
  }
  return contentText;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value if it is a string, else undefined: null counts as absent. */
export function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
