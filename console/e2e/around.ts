import type { Client } from "@switchboard/client";
import { expect, type BrowserContext, type Locator, type Page } from "@playwright/test";
import type { Server } from "./server.js";

export interface Place {
  lat: number;
  lon: number;
}

const rad = Math.PI / 180;

/** One tab with the map, used as a person would: by labels and roles, and by pointing at places. */
export class Around {
  readonly page: Page;

  constructor(page: Page) {
    this.page = page;
  }

  /** Opens the map at an address and signs a demo user in. */
  static async as(name: "Ann" | "Ben", context: BrowserContext, server: Server, hash = ""): Promise<Around> {
    const page = await context.newPage();
    await page.goto(`${server.origin}/map${hash}`);
    await page.getByRole("button", { name, exact: true }).click();
    const around = new Around(page);
    await around.online();
    return around;
  }

  async online(): Promise<void> {
    await expect(this.page.locator("body")).toHaveAttribute("data-state", "online");
  }

  get map(): Locator {
    return this.page.locator("#map");
  }

  /** Who is in view, row by row. */
  get rows(): Locator {
    return this.page.locator("#people button");
  }

  row(name: string): Locator {
    return this.rows.filter({ has: this.page.getByText(name, { exact: true }) });
  }

  get names(): Promise<string[]> {
    return this.page.locator("#people .person-name").allTextContents();
  }

  /** What stands above the list. */
  get summary(): Locator {
    return this.page.locator("#people-note");
  }

  get note(): Locator {
    return this.page.locator("#map-note");
  }

  get where(): Locator {
    return this.page.locator("#me-where");
  }

  /** Whether meridians and parallels are drawn. */
  async lines(): Promise<boolean> {
    return this.page.locator(".grid-canvas").evaluate((canvas: HTMLCanvasElement) => {
      const pixels = canvas.width === 0 ? [] : (canvas.getContext("2d")?.getImageData(0, 0, canvas.width, canvas.height).data ?? []);
      return pixels.some((value) => value > 0);
    });
  }

  /** A colour of the style sheet, as the browser computes it. */
  async colour(name: string): Promise<string> {
    return this.page.evaluate((of) => {
      const probe = document.body.appendChild(document.createElement("i"));
      probe.style.color = `var(${of})`;
      const { color } = getComputedStyle(probe);
      probe.remove();
      return color;
    }, name);
  }

  async press(button: string): Promise<void> {
    await this.page.getByRole("button", { name: button, exact: true }).click();
  }

  async turn(face: string): Promise<void> {
    await this.page.getByRole("radio", { name: face }).check();
  }

  /** Goes to an address of the map. */
  async go(hash: string): Promise<void> {
    await this.page.evaluate((to) => (location.hash = to), hash);
    await expect.poll(() => this.page.url()).toContain(hash.split("/")[0] ?? "");
  }

  /** The pixel of the page at which a place is, reckoned from the address and from nothing else of the map's. */
  async pixel({ lat, lon }: Place): Promise<{ x: number; y: number }> {
    const box = await this.map.boundingBox();
    const [face = "", ...numbers] = new URL(this.page.url()).hash.slice(1).split("/");
    const [atLat = 0, atLon = 0, zoom = 0] = numbers.map(Number);
    if (box === null) throw new Error("the map has no place on the page");
    const whole = 256 * 2 ** zoom; // the earth around, in pixels
    const flat = (lat: number, lon: number): [number, number] => {
      if (face === "world") return [(lon / 360) * whole, (-Math.log(Math.tan(Math.PI / 4 + (lat * rad) / 2)) / (2 * Math.PI)) * whole];
      const far = ((face === "north" ? 90 - lat : 90 + lat) / 360) * whole;
      return [far * Math.sin(lon * rad), far * Math.cos(lon * rad) * (face === "north" ? 1 : -1)];
    };
    const [x, y] = flat(lat, lon);
    const [centerX, centerY] = flat(atLat, atLon);
    const aside = face === "world" ? Math.round((x - centerX) / whole) * whole : 0;
    return { x: box.x + box.width / 2 + x - centerX - aside, y: box.y + box.height / 2 + y - centerY };
  }

  /** Points at a place; resolves to what the map says is there. */
  async at(place: Place): Promise<string> {
    const { x, y } = await this.pixel(place);
    await this.page.mouse.move(x + 1, y + 1);
    await this.page.mouse.move(x, y);
    await this.page.evaluate(() => new Promise((done) => requestAnimationFrame(done)));
    const tip = this.page.locator("#tip");
    return (await tip.isVisible()) ? await tip.innerText() : "";
  }

  /** Somebody is at a place, and can be seen there. */
  async seen(name: string, place: Place): Promise<void> {
    await expect.poll(() => this.at(place), `${name} at ${place.lat} ${place.lon}`).toBe(name);
  }

  /** Pulls the map by so many pixels. */
  async pull(x: number, y: number): Promise<void> {
    const box = await this.map.boundingBox();
    const from = { x: (box?.x ?? 0) + (box?.width ?? 0) / 2, y: (box?.y ?? 0) + (box?.height ?? 0) / 2 };
    await this.page.mouse.move(from.x, from.y);
    await this.page.mouse.down();
    await this.page.mouse.move(from.x + x, from.y + y, { steps: 8 });
    await this.page.waitForTimeout(150); // held still, so that the map does not glide on
    await this.page.mouse.up();
  }

  /**
   * Resolves to the time at which something is drawn at a place, or nothing is any
   * more, by the clock of the machine; looked for in every frame.
   */
  async drawn(place: Place, there: boolean): Promise<number> {
    const [box, { x, y }] = [await this.map.boundingBox(), await this.pixel(place)];
    return this.page.evaluate(
      async ([left, top, wanted]) => {
        const canvas = document.querySelector<HTMLCanvasElement>(".people-canvas");
        const context = canvas?.getContext("2d");
        for (;;) {
          await new Promise((next) => requestAnimationFrame(next));
          const [, , , opaque = 0] = context?.getImageData(left * devicePixelRatio, top * devicePixelRatio, 1, 1).data ?? [];
          if (opaque > 200 === wanted) return Date.now();
        }
      },
      [x - (box?.x ?? 0), y - (box?.y ?? 0), there] as const,
    );
  }
}

/** Lets users of the server move at random within a part of the map, each once a second; returns what ends it. */
export function stir(clients: readonly Client[], middle: Place, degrees: number): () => void {
  const step = (client: Client): void => {
    if (client.state !== "online") return;
    client.position({ lat: middle.lat + (Math.random() - 0.5) * degrees, lon: middle.lon + (Math.random() - 0.5) * degrees });
  };
  clients.forEach(step);
  let next = 0;
  const timer = setInterval(() => {
    for (let n = 0; n < clients.length / 50; n++) {
      const client = clients[next++ % clients.length];
      if (client !== undefined) step(client);
    }
  }, 20);
  return () => clearInterval(timer);
}
