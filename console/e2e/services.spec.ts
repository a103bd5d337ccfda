import { writeFile } from "node:fs/promises";
import type { Locator, Page } from "@playwright/test";
import { problems } from "./axe.js";
import { Desk } from "./desk.js";
import { expect, test } from "./fixtures.js";

/** How long a change may take to be seen on a machine under test. */
const patience = { timeout: 30_000 };

const row = (desk: Desk, text: string): Locator => desk.rows("Instances").filter({ hasText: text });

async function put(origin: string, key: string, path: string, body: object): Promise<void> {
  const answer = await fetch(`${origin}/v1/services/${path}`, { method: "PUT", headers: { authorization: `Bearer ${key}`, "content-type": "application/json" }, body: JSON.stringify(body) });
  expect(answer.status, await answer.text()).toBeLessThan(300);
}

async function looksRight(page: Page, picture: string): Promise<void> {
  await page.screenshot({ path: picture, fullPage: true });
  expect(await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth), "it scrolls sideways").toBeLessThanOrEqual(0);
}

test("services come, change and go on the page as they do, also after an interruption", async ({ browser, boot }, info) => {
  const file = info.outputPath("services.yaml");
  await writeFile(file, "services: {archive: [{instance: archive-1, url: 'https://archive.example', weight: 5}]}\n");
  const server = await boot(`apps: [{appName: ANZ, appId: app-id-343, authEnabled: false}]\nregistry: {file: "${file}"}\n`);
  const { key } = await server.makeKey("operator");
  await put(server.origin, key, "orders/orders-1", { url: "http://10.0.0.7:8080", weight: 2, meta: { health: "/up", note: "<img src=x>" }, ttl: 3600 });
  const desk = await Desk.open(await browser.newContext(), server, "#/services", key);
  const said = desk.card("Instances").getByRole("status");
  await expect(said).toHaveText("3 services, 3 instances.", patience);
  await expect(row(desk, "orders-1")).toContainText("http://10.0.0.7:8080");
  await expect(row(desk, "orders-1")).toContainText("note=<img src=x>");
  await expect(row(desk, "archive-1")).toContainText("in the file");
  await expect(row(desk, "switchboard")).toContainText("a node");
  await expect(desk.page.getByRole("columnheader", { name: "Health" })).toBeHidden(); // no gateway looks at them
  await desk.page.evaluate(() => Object.assign(window, { since: "the start" }));
  await put(server.origin, key, "orders/orders-2", { url: "http://10.0.0.8:8080", ttl: 1 });
  await expect(row(desk, "orders-2")).toBeVisible(patience);
  await expect(row(desk, "orders-2")).toHaveCount(0, patience); // nobody renews it
  await fetch(`${server.origin}/v1/services/orders/orders-1`, { method: "DELETE", headers: { authorization: `Bearer ${key}` } });
  await expect(said).toHaveText("2 services, 2 instances.", patience);
  await server.stop();
  await expect(desk.page.locator(".freshness")).toContainText("What is shown is how it was.", patience);
  await server.resume();
  await expect(desk.page.locator(".freshness")).toHaveText("", patience);
  await expect(said).toHaveText("2 services, 2 instances.");
  expect(await desk.page.evaluate(() => "since" in window)).toBe(true);
});

test("the page of services looks right with a gateway and without, wide and narrow", async ({ browser, server }, info) => {
  test.setTimeout(120_000);
  const { key } = await server.makeKey("operator");
  await put(server.origin, key, "orders/orders-1", { url: `http://${"very-long-name.".repeat(9)}example:8080/and/a/path`, meta: { health: "/up", words: "many words ".repeat(20).trim() }, ttl: 3600 });
  for (const colorScheme of ["light", "dark"] as const) {
    for (const [name, viewport] of Object.entries({ wide: { width: 1440, height: 900 }, narrow: { width: 375, height: 812 } })) {
      for (const gateway of [false, true]) {
        const context = await browser.newContext({ colorScheme, viewport });
        if (gateway) {
          const at = new Date().toISOString();
          const one = (instance: string, state: string, reason?: string): object => ({ service: "orders", instance, url: "http://10.0.0.7:8080", weight: 1, ttl: 30, since: at, source: "registered", health: { state, since: at, reason }, inFlight: 12 });
          const body = `event: service\ndata: ${JSON.stringify({ name: "orders", instances: [one("orders-1", "up"), one("orders-2", "down", "it answered with status 500 three times in a row")] })}\n\nevent: services\ndata: {"names":["orders"]}\n\n`;
          await context.route("**/v1/services/stream", (route) => route.fulfill({ status: 200, contentType: "text/event-stream", body }));
        }
        const desk = await Desk.open(context, server, "#/services", key);
        await expect(row(desk, "orders-1")).toBeVisible(patience);
        await expect(desk.page.locator("td.service-health").first()).toBeVisible({ visible: gateway });
        if (gateway) await expect(row(desk, "orders-2").locator(".state")).toHaveClass("state bad");
        await looksRight(desk.page, info.outputPath(`services-${colorScheme}-${name}-${gateway ? "gateway" : "alone"}.png`));
        expect(await problems(desk.page, colorScheme)).toEqual([]);
        await context.close();
      }
    }
  }
});

test("whoever may not see services is told why", async ({ context, server }) => {
  const { key } = await server.makeKey("app", "ANZ", ["users:read"]);
  const desk = await Desk.open(context, server, "#/services", key);
  await expect(desk.card("Instances")).toContainText("lacks the scope services:read");
});
