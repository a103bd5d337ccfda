import { expect, type BrowserContext, type Locator, type Page } from "@playwright/test";
import type { Server } from "./server.js";

/** One tab with the page of devices, used as a person would: by labels and roles. */
export class Devices {
  readonly page: Page;

  constructor(page: Page) {
    this.page = page;
  }

  static async open(context: BrowserContext, server: Server): Promise<Devices> {
    const page = await context.newPage();
    await page.goto(`${server.origin}/devices`);
    return new Devices(page);
  }

  /** The card of a device, by the ID that stands in it. */
  device(id: string): Locator {
    return this.page.getByRole("region", { name: `Device ${id}`, exact: true });
  }

  /** How it stands, in words. */
  state(id: string): Locator {
    return this.device(id).getByRole("status");
  }

  /** What it has heard, said, and been told, line by line. */
  log(id: string): Locator {
    return this.device(id).locator(".heard .text");
  }

  async press(id: string, button: string): Promise<void> {
    await this.device(id).getByRole("button", { name: button, exact: true }).click();
  }

  /** Connects a device and waits until it is handled. */
  async connect(id: string): Promise<void> {
    await this.press(id, "Connect");
    await expect(this.log(id).filter({ hasText: "Connected and handled by" }).last()).toBeVisible();
  }

  async say(id: string, text: string): Promise<void> {
    await this.device(id).getByRole("textbox", { name: "Text" }).fill(text);
    await this.press(id, "Send");
  }

  async signIn(key: string): Promise<void> {
    await this.page.getByLabel("API key").fill(key);
    await this.page.getByRole("button", { name: "Sign in" }).click();
    await expect(this.page.locator("#signed")).toContainText("Signed in");
  }

  get traffic(): Locator {
    return this.page.getByRole("region", { name: "Traffic" });
  }

  get journal(): Locator {
    return this.page.getByRole("region", { name: "Journal" });
  }

  /** The rows of the journal, each as its cells. */
  async events(): Promise<string[][]> {
    return cells(this.journal.locator("tbody tr"));
  }

  /** What a chart says below when the pointer is over it, from one side to the other: by time, the lines with their values. */
  async charted(title: RegExp): Promise<Map<string, string[]>> {
    const card = this.traffic.locator("figure").filter({ hasText: title });
    await card.scrollIntoViewIfNeeded();
    const box = await card.locator(".u-over").boundingBox();
    if (box === null) return new Map();
    // The page notes by itself what is said: asking after each step takes as long as the windows that are shown.
    const said = await card.evaluateHandle((of) => {
      const lines = new Map<string, string[]>();
      new MutationObserver(() => {
        const [when = "", ...rest] = [".legend-when", ".legend-item"].flatMap((part) => [...of.querySelectorAll(part)].map((one) => one.textContent));
        lines.set(when, rest);
      }).observe(of, { subtree: true, childList: true, characterData: true });
      return lines;
    });
    const middle = box.y + box.height / 2;
    await this.page.mouse.move(box.x + 1, middle);
    await this.page.mouse.move(box.x + box.width - 1, middle, { steps: Math.ceil(box.width / 3) });
    await this.page.mouse.move(0, 0);
    return new Map(await said.evaluate((lines) => [...lines]));
  }

  /** The rows of the table of traffic, which is opened for that. */
  async windows(): Promise<string[][]> {
    const details = this.traffic.locator("details");
    if ((await details.getAttribute("open")) === null) await details.locator("summary").click();
    return cells(details.locator("tbody tr"));
  }
}

async function cells(rows: Locator): Promise<string[][]> {
  return rows.evaluateAll((all) => all.map((row) => [...row.children].map((cell) => cell.textContent)));
}
