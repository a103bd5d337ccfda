import { readFile } from "node:fs/promises";
import { createServer, type Server as HttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import type { Locator, Page } from "@playwright/test";
import type { Relay } from "../src/operator/answers.js";
import { problems, type ColorScheme } from "./axe.js";
import { Desk } from "./desk.js";
import { expect, test as base } from "./fixtures.js";
import { RelayDemo } from "./relaydemo.js";

const patience = { timeout: 60_000 };

const test = base.extend<{ demo: RelayDemo }>({
  // Playwright reads the names of the fixtures that it hands in from the pattern.
  // eslint-disable-next-line no-empty-pattern
  demo: async ({}, use, info) => {
    const demo = await RelayDemo.start();
    await use(demo);
    if (info.status !== info.expectedStatus) await info.attach("demo", { body: demo.said });
    await demo.remove();
  },
});

/** The settings of a node that shows a relay. */
const shows = (network: string): string => `apps: [{appName: ANZ, appId: app-id-343, authEnabled: false}]\nrelay: {network: "${network}"}\n`;

const points = (page: Page): Locator => page.locator("#chart .point");
const shownNumber = async (page: Page): Promise<number> => Number(await page.locator("#number").textContent());

async function looksRight(page: Page, colorScheme: ColorScheme, what: string, picture: string): Promise<void> {
  await page.screenshot({ path: picture, fullPage: true });
  expect(await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth), `${what} scrolls sideways`).toBeLessThanOrEqual(0);
  expect(await problems(page, colorScheme), what).toEqual([]);
}

const sizes = { wide: { width: 1440, height: 900 }, narrow: { width: 360, height: 780 } };

test("the chart shows what the sensor says, and goes on by itself when its service was killed", async ({ browser, demo }, info) => {
  test.setTimeout(240_000);
  for (const colorScheme of ["light", "dark"] as const) {
    for (const [name, viewport] of Object.entries(sizes)) {
      const page = await (await browser.newContext({ colorScheme, viewport })).newPage();
      await page.goto(demo.chart);
      await expect.poll(() => points(page).count(), patience).toBeGreaterThan(4);
      await expect(page.locator("#state")).toHaveText("Reports come.");
      await expect(page.locator("#value")).toHaveText(/^\d+\.\d\d$/);
      await expect(page.locator("#rows tr")).not.toHaveCount(0);
      await looksRight(page, colorScheme, `chart, ${name}, ${colorScheme}`, info.outputPath(`chart-${colorScheme}-${name}.png`));
      await page.context().close();
    }
  }
  const page = await (await browser.newContext()).newPage();
  await page.goto(demo.chart);
  await expect.poll(() => points(page).count(), patience).toBeGreaterThan(0);
  await page.evaluate(() => Object.assign(window, { since: "the start" }));
  const before = await shownNumber(page);
  process.kill(demo.processOf("visualize"), "SIGKILL");
  await demo.says(/^visualize is started again: process \d+ after \d+$/m);
  await expect.poll(() => shownNumber(page), patience).toBeGreaterThan(before + 2);
  process.kill(demo.processOf("sensor"), "SIGSTOP");
  await expect(page.locator("#state")).toHaveText("No report has come for more than 3 seconds.", patience);
  process.kill(demo.processOf("sensor"), "SIGCONT");
  await expect(page.locator("#state")).toHaveText("Reports come.", patience);
  expect(await page.evaluate(() => "since" in window)).toBe(true);
});

