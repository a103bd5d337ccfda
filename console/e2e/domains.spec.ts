import type { Locator, Page } from "@playwright/test";
import { problems } from "./axe.js";
import { connected, Desk } from "./desk.js";
import type { Described } from "./federation.js";
import { expect, test } from "./fixtures.js";

/** Of these the first two run in most tests; whatever is behind the others is away. */
const network: Described = {
  domains: ["domain-01", "domain-02", "perth", "oslo"],
  links: [["domain-01", "domain-02", 1], ["domain-02", "perth", 2], ["domain-01", "perth", 5], ["oslo", "perth", 1]],
};

function row(desk: Desk, card: string, name: string): Locator {
  return desk.rows(card).filter({ has: desk.page.locator("td.first").getByText(name, { exact: true }) });
}

function road(desk: Desk, link: string): Locator {
  return desk.page.locator(`.network-picture .road[data-link="${link}"]`);
}

function picture(desk: Desk): Locator {
  return desk.page.getByRole("img", { name: /^Picture of/ });
}

test("the network is shown as a picture and in tables, with how links are and what waits", async ({ context, federate }) => {
  const { servers } = await federate(network, 2);
  const [server, other] = servers;
  if (server === undefined || other === undefined) throw new Error("two domains run");
  const desk = await Desk.open(context, server, "#/domains");
  const { page } = desk;
  await expect(row(desk, "Neighbours", "domain-02").locator("td").nth(2)).toContainText("up", { timeout: 20_000 });
  await expect(row(desk, "Neighbours", "domain-02").locator("td").nth(3)).toContainText("up", { timeout: 20_000 });
  await expect(row(desk, "Neighbours", "domain-02")).toContainText(/\d [mµ]s/);
  await expect(row(desk, "Neighbours", "perth")).toContainText("perth is not connected to this domain");
  await expect(row(desk, "Neighbours", "perth")).toContainText("nothing");
  await expect(row(desk, "Ways", "perth")).toContainText("domain-01 → domain-02 → perth");
  await expect(row(desk, "Ways", "oslo").locator("td")).toContainText(["oslo", "domain-02", "domain-01 → domain-02 → perth → oslo", "4"]);
  await expect(row(desk, "Ways", "domain-02")).toContainText("directly");

  await expect(page.locator(".network-picture .node")).toHaveText([/^domain-01this domain/, /^domain-02/, /^perth/, /^oslo/]);
  await expect(road(desk, "domain-01 domain-02")).toHaveClass("road up");
  await expect(road(desk, "domain-01 perth")).toHaveClass("road down");
  await expect(road(desk, "oslo perth")).toHaveClass("road foreign");
  const dashes = await Promise.all(["domain-01 domain-02", "domain-01 perth"].map((link) => road(desk, link).evaluate((one) => getComputedStyle(one).strokeDasharray)));
  expect(dashes[0]).toBe("none");
  expect(dashes[1]).not.toBe("none");
  await expect(page.locator(".road-label.up")).toHaveText("up, cost 1");
  await expect(page.locator(".road-label.down")).toHaveText("down, cost 5");
  await expect(picture(desk)).toHaveAccessibleName(/4 domains and 4 links\. This domain is domain-01\. Its links: domain-02 up; perth down\./);

  // The other one goes: what is for it waits, and the page follows by itself.
  await other.kill();
  await expect(road(desk, "domain-01 domain-02")).toHaveClass("road down", { timeout: 30_000 });
  for (let n = 0; n < 3; n++) await server.call("POST", "/messages", { from: "ANZ-1", to: "ANZ-1007", content: `message ${n}` });
  await expect(row(desk, "Neighbours", "domain-02")).toContainText("3 messages", { timeout: 15_000 });
  await expect(row(desk, "Neighbours", "domain-02").locator("time").last()).toHaveText(/just now|ago/);
  await expect(page.locator(".road-label .waiting")).toHaveText("3 waiting");
  await expect(picture(desk)).toHaveAccessibleName(/domain-02 down, 3 waiting/);
  await page.getByText("All links as a table").click();
  const links = page.getByRole("table", { name: /^Links of the network/ });
  await expect(links.getByRole("row")).toHaveCount(5);
  await expect(links.getByRole("row").nth(1)).toHaveText(/domain-01.*domain-02.*1.*down.*3 messages/);
  await expect(links.getByRole("row").nth(3)).toHaveText(/known to these two/);
  await other.resume();
  await expect(road(desk, "domain-01 domain-02")).toHaveClass("road up", { timeout: 40_000 });
  await expect(row(desk, "Neighbours", "domain-02")).toContainText("nothing", { timeout: 15_000 });
  await expect(links.getByRole("row").nth(1)).toHaveText(/up.*nothing/);
});

