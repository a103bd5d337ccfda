import { expect, type Browser, type BrowserContext, type BrowserContextOptions, type Locator, type Page } from "@playwright/test";
import { WebSocket } from "ws";

export const password = "correct horse";

/** Somebody at the chat page, in a window of their own, who uses it as a person would: by labels and roles. */
export class Person {
  readonly name: string;
  readonly page: Page;

  constructor(name: string, page: Page) {
    this.name = name;
    this.page = page;
  }

  /** Opens the page before its door. */
  static async at(browser: Browser, origin: string, name: string, options: BrowserContextOptions = {}): Promise<Person> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    const page = await context.newPage();
    await page.goto(`${origin}/chat`);
    return new Person(name, page);
  }

  /** Makes an account at the door. */
  static async signUp(browser: Browser, origin: string, name: string, options: BrowserContextOptions = {}): Promise<Person> {
    const person = await Person.at(browser, origin, name, options);
    await person.page.getByRole("radio", { name: "New account" }).check();
    await person.enter("Make account");
    return person;
  }

  /** Fills in the door's form and sends it. */
  async enter(verb = "Sign in", secret = password): Promise<void> {
    await this.page.getByLabel("Name", { exact: true }).fill(this.name);
    await this.page.getByLabel("Password", { exact: true }).fill(secret);
    await this.page.getByRole("button", { name: verb }).click();
    await this.online();
  }

  async online(): Promise<void> {
    await expect(this.page.locator("body")).toHaveAttribute("data-state", "online");
  }

  async leave(): Promise<void> {
    await this.page.context().close();
  }

  get context(): BrowserContext {
    return this.page.context();
  }

  get status(): Locator {
    return this.page.locator("#status");
  }

  /** What came of the last thing that was asked for. */
  get said(): Locator {
    return this.page.locator("#said");
  }

  /** The rooms of the list, as buttons. */
  room(name: string | RegExp): Locator {
    return this.page.getByRole("navigation", { name: "Rooms" }).getByRole("listitem").getByRole("button", { name });
  }

  async open(name: string): Promise<void> {
    await this.room(name).click();
    await expect(this.title).toHaveText(name);
  }

  get title(): Locator {
    return this.page.locator("#room-title");
  }

  get text(): Locator {
    return this.page.getByRole("textbox", { name: "Message" });
  }

  async say(text: string): Promise<void> {
    await this.text.fill(text);
    await this.text.press("Enter");
  }

  /** The texts that are shown in the open room. */
  get texts(): Locator {
    return this.page.locator("#rows .text");
  }

  /** The row of a message. */
  row(text: string): Locator {
    return this.page.locator("#rows .row").filter({ hasText: text });
  }

  /** Chooses from the menu of a message. */
  async choose(text: string, what: string): Promise<void> {
    await this.row(text).hover();
    await this.row(text).getByRole("button", { name: /^What to do with/ }).click();
    await this.page.getByRole("menuitem", { name: what }).click();
  }

  async showMembers(): Promise<void> {
    const opener = this.page.getByRole("button", { name: /^(Members|Details)$/ });
    if ((await opener.getAttribute("aria-expanded")) !== "true") await opener.click();
  }

  member(name: string): Locator {
    return this.page.getByRole("list", { name: "Members" }).getByRole("listitem").filter({ hasText: name });
  }

  /** Chooses from the menu of a member. */
  async deal(name: string, what: string): Promise<void> {
    await this.showMembers();
    await this.member(name).getByRole("button").click();
    await this.page.getByRole("menuitem", { name: what }).click();
  }

  get dialog(): Locator {
    return this.page.getByRole("dialog");
  }

  async press(name: string | RegExp): Promise<void> {
    await this.page.getByRole("button", { name, exact: typeof name === "string" }).click();
  }

  /** Answers the dialog that is shown, which then closes. */
  async answer(verb: string, fields: Readonly<Record<string, string>> = {}): Promise<void> {
    for (const [label, value] of Object.entries(fields)) await this.dialog.getByLabel(label).fill(value);
    await this.dialog.getByRole("button", { name: verb, exact: true }).click();
    await expect(this.dialog).toHaveCount(0);
  }

  async makeRoom(name: string, about: string, open: boolean): Promise<void> {
    await this.press("New");
    await this.press("Make a room");
    await this.dialog.getByLabel("Public").setChecked(open);
    await this.answer("Make it", { "Name of the room": name, "What it is about": about });
    await expect(this.title).toHaveText(name);
  }

  async writeTo(name: string): Promise<void> {
    await this.press("New");
    await this.press("Write to one person");
    await this.answer("Write", { "Name of the person": name });
  }

  /** Opens a part of the own account. */
  async account(what: string): Promise<void> {
    await this.page.locator("#me").click();
    await this.dialog.getByRole("button", { name: what, exact: true }).click();
  }

  /** The room that is open, by its ID. */
  get roomId(): string {
    return new URL(this.page.url()).hash.replace("#/", "");
  }
}

/** Signs in over HTTP; resolves to the access token. */
export async function token(origin: string, username: string): Promise<string> {
  const answer = await fetch(`${origin}/v1/sessions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ username, password }),
  });
  const body = (await answer.json()) as { accessToken?: string };
  if (body.accessToken === undefined) throw new Error(`${username} cannot sign in: ${answer.status}`);
  return body.accessToken;
}

/** Says many things in a room on a socket, and waits until all are stored. */
export async function sayMany(origin: string, username: string, room: string, texts: readonly string[]): Promise<void> {
  const secret = await token(origin, username);
  const socket = new WebSocket(`${origin.replace("http", "ws")}/ws`);
  const claims = JSON.parse(Buffer.from(secret.split(".")[1] ?? "", "base64url").toString()) as { sub: string };
  const send = (type: string, data: object): void => socket.send(JSON.stringify({ type, data, reference: type }));
  await new Promise<void>((stored, failed) => {
    let left = texts.length;
    socket.on("error", failed);
    socket.on("open", () => send("AUTH_CLIENT", { appId: "chat", userId: claims.sub, token: secret }));
    socket.on("message", (raw: Buffer) => {
      const frame = JSON.parse(raw.toString()) as { type: string; data: { isAuthenticated?: boolean } };
      if (frame.type === "AUTH_CLIENT_REPLY" && frame.data.isAuthenticated === true) texts.forEach((content) => send("ROOM_SEND", { room, content }));
      else if (frame.type === "ROOM_SENT") left--;
      else if (frame.type.includes("ERROR") || frame.type === "AUTH_CLIENT_REPLY") failed(new Error(raw.toString()));
      if (left === 0) stored();
    });
  });
  socket.close();
}
