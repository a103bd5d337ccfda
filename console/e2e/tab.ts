import { expect, type BrowserContext, type Locator, type Page } from "@playwright/test";

export const ann = "ANZ-123223";
export const ben = "ANZ-123224";

/** One tab with the console, used as a person would: by labels and roles. */
export class Tab {
  readonly page: Page;

  constructor(page: Page) {
    this.page = page;
  }

  static async open(context: BrowserContext, origin: string): Promise<Tab> {
    const page = await context.newPage();
    await page.goto(origin);
    return new Tab(page);
  }

  /** Opens a tab and signs a demo user in with one click. */
  static async as(name: "Ann" | "Ben", context: BrowserContext, origin: string): Promise<Tab> {
    const tab = await Tab.open(context, origin);
    await tab.page.getByRole("button", { name: new RegExp(`^${name}`) }).click();
    await tab.online();
    return tab;
  }

  /** Opens a tab and signs any user in through the form. */
  static async user(userId: string, context: BrowserContext, origin: string): Promise<Tab> {
    const tab = await Tab.open(context, origin);
    await tab.page.getByLabel("User ID").fill(userId);
    await tab.page.getByRole("button", { name: "Sign in" }).click();
    await tab.online();
    return tab;
  }

  async online(): Promise<void> {
    await expect(this.page.locator("body")).toHaveAttribute("data-state", "online");
  }

  get status(): Locator {
    return this.page.locator("#status");
  }

  get to(): Locator {
    return this.page.getByLabel("To", { exact: true });
  }

  get content(): Locator {
    return this.page.getByRole("textbox", { name: "Content" });
  }

  get reference(): Locator {
    return this.page.getByLabel("Reference");
  }

  /** Chooses one of the small switches, such as Fast or JSON. */
  async choose(label: string): Promise<void> {
    await this.page.bringToFront();
    await this.page.getByRole("radio", { name: label, exact: true }).check();
  }

  async send(text: string, to?: string): Promise<void> {
    await this.page.bringToFront(); // a hidden tab draws nothing, and clicking waits for that
    if (to !== undefined) await this.to.fill(to);
    await this.content.fill(text);
    await this.page.getByRole("button", { name: "Send" }).click();
    await expect(this.content).toHaveValue("");
  }

  /** The messages that were received, as texts. */
  get received(): Locator {
    return this.page.locator(".message.in .text");
  }

  /** The messages that were sent. */
  get sent(): Locator {
    return this.page.locator(".message.out");
  }

  /** What became of the messages that were sent, such as "stored". */
  get fates(): Locator {
    return this.page.locator(".message.out .mark .visually-hidden");
  }

  get problems(): Locator {
    return this.page.locator(".problem");
  }

  get notices(): Locator {
    return this.page.locator(".notice");
  }

  /** The rows of the frames pane that the filter lets through. */
  get frames(): Locator {
    return this.page.locator(".frames li:visible summary");
  }

  /** Fetches and waits for the answer. */
  async fetch(count: number): Promise<Locator> {
    await this.page.bringToFront();
    await this.page.getByLabel("Missed, at most").fill(String(count));
    await this.page.getByRole("button", { name: "Fetch" }).click();
    const note = this.page.locator("#fetched");
    await expect(note).toContainText("Fetched");
    return note;
  }
}
