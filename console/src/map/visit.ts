import type { StateChange, SwitchboardError } from "@switchboard/client";
import { Api, Problem } from "../api.js";
import { Again } from "../chat/again.js";
import type { Door } from "../chat/door.js";
import { explained } from "../chat/problems.js";
import { Renewal } from "../chat/renewal.js";
import { Session, type Tokens } from "../chat/session.js";
import { drawerOf, keepTokens } from "../chat/store.js";
import { forgetUser, positionDrawer } from "./appdoor.js";
import { Line, type Identity } from "./line.js";
import { Me } from "./me.js";

export interface VisitEvents {
  state(change: StateChange): void;
  /** Who is around, or where the user is, has changed. */
  changed(): void;
  trouble(error: SwitchboardError): void;
  /** It is over, and why; empty: the user wanted it. */
  ended(why: string): void;
  /** It is over, as the server does not let this user of an app in. */
  refused(error: SwitchboardError): void;
}

/** How long signing out waits until the position is forgotten. */
const hideMs = 2_000;

/** Somebody who is signed in: the line, and where he is. */
export class Visit {
  readonly line: Line;
  readonly me: Me;
  readonly #events: VisitEvents;
  readonly #session: Session | undefined;
  readonly #renewal: Renewal;
  readonly #again = new Again(() => void this.#beginAgain());
  #over = false;

  /** `signIn` names the sign-in of an account: with another one the user has not said where he is. */
  private constructor(identity: Identity, session: Session | undefined, signIn: string, ttlMs: number, events: VisitEvents) {
    this.#events = events;
    this.#session = session;
    this.line = new Line(identity, {
      state: (change) => this.#state(change),
      changed: () => events.changed(),
      trouble: (error) => events.trouble(error),
    });
    this.#renewal = new Renewal(() => session?.renewAt ?? Number.POSITIVE_INFINITY, () => this.line.online && this.line.renew());
    this.me = new Me({
      say: (position) => this.line.say(position),
      ttlMs,
      drawer: positionDrawer(signIn === "" ? identity.userId : signIn),
      changed: () => events.changed(),
      now: () => Date.now(),
    });
  }

  /** Of a user of an app. */
  static ofUser(identity: Identity, ttlMs: number, events: VisitEvents): Visit {
    return new Visit(identity, undefined, "", ttlMs, events);
  }

  /** Of somebody with an account. */
  static ofAccount(tokens: Tokens, door: Door, ttlMs: number, events: VisitEvents): Visit {
    let visit: Visit | undefined = undefined;
    const session: Session = new Session(tokens, {
      renew: (refreshToken) => door.renew(refreshToken),
      save: keepTokens,
      ended: (problem) => visit?.end(explained(problem)),
      now: () => Date.now(),
    });
    visit = new Visit({ appId: session.appId, userId: session.userId, token: () => session.access() }, session, tokens.session, ttlMs, events);
    return visit;
  }

  start(): void {
    this.line.start();
    this.me.begin();
  }

  /** Has the position forgotten, here and by all others. */
  async hide(): Promise<void> {
    this.me.hide();
    await this.line.hide();
  }

  /** Leaves, and takes the user off the map. */
  async signOut(): Promise<void> {
    const shared = this.me.way !== "hidden";
    this.me.hide();
    if (shared && this.line.online) await Promise.race([this.line.hide().catch(() => undefined), new Promise((resolve) => setTimeout(resolve, hideMs))]);
    const why = this.#session === undefined ? "" : await this.#leave(this.#session);
    drawerOf(this.line.userId).save("");
    this.end(why);
  }

  /** It is over, and why. */
  end(why: string): void {
    if (this.#close()) this.#events.ended(why);
  }

  /** False where it was over before. */
  #close(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#again.stop();
    this.#renewal.stop();
    this.me.end();
    this.line.close();
    if (this.#session === undefined) forgetUser();
    else this.#session.forget();
    return true;
  }

  async #leave(session: Session): Promise<string> {
    const api = new Api(() => session.access(), { reached: () => undefined, keyRefused: () => undefined }, { once: false });
    try {
      await api.delete("/sessions");
      return "";
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return "Signed out here. The server could not be told: elsewhere this sign-in is good until it ends by itself.";
    }
  }

  #state(change: StateChange): void {
    if (this.#over) return;
    this.#again.stop();
    if (change.state === "online") {
      this.#again.reset();
      this.#renewal.start();
      this.me.online();
    }
    this.#events.state(change);
    if (change.state !== "closed" || change.error === undefined) return;
    // Whether an account's sign-in is refused for good, renewing it shows.
    if (this.#session !== undefined) this.#again.later();
    else if (this.#close()) this.#events.refused(change.error);
  }

  async #beginAgain(): Promise<void> {
    try {
      await this.#session?.renew();
      if (!this.#over) this.line.start();
    } catch (error) {
      if (this.#over) return;
      if (!(error instanceof Problem)) throw error;
      this.#again.later();
    }
  }
}