test("the operator sees the relay at work, who is lost, and that all is well again", async ({ context, boot, demo }) => {
  test.setTimeout(240_000);
  const network = /port: (\d+)}/.exec(await readFile(path.join(demo.data, "demo", "config", "network.yaml"), "utf8"))?.[1];
  const server = await boot(shows(`127.0.0.1:${network ?? ""}`));
  const desk = await Desk.open(context, server, "#/relay");
  const said = desk.card("Clusters").getByRole("status");
  const collector = desk.rows("Clusters").filter({ hasText: "archive/archive-1" });
  await expect(said).toHaveText("3 clusters, 3 collectors, all up.", patience);
  await expect(collector).toContainText("files/s", patience);
  await expect(desk.rows("Uploaders")).toHaveCount(3, patience);
  await expect(desk.rows("Uploaders").first()).toContainText(path.join(demo.data, "demo"));
  await expect(desk.rows("Uploaders").locator(".state")).toHaveText(["up", "up", "up"]);
  await expect(desk.rows("On the way")).toHaveCount(3, patience);
  await expect(desk.rows("On the way").filter({ hasText: "gateway/gateway-1" }).locator(".state")).toHaveClass("state good", patience);
  process.kill(demo.processOf("archive-collector"), "SIGSTOP");
  await expect(said).toHaveText("3 clusters, 3 collectors, 2 up. archive/archive-1 is lost.", patience);
  await expect(collector.locator(".state")).toHaveClass("state bad");
  process.kill(demo.processOf("archive-collector"), "SIGCONT");
  await expect(said).toHaveText("3 clusters, 3 collectors, all up.", patience);
});

/** A network server that answers as a test wants. */
class Stub {
  status: object | string = "";
  readonly #server: HttpServer;

