import { expect, test } from "./fixtures.js";
import { connected, Desk } from "./desk.js";
import type { Page } from "@playwright/test";
import type { Stats } from "../src/operator/answers.js";

/** How many pixels of a chart are drawn in a colour that is neither grey nor empty. */
async function coloured(page: Page, title: string): Promise<number> {
  return page.getByRole("figure", { name: title }).locator("canvas").evaluate((canvas: HTMLCanvasElement) => {
    const pixels = canvas.getContext("2d")?.getImageData(0, 0, canvas.width, canvas.height).data ?? new Uint8ClampedArray();
    let n = 0;
    for (let at = 0; at < pixels.length; at += 4) {
      const [r = 0, g = 0, b = 0, a = 0] = pixels.subarray(at, at + 4);
      if (a > 128 && Math.max(r, g, b) - Math.min(r, g, b) > 60) n++;
    }
    return n;
  });
}

test("numbers follow what passes, as it passes", async ({ context, server }) => {
  const [ann, ben] = await Promise.all([connected(server, "ANZ-1"), connected(server, "ANZ-2")]);
  const desk = await Desk.open(context, server);
  await expect(desk.tile("Sessions")).toHaveText("2");
  await expect(desk.tile("Messages in")).toHaveText("0");
  const sending = setInterval(() => {
    ann.send({ to: "ANZ-2", content: "hello" });
    ann.send({ to: "ANZ-2", content: "quick", feature: "FAST" });
    ben.send({ to: "ANZ-99", content: "for later" });
  }, 100);
  await expect(desk.tile("Messages in")).toHaveText(/^[1-9]\d(\.\d)?$/);
  await expect(desk.tile("Delivery proved")).toHaveText(/^[1-9](\.\d)?$|^1\d(\.\d)?$/);
  await expect(desk.tile("Waiting in mailboxes")).toHaveText(/^[1-9]\d*$/);
  const total = desk.page.getByRole("row", { name: /^RELIABLE messages in/ }).getByRole("cell").last();
  const before = Number(await total.textContent());
  await expect.poll(async () => Number(await total.textContent())).toBeGreaterThan(before);
  for (const chart of ["Messages per second", "Connected", "Messages waiting in mailboxes"]) {
    await expect.poll(() => coloured(desk.page, chart)).toBeGreaterThan(40);
  }
  await expect(desk.page.getByRole("img", { name: /^Messages per second, now: in, RELIABLE/ })).toBeVisible();

  await desk.page.getByRole("button", { name: "Pause" }).click();
  const held = await total.textContent();
  const other = await Desk.open(context, server);
  const running = other.page.getByRole("row", { name: /^RELIABLE messages in/ }).getByRole("cell").last();
  await expect.poll(async () => Number(await running.textContent())).toBeGreaterThan(Number(held) + 40);
  expect(await total.textContent()).toBe(held);
  await desk.page.bringToFront();
  await desk.page.getByRole("button", { name: "Pause" }).click();
  await expect(total).not.toHaveText(held ?? "");
  clearInterval(sending);
  ann.close();
  ben.close();
});

test("who opens the page sees the minutes before", async ({ context, server }) => {
  const client = await connected(server, "ANZ-1");
  for (let n = 0; n < 20; n++) client.send({ to: "ANZ-1", content: n });
  const proved = async (): Promise<number> => (await server.call<Stats>("GET", "/stats")).messages.proved;
  await expect.poll(proved).toBe(20);
  const { uptimeSeconds } = await server.call<Stats>("GET", "/stats");
  await expect.poll(async () => (await server.call<Stats>("GET", "/stats")).uptimeSeconds).toBeGreaterThan(uptimeSeconds + 2);
  const desk = await Desk.open(context, server);
  await expect.poll(() => coloured(desk.page, "Messages per second")).toBeGreaterThan(40);
  await expect(desk.tile("Messages in")).not.toHaveText("–"); // at once: its rate is made of the past
  client.close();
});

test("what is refused is shown by its code, and nothing refused is said, too", async ({ context, server }) => {
  const desk = await Desk.open(context, server);
  const refused = desk.card("Refused, by code");
  await expect(refused).toContainText("Nothing was refused since the node started.");
  const client = await connected(server, "ANZ-1");
  client.on("error", () => undefined);
  for (let n = 0; n < 3; n++) client.send({ to: "XYZ-1", content: n });
  await fetch(`${server.origin}/v1/users`, { headers: { Authorization: "Bearer nonsense" } });
  await expect(desk.rows("Refused, by code").first()).toHaveText(/^UNKNOWN_APP\s*socket.*3$/s);
  await expect(desk.rows("Refused, by code").last()).toHaveText(/^KEY_INVALID\s*HTTP.*1$/s);
  client.close();
});