test("a user is traced: where it lives, by which domains, and what becomes of a message", async ({ context, federate }) => {
  const { servers } = await federate(network, 2);
  const [server] = servers;
  if (server === undefined) throw new Error("two domains run");
  const desk = await Desk.open(context, server, "#/domains");
  const { page } = desk;
  const trace = desk.card("Trace a user");
  const field = trace.getByLabel("User ID");
  await expect(road(desk, "domain-01 domain-02")).toHaveClass("road up", { timeout: 20_000 });
  await field.fill("2007");
  await field.press("Enter");
  await expect(trace.getByRole("status")).toContainText("ANZ-2007 lives in perth.");
  await expect(trace.getByRole("status")).toContainText("goes on its way to domain-02 at once");
  await expect(trace.getByRole("listitem")).toHaveText(["domain-01", "domain-02", "perth"]);
  await expect(page.locator(".network-picture .traced")).toHaveCount(2);
  await expect(page).toHaveURL(/#\/domains\?user=ANZ-2007$/);
  await expect(field).toBeFocused(); // the page was not opened anew
  await page.reload();
  await expect(trace.getByRole("status")).toContainText("ANZ-2007 lives in perth.");

  for (const [user, says] of [["ANZ-7", "lives here, in domain-01"], ["nonsense", "is no user ID"], ["NOPE-7", "UNKNOWN_APP"]] as const) {
    await field.fill(user);
    await trace.getByRole("button", { name: "Trace" }).click();
    await expect(trace.getByRole("status")).toContainText(says);
    await expect(page.locator(".network-picture .traced")).toHaveCount(0);
    await expect(trace.getByRole("list")).toBeHidden();
  }
  await expect(page.locator(".page-head .freshness")).toHaveText("");
});

test("a change of the network is followed, and what the description suffers from is said", async ({ context, federate }) => {
  const federation = await federate({ domains: network.domains.slice(0, 2), links: network.links.slice(0, 1) }, 1);
  const [server] = federation.servers;
  if (server === undefined) throw new Error("one domain runs");
  const desk = await Desk.open(context, server, "#/domains");
  const about = desk.card("Description");
  await expect(about).toContainText(federation.meta.url);
  await expect(about).toContainText("told at once");
  await expect(desk.page.locator(".network-picture .node")).toHaveCount(2);
  const version = await about.locator("dd").nth(1).textContent();
  await federation.describe({ domains: network.domains.slice(0, 2), links: [["domain-01", "domain-02", 7]] });
  await expect(desk.page.locator(".road-label")).toHaveText("down, cost 7", { timeout: 20_000 });
  await expect(about.locator("dd").nth(1)).not.toHaveText(version ?? "");
  await expect(about).toContainText("none"); // no trouble
  await federation.meta.kill();
  await expect(about).toContainText("(unreachable)", { timeout: 20_000 });
  await expect(about).toContainText("not told");
  await expect(desk.page.locator(".network-picture .node")).toHaveCount(2); // the last good one stays
  await federation.meta.resume();
  await expect(about).toContainText("told at once", { timeout: 60_000 });
  await expect(about).not.toContainText("(unreachable)");
});

test("where there are no other domains the page says what they are and how to set them up", async ({ context, server }) => {
  const desk = await Desk.open(context, server, "#/domains", server.key);
  const none = desk.card("No other domains");
  await expect(none).toContainText("A domain is a site");
  await expect(none).toContainText("switchboard meta --config network.yaml");
  await expect(picture(desk)).toHaveCount(0);
  expect(await problems(desk.page, "light")).toEqual([]);
});

test("an app's key is told that the network is for admin keys, and asks for nothing", async ({ context, server }) => {
  const { key } = await server.makeKey("reader", "ANZ", ["stats:read"]);
  const asked: string[] = [];
  context.on("request", (request) => asked.push(request.url()));
  const desk = await Desk.open(context, server, "#/domains", key);
  await expect(desk.card("Network")).toContainText("admin keys only");
  expect(asked.filter((url) => url.includes("/v1/domains"))).toEqual([]);
});

test("the page says when there is no description yet, and is there as soon as there is one", async ({ context, boot }) => {
  const server = await boot("apps:\n  - {appName: ANZ, appId: app-id-343, authEnabled: false}\n");
  const source = { from: "http://127.0.0.1:1", following: false, stored: false, trouble: "cannot connect", kind: "unreachable", troubledAt: new Date().toISOString() };
  const page = await context.newPage();
  let answer: object = { domain: "a", version: 0, source, neighbours: [], domains: [], links: [] };
  await page.route("**/v1/domains", (route) => route.fulfill({ json: answer }));
  await page.goto(`${server.origin}/operator#/domains`);
  const desk = new Desk(page);
  await desk.signIn((await server.makeKey("operator")).key);
  await expect(desk.card("Network")).toContainText("There is no description of the network yet");
  await expect(desk.card("Description")).toContainText("Cannot connect. (unreachable) It began");
  answer = { domain: "a", version: 0, source: { from: "/etc/network.yaml", following: false, stored: false, since: new Date().toISOString() }, neighbours: [], domains: [], links: [] };
  await expect(desk.card("Network").locator(".node")).toHaveText(/^athis domain/, { timeout: 15_000 });
  await expect(desk.card("Description")).toContainText("read at the start, and on SIGHUP");
  await expect(desk.card("Ways")).toContainText("There are no other domains.");
});

/** An answer of a network that is as large as one may be drawn, or larger. */
function large(n: number): object {
  const name = (i: number): string => `site_${String(i).padStart(4, "0")}`;
  const since = new Date(Date.now() - 3_600_000).toISOString();
  const parent = (i: number): number => Math.floor((i - 1) / 3);
  const path = (i: number): string[] => (i === 0 ? [name(0)] : [...path(parent(i)), name(i)]);
  const others = Array.from({ length: n - 1 }, (_, i) => i + 1);
  const states = [
    { receiving: { state: "up", since }, sending: { state: "up", since, node: "node-2" }, roundTripMs: 41.3, waiting: { messages: 0, bytes: 0 } },
    { receiving: { state: "waiting", since, why: "the neighbour routes by a newer description of the network than this domain has" }, sending: { state: "up", since }, roundTripMs: 3, waiting: { messages: 0, bytes: 0 } },
    { receiving: { state: "up", since }, sending: { state: "down", why: `${name(3)} is not connected to this domain` }, roundTripMs: 120, waiting: { messages: 123_456, bytes: 9e9, oldest: since } },
  ];
  return {
    domain: name(0),
    version: 1_764_147_600_000,
    source: { from: "https://meta.example:9000", following: true, stored: false, since, confirmed: since },
    neighbours: [1, 2, 3].map((i) => ({ domain: name(i), cost: i, ...states[i - 1] })),
    domains: others.map((i) => ({ domain: name(i), urls: [`wss://${name(i)}.example.org:8088`], next: path(i)[1], path: path(i), cost: path(i).length })),
    links: others.map((i) => ({ n1: name(parent(i)), n2: name(i), cost: i <= 3 ? i : 1 })),
  };
}

async function fits(page: Page, what: string): Promise<void> {
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(overflow, `${what} scrolls sideways`).toBeLessThanOrEqual(0);
  const cut = await page.locator(".card").evaluateAll((all) => all.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent.slice(0, 60)));
  expect(cut, `${what}: what does not fit`).toEqual([]);
}