  private constructor() {
    this.#server = createServer((request, response) => {
      const found = request.url === "/status" && this.status !== "";
      response.writeHead(found ? 200 : 503, { "Content-Type": "application/json" });
      response.end(found ? JSON.stringify(this.status) : "STOPPING: not now");
    });
  }

  static async start(): Promise<Stub> {
    const stub = new Stub();
    await new Promise<void>((resolve) => stub.#server.listen(0, "127.0.0.1", resolve));
    return stub;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

const at = (second: number): string => `2026-11-26T08:00:${String(second).padStart(2, "0")}Z`;
const nothing = { files: 0, bytes: 0, oldestSeconds: 0 };

/** A relay in which much is wrong. */
const troubled: Omit<Relay, "network"> = {
  version: "v0.9.0",
  clusters: [
    { name: "archive", members: [
      { id: "one", address: "10.0.0.7", port: 9300, state: "up", since: at(0), report: { program: "collector", id: "one", host: "store7", spool: "/var/spool/archive", version: "v0.9.0", files: 40_211, bytes: 1_203_384_411, filesPerSecond: 15.9, bytesPerSecond: 480_411, waiting: { files: 3, bytes: 91_022, oldestSeconds: 75 }, leftAlone: 0, targets: [], failures: [], full: "the disk has less than 256 MiB free" } },
      { id: "a-collector-with-a-name-that-is-much-longer-than-anybody-would-like-to-see", address: "collector.in.a.far.away.place.example.com", port: 9300, state: "lost", since: at(1) },
      { id: "stranger", address: "10.0.0.9", port: 9300, state: "up", since: at(2) },
    ] },
    { name: "empty", members: [] },
  ],
  programs: [
    { program: "uploader", id: "u1", host: "field3", spool: "/var/spool/out", version: "v0.9.0", files: 40_208, bytes: 1_203_293_389, filesPerSecond: 15.9, bytesPerSecond: 480_411, waiting: { files: 2_000_000, bytes: 60_100_000_000, oldestSeconds: 100_000 }, leftAlone: 12, silent: false, seen: at(3),
      targets: [
        { cluster: "archive", id: "one", address: "10.0.0.7:9300", state: "held", reason: "503 FULL: the disk has less than 256 MiB free", waiting: { files: 2, bytes: 60_100, oldestSeconds: 4 }, bytesPerSecond: 0 },
        { cluster: "archive", id: "stranger", address: "10.0.0.9:9300", state: "up", waiting: nothing, bytesPerSecond: 480_411 },
      ],
      failures: [
        { at: at(9), name: "<script>alert(1)</script>.json", where: "archive/one", reason: "503 FULL: the disk has less than 256 MiB free", final: false },
        { at: at(8), name: `${"a-very-long-name-".repeat(14)}.csv`, where: "archive/lost", reason: "connect: connection refused, for seven days", final: true },
      ] },
    { program: "uploader", id: "u2", host: "field4", spool: "/var/spool/out", version: "v0.8.0", files: 0, bytes: 0, filesPerSecond: 0, bytesPerSecond: 0, waiting: nothing, leftAlone: 0, silent: true, seen: at(4), targets: [], failures: [] },
    { program: "maker", id: "m1", host: "field3", spool: "/var/spool/out", version: "v0.9.0", files: 12, bytes: 4_000, filesPerSecond: 0.2, bytesPerSecond: 60, waiting: nothing, leftAlone: 0, silent: false, seen: at(5), targets: [], failures: [] },
  ],
};

test("what is wrong with a relay is said, and why there is none to be seen", async ({ browser, boot, server }, info) => {
  test.setTimeout(240_000);
  const network = await Stub.start();
  const node = await boot(shows(network.address));
  const { key } = await node.makeKey("on call");
  for (const colorScheme of ["light", "dark"] as const) {
    for (const [name, viewport] of Object.entries(sizes)) {
      const context = await browser.newContext({ colorScheme, viewport });
      const look = (desk: Desk, what: string): Promise<void> => looksRight(desk.page, colorScheme, `${what}, ${name}, ${colorScheme}`, info.outputPath(`${what}-${colorScheme}-${name}.png`));
      network.status = "";
      const desk = await Desk.open(context, node, "#/relay", key);
      await expect(desk.page.locator(".freshness")).toContainText(`The network server ${network.address} could not be asked: answered 503`, patience);
      await expect(desk.card("The network server does not answer")).toBeVisible();
      await expect(desk.card("Clusters")).toBeHidden();
      if (colorScheme === "light") await look(desk, "away");
      network.status = { version: "v0.9.0", clusters: null, programs: null };
      await expect(desk.card("Clusters")).toContainText("No collector has joined.", patience);
      await expect(desk.card("The network server does not answer")).toBeHidden();
      if (colorScheme === "light") await look(desk, "empty");
      network.status = troubled;
      await expect(desk.card("Clusters").getByRole("status")).toHaveText("2 clusters, 3 collectors, 1 up. archive/one is full, archive/a-collector-with-a-name-that-is-much-longer-than-anybody-would-like-to-see is lost, empty has no collector.", patience);
      await expect(desk.rows("Clusters").filter({ hasText: "stranger" })).toContainText("of another make");
      await expect(desk.rows("Uploaders").filter({ hasText: "field4" })).toContainText("silent");
      await expect(desk.rows("On the way").first()).toContainText("held");
      await expect(desk.rows("Makers")).toHaveCount(1);
      await expect(desk.rows("Newest failures").first()).toContainText("<script>alert(1)</script>.json");
      await look(desk, "troubled");
      network.status = "";
      await expect(desk.page.locator(".freshness")).toContainText("What is shown is how it was.", patience);
      await expect(desk.rows("Clusters")).toHaveCount(3);
      await context.close();
    }
  }
  await network.stop();
  const desk = await Desk.open(await browser.newContext(), server, "#/relay");
  await expect(desk.card("No relay is shown")).toContainText(shows("127.0.0.1:9200").split("\n")[1] ?? "");
  await expect(desk.card("Clusters")).toBeHidden();
  await expect(desk.page.locator(".freshness")).toHaveText("");
  await looksRight(desk.page, "light", "off", info.outputPath("off.png"));
  const { key: less } = await server.makeKey("less", "ANZ", ["users:read"]);
  await desk.page.getByRole("button", { name: "Sign out" }).click();
  await desk.signIn(less);
  await expect(desk.card("Clusters")).toContainText("lacks the scope stats:read");
});
