import { Problem } from "../api.js";
import { isData, text, time, type Data } from "./answers.js";

/** What signs a person in. */
export interface Tokens {
  userId: string;
  /** The app whose user that is. */
  appId: string;
  accessToken: string;
  /** When to get a new one, by the clock of this machine, in milliseconds. */
  renewAt: number;
  refreshToken: string;
  /** Names this sign-in: the same for all that is got by renewing. */
  session: string;
}

/** Renewed when less than this, or a quarter, is left: what is begun with a token should also end with it. */
const marginMs = 60_000;

export interface SessionOptions {
  /** Trades the refresh token for new ones. */
  renew: (refreshToken: string) => Promise<Data>;
  /** Keeps the tokens over a reload; undefined forgets them. */
  save: (tokens: Tokens | undefined) => void;
  /** The session is over: the server says so. */
  ended: (problem: Problem) => void;
  now: () => number;
}

/**
 * The tokens of one who is signed in. A refresh token is good once, and using it
 * twice ends the session, so renewing is done by one at a time, and what comes
 * of it is kept before anybody gets it.
 */
export class Session {
  readonly #options: SessionOptions;
  #tokens: Tokens | undefined;
  #renewing: Promise<string> | undefined;

  constructor(tokens: Tokens, options: SessionOptions) {
    this.#tokens = tokens;
    this.#options = options;
    options.save(tokens);
  }

  get userId(): string {
    return this.#tokens?.userId ?? "";
  }

  get appId(): string {
    return this.#tokens?.appId ?? "";
  }

  /** When the access token is due to be renewed. */
  get renewAt(): number {
    return this.#tokens?.renewAt ?? Number.POSITIVE_INFINITY;
  }

  /** An access token that is good for a while. */
  async access(): Promise<string> {
    const tokens = this.#tokens;
    if (tokens !== undefined && this.#options.now() < tokens.renewAt) return tokens.accessToken;
    return this.renew();
  }

  /** A new access token, whatever the old one is good for. */
  renew(): Promise<string> {
    this.#renewing ??= this.#renew().finally(() => (this.#renewing = undefined));
    return this.#renewing;
  }

  /** Takes tokens that an answer brought in place of these. */
  adopt(tokens: Tokens): void {
    this.#tokens = tokens;
    this.#options.save(tokens);
  }

  /** Forgets the tokens, here only. */
  forget(): void {
    this.#tokens = undefined;
    this.#options.save(undefined);
  }

  async #renew(): Promise<string> {
    const tokens = this.#tokens;
    if (tokens === undefined) throw new Problem("BAD_TOKEN", "nobody is signed in", { status: 401 });
    try {
      const renewed = readTokens(await this.#options.renew(tokens.refreshToken), this.#options.now());
      if (this.#tokens === undefined) throw new Problem("BAD_TOKEN", "signed out meanwhile", { status: 401 });
      this.#tokens = renewed;
      this.#options.save(renewed);
      return renewed.accessToken;
    } catch (error) {
      if (error instanceof Problem && error.keyIsBad && this.#tokens !== undefined) {
        this.forget();
        this.#options.ended(error);
      }
      throw error;
    }
  }
}

/** Reads the answer to a sign-in. Throws a Problem when it is none. */
export function readTokens(data: Data, now: number): Tokens {
  const claims = claimsOf(text(data["accessToken"]));
  const goodMs = lifetime(claims, time(data["expiresAt"]), now);
  const tokens = {
    userId: text(data["userId"]),
    appId: text(Array.isArray(claims["aud"]) ? claims["aud"][0] : claims["aud"]),
    accessToken: text(data["accessToken"]),
    renewAt: now + goodMs - Math.min(marginMs, goodMs / 4),
    refreshToken: text(data["refreshToken"]),
    session: text(data["session"]),
  };
  if (tokens.userId === "" || tokens.accessToken === "" || tokens.refreshToken === "") {
    throw new Problem("ODD_ANSWER", "what came back is no sign-in of Switchboard; is a proxy in between?");
  }
  return tokens;
}

/**
 * How long a token is good. It says so itself, from when to when by the server's
 * clock; compared with a clock that is wrong, its end alone would mislead.
 */
function lifetime({ iat, exp }: Data, expiresAt: number | undefined, now: number): number {
  return typeof exp === "number" && typeof iat === "number" ? (exp - iat) * 1000 : (expiresAt ?? now) - now;
}

/** What a token says about itself; whether that is true the server knows. */
function claimsOf(token: string): Data {
  try {
    const claims: unknown = JSON.parse(atob((token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/")));
    return isData(claims) ? claims : {};
  } catch {
    return {};
  }
}

/** Reads what was saved; undefined when it is nothing of use. */
export function savedTokens(saved: string): Tokens | undefined {
  try {
    const data: unknown = JSON.parse(saved);
    if (!isData(data) || typeof data["renewAt"] !== "number") return undefined;
    const tokens = {
      userId: text(data["userId"]),
      appId: text(data["appId"]),
      accessToken: text(data["accessToken"]),
      renewAt: data["renewAt"],
      refreshToken: text(data["refreshToken"]),
      session: text(data["session"]),
    };
    return tokens.userId === "" || tokens.refreshToken === "" ? undefined : tokens;
  } catch {
    return undefined;
  }
}