test("a thousand domains are drawn as far as one can see, and listed in full", async ({ context, server }) => {
  const page = await context.newPage();
  await page.route("**/v1/domains", (route) => route.fulfill({ json: large(1000) }));
  await page.goto(`${server.origin}/operator#/domains`);
  const desk = new Desk(page);
  await desk.signIn(server.key);
  await expect(desk.card("Network")).toContainText("The picture has the nearest 60 of 1,000 domains");
  await expect(page.locator(".network-picture .node")).toHaveCount(60);
  await expect(desk.rows("Ways")).toHaveCount(999);
  await page.getByText("All links as a table").click();
  await expect(page.getByText("And 499 links between others.")).toBeVisible();
});

/** At these sizes axe looks: between them the same parts are only arranged otherwise. */
const looked = new Set(["wide", "least"]);

for (const colorScheme of ["light", "dark"] as const) {
  test(`the page of domains looks right and is accessible from 320 pixels on, ${colorScheme}`, async ({ browser, federate }, info) => {
    test.setTimeout(240_000);
    const { servers } = await federate(network, 2);
    const [server] = servers;
    if (server === undefined) throw new Error("two domains run");
    const client = await connected(server, "ANZ-1");
    for (let n = 0; n < 12; n++) await server.call("POST", "/messages", { from: "ANZ-1", to: "ANZ-1007", content: n });
    const { key } = await server.makeKey("on call");
    for (const [name, viewport] of Object.entries({ wide: { width: 1440, height: 900 }, middle: { width: 900, height: 800 }, narrow: { width: 390, height: 844 }, least: { width: 320, height: 640 } })) {
      if (colorScheme === "dark" && !looked.has(name)) continue; // all but the colours is as in the light
      const context = await browser.newContext({ colorScheme, viewport, reducedMotion: name === "wide" ? "reduce" : "no-preference" });
      const page = await context.newPage();
      await page.goto(`${server.origin}/operator#/domains?user=ANZ-2007`);
      const desk = new Desk(page);
      await desk.signIn(key);
      await expect(road(desk, "domain-01 domain-02")).toHaveClass("road up", { timeout: 20_000 });
      await expect(page.locator(".network-picture .traced")).toHaveCount(2);
      await page.getByText("All links as a table").click();
      await page.evaluate(() => scrollTo(0, 0));
      await page.screenshot({ path: info.outputPath(`${colorScheme}-${name}-domains.png`), fullPage: true });
      await fits(page, name);
      if (looked.has(name)) expect(await problems(page, colorScheme), name).toEqual([]);
      if (name === "wide") expect(await road(desk, "domain-01 domain-02").evaluate((one) => getComputedStyle(one).transitionDuration)).toBe("0s");

      // Every state there is, in a network that fills the picture.
      await page.route("**/v1/domains", (route) => route.fulfill({ json: large(22) }));
      await page.route("**/v1/domains/trace*", (route) => route.fulfill({ json: { userId: "ANZ-9", domain: "site_0021", local: false, version: 1, path: ["site_0000", "site_0002", "site_0006", "site_0020"], next: "site_0002", cost: 4, sending: { state: "up" }, waiting: { messages: 0, bytes: 0 } } }));
      await page.reload(); // what is asked for next comes only in a while
      await expect(page.locator(".network-picture .node")).toHaveCount(viewport.width < 700 ? 14 : 22);
      await page.getByText("All links as a table").click();
      await page.evaluate(() => scrollTo(0, 0));
      await page.screenshot({ path: info.outputPath(`${colorScheme}-${name}-many.png`), fullPage: true });
      await fits(page, `${name}, many`);
      if (looked.has(name)) expect(await problems(page, colorScheme), `${name}, many`).toEqual([]);
      await context.close();
    }
    client.close();
  });
}