test("health and facts of the node are shown, and when it is gone that is said", async ({ context, server }) => {
  const desk = await Desk.open(context, server);
  const health = desk.card("Health");
  await expect(health.getByRole("listitem")).toHaveText(["node works", "store works", "chat works"]);
  await expect(health).toContainText(/Up for\s*\d+ s/);
  await expect(health).toContainText(/Memory\s*\d+(\.\d)? MiB/);
  await expect(health).toContainText(/Nodes\s*1\s*Message log/);
  await server.kill();
  await expect(desk.page.locator(".freshness")).toContainText("Trying again", { timeout: 15_000 });
  await expect(health.getByRole("listitem")).toHaveText(["server not known"], { timeout: 15_000 });
  await server.resume();
  await expect(desk.page.locator(".freshness")).toHaveText("", { timeout: 15_000 });
  await expect(health.getByRole("listitem")).toHaveText(["node works", "store works", "chat works"], { timeout: 15_000 });
  // The totals began anew: no rate goes wild over that.
  await expect(desk.tile("Messages in")).toHaveText("0", { timeout: 15_000 });
});

test("numbers that are a sum say of how many nodes", async ({ page, server }) => {
  // Asked once: the page comes back to the stream until the end, when the server may be gone.
  const sum: Stats = { ...(await server.call<Stats>("GET", "/stats")), nodes: 3, sessions: 7 };
  await page.route("**/v1/stats/stream*", (route) => route.fulfill({ contentType: "text/event-stream", body: `id: run-1\nevent: stats\ndata: ${JSON.stringify(sum)}\n\n` }));
  const { key } = await server.makeKey("watcher");
  await page.goto(`${server.origin}/operator`);
  const desk = new Desk(page);
  await desk.signIn(key);
  await expect(desk.tile("Sessions")).toHaveText("7");
  await expect(desk.card("Health")).toContainText(/Nodes\s*3, added up; what stands above is of this one/);
});

test("the stream of numbers goes on where it was after a cut", async ({ page, server }) => {
  const asked: string[] = [];
  let cut = true;
  await page.route("**/v1/stats/stream*", async (route) => {
    asked.push(`${new URL(route.request().url()).search} ${(await route.request().headerValue("last-event-id")) ?? ""}`);
    if (!cut) return route.continue();
    cut = false;
    // What a connection brings that breaks after two events.
    const sample = await server.call<{ at: string }>("GET", "/stats");
    const event = (n: number): string => {
      const at = new Date(Date.parse(sample.at) - 10_000 + n * 1000).toISOString();
      return `id: run-${n}\nevent: stats\ndata: ${JSON.stringify({ ...sample, at })}\n\n`;
    };
    return route.fulfill({ contentType: "text/event-stream", body: `${event(1)}${event(2)}id: run-3\ndata: half` });
  });
  const { key } = await server.makeKey("watcher");
  await page.goto(`${server.origin}/operator`);
  const desk = new Desk(page);
  await desk.signIn(key);
  await expect(desk.tile("Sessions")).toHaveText("0");
  await expect.poll(() => asked.length).toBe(2);
  expect(asked).toEqual(["?past=300 ", " run-2"]);
  await expect(page.getByRole("row", { name: /^Log syncs/ })).toBeVisible();
});

test("with as many watching as may, that is said, and a place that comes free is taken", async ({ context, boot }) => {
  const server = await boot("apps: [{appName: ANZ, appId: app-id-343, authEnabled: false}]\nlimits: {statsStreams: 1}\n");
  const first = await Desk.open(context, server);
  await expect(first.tile("Sessions")).toHaveText("0");
  const second = await Desk.open(context, server);
  await expect(second.page.locator(".freshness")).toContainText("limits.statsStreams");
  await expect(second.page.locator(".freshness")).toContainText("BUSY");
  await first.page.close();
  await expect(second.tile("Sessions")).toHaveText("0", { timeout: 20_000 });
});

test("one minute or five are shown, as the reader wants it", async ({ context, server }) => {
  const desk = await Desk.open(context, server);
  await expect(desk.page.getByRole("radio", { name: "5 min" })).toBeChecked();
  await desk.page.getByRole("radio", { name: "1 min" }).check();
  await expect(desk.page.getByRole("radio", { name: "1 min" })).toBeChecked();
  await expect(desk.tile("Sessions")).toHaveText("0");
});

test("a chart tells what was at the pointer", async ({ context, server }) => {
  const desk = await Desk.open(context, server);
  await expect(desk.tile("Messages in")).toHaveText("0");
  const figure = desk.page.getByRole("figure", { name: "Connected" });
  await expect(figure.locator(".legend-when")).toHaveText("now");
  const box = await figure.locator(".u-over").boundingBox();
  if (box === null) throw new Error("the chart has no size");
  await desk.page.mouse.move(box.x + box.width - 4, box.y + box.height / 2);
  await expect(figure.locator(".legend-when")).toHaveText(/^\d\d:\d\d:\d\d$/);
  await desk.page.mouse.move(0, 0);
  await expect(figure.locator(".legend-when")).toHaveText("now");
});
