import { Client, type ClientOptions } from "@switchboard/client";
import { expect, type BrowserContext, type Locator, type Page } from "@playwright/test";
import { WebSocket } from "ws";
import type { Server } from "./server.js";

/** One tab with the operator's part, used as a person would: by labels and roles. */
export class Desk {
  readonly page: Page;

  constructor(page: Page) {
    this.page = page;
  }

  /** Opens the part and signs in, with an admin key if none is given; an address behind the "#" names a page. */
  static async open(context: BrowserContext, server: Server, hash = "", key?: string): Promise<Desk> {
    const page = await context.newPage();
    await page.goto(`${server.origin}/operator${hash}`);
    const desk = new Desk(page);
    await desk.signIn(key ?? (await server.makeKey("operator")).key);
    return desk;
  }

  async signIn(key: string): Promise<void> {
    await this.page.getByLabel("API key").fill(key);
    await this.page.getByRole("button", { name: "Sign in" }).click();
    await this.online();
  }

  async online(): Promise<void> {
    await expect(this.page.locator("body")).toHaveAttribute("data-state", "online");
  }

  /** Goes to a part by its link. */
  async go(part: string): Promise<void> {
    await this.page.bringToFront();
    await this.page.getByRole("navigation", { name: "Parts" }).getByRole("link", { name: part }).click();
    await expect(this.title).toHaveText(part);
  }

  get title(): Locator {
    return this.page.locator(".page-title");
  }

  /** What came of the last thing that was asked for. */
  get said(): Locator {
    return this.page.locator("#said");
  }

  /** A part of the page with a heading. */
  card(name: string | RegExp): Locator {
    return this.page.getByRole("region", { name });
  }

  rows(card: string | RegExp): Locator {
    return this.card(card).locator("tbody").getByRole("row");
  }

  /** The value of a tile, such as "Sessions". */
  tile(name: string): Locator {
    return this.card(name).locator(".tile-value");
  }

  async confirm(verb: string): Promise<void> {
    await this.page.getByRole("dialog").getByRole("button", { name: verb }).click();
    await expect(this.page.getByRole("dialog")).toHaveCount(0);
  }
}

/** A client in this process, signed in; its messages are passed over. */
export async function connected(server: Server, userId: string, options: Partial<ClientOptions> = {}): Promise<Client> {
  const url = `${server.origin.replace("http", "ws")}/ws`;
  const client = new Client({ url, appId: "app-id-343", userId, token: "t", WebSocket, ...options });
  client.on("message", () => undefined);
  await client.connect();
  return client;
}