test("everything on the page of domains can be done with the keyboard", async ({ context, federate }) => {
  const { servers } = await federate({ domains: network.domains.slice(0, 2), links: network.links.slice(0, 1) }, 1);
  const [server] = servers;
  if (server === undefined) throw new Error("one domain runs");
  const desk = await Desk.open(context, server, "#/users");
  const { page } = desk;
  const focused = (): Promise<string> => page.evaluate(() => document.activeElement?.textContent ?? "");
  const tabTo = async (wanted: RegExp): Promise<void> => {
    for (let n = 0; n < 40 && !wanted.test(await focused()); n++) await page.keyboard.press("Tab");
    expect(await focused()).toMatch(wanted);
  };
  await tabTo(/^Domains$/);
  await page.keyboard.press("Enter");
  await expect(desk.title).toBeFocused();
  await expect(picture(desk)).toBeVisible();
  await tabTo(/^All links as a table$/);
  await page.keyboard.press("Enter");
  await expect(page.getByRole("table", { name: /^Links of the network/ })).toBeVisible();
  await page.keyboard.press("Tab");
  await page.keyboard.type("ANZ-1007");
  await page.keyboard.press("Enter");
  await expect(desk.card("Trace a user").getByRole("status")).toContainText("waits here until domain-02 is connected");
});

test("a hostile answer about domains is shown as the text that it is", async ({ context, server }) => {
  const markup = `<img src=x onerror="window.hit=1"><b>bold</b>`;
  const time = new Date().toISOString();
  const state = { state: markup, since: markup, why: markup, url: `javascript:window.hit=1//${markup}`, node: markup };
  const page = await context.newPage();
  await page.route("**/v1/domains", (route) =>
    route.fulfill({
      json: {
        domain: "a",
        version: markup,
        source: { from: markup, following: true, stored: true, since: time, trouble: markup, kind: markup, troubledAt: markup },
        neighbours: [{ domain: markup, cost: 1, receiving: state, sending: state, waiting: { messages: 1, bytes: 1, oldest: markup } }],
        domains: [{ domain: markup, urls: [`javascript:window.hit=1//${markup}`], next: markup, path: ["a", markup], cost: 1 }],
        links: [{ n1: "a", n2: markup, cost: 1 }, { n1: "a", n2: "nobody", cost: 1 }],
      },
    }),
  );
  await page.route("**/v1/domains/trace*", (route) => route.fulfill({ json: { userId: markup, domain: markup, local: false, version: 1, path: ["a", markup], next: markup, cost: 1, sending: state } }));
  await page.goto(`${server.origin}/operator#/domains?user=${encodeURIComponent(markup)}`);
  const desk = new Desk(page);
  await desk.signIn(server.key);
  await expect(desk.rows("Neighbours")).toContainText("<img src=x");
  await expect(desk.card("Trace a user").getByRole("status")).toContainText("<img src=x");
  expect(await page.locator("#page :is(img, script, iframe, style, object, b, a)").count()).toBe(0);
  expect(await page.evaluate(() => "hit" in window)).toBe(false);
});
