import type { Locator } from "@playwright/test";
import { Desk } from "./desk.js";
import { expect, test } from "./fixtures.js";

/** How long a change may take to be seen: a lease, and what a machine under test needs beside it. */
const patience = { timeout: 30_000 };

const member = (desk: Desk, name: string): Locator => desk.rows("Nodes").filter({ hasText: new RegExp(`^${name}\\b`) });

test("a node that freezes, wakes, goes and comes is seen without a reload", async ({ context, nodes }) => {
  test.setTimeout(180_000);
  const [first, second, third] = nodes.servers;
  if (first === undefined || second === undefined || third === undefined) throw new Error("three nodes run");
  const desk = await Desk.open(context, first, "#/cluster");
  const { page } = desk;
  const said = desk.card("Nodes").getByRole("status");
  const stored = desk.card("What is stored");
  await expect(said).toHaveText("3 nodes, all up.", patience);
  await expect(stored).toContainText(/All \d+ streams have all their copies\./, patience);
  await expect(stored).toContainText("Any one node may be stopped now.", patience);
  for (const [i, server] of nodes.servers.entries()) {
    const row = member(desk, `n${i + 1}`);
    await expect(row).toContainText(server.origin.replace("http://", ""));
    await expect(row).toContainText("connector, processor");
    await expect(row.locator(".badge-soft")).toBeVisible({ visible: i === 0 });
    await expect(row.locator("time")).toHaveAttribute("datetime", /^20/);
  }
  await page.evaluate(() => Object.assign(window, { since: "the start" }));

  third.freeze();
  await expect(said).toHaveText("3 nodes, 2 up. n3 is unreachable.", patience);
  await expect(member(desk, "n3").locator(".state").first()).toHaveClass("state bad");
  await expect(stored).toContainText("n3 has been away for");
  await expect(stored).toContainText("Do not stop n1 or n2 now");
  third.thaw();
  await expect(said).toHaveText("3 nodes, all up.", patience);
  await expect(stored).toContainText("Any one node may be stopped now.", patience);

  await second.stop();
  await expect(stored).toContainText(/n2 (is|has been) away/, patience);
  await expect(stored).toContainText("Do not stop n1 or n3 now");
  await second.resume();
  await expect(said).toHaveText("3 nodes, all up.", patience);
  await expect(stored).toContainText("Any one node may be stopped now.", patience);
  expect(await page.evaluate(() => "since" in window)).toBe(true);
});

test("whoever may not see the nodes is told why, and nobody asks for them while the page is hidden", async ({ context, server }) => {
  const desk = await Desk.open(context, server, "#/cluster");
  const { page } = desk;
  await expect(desk.card("Nodes").getByRole("status")).toHaveText(/^One node, .+: up\.$/);
  await expect(desk.card("This node is alone")).toBeVisible();
  await expect(desk.card("What is stored")).toBeHidden();

  let asked = 0;
  await page.route("**/v1/cluster", (route) => {
    asked++;
    return route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify({ code: "BUSY", detail: "not now" }) });
  });
  await expect(page.locator(".freshness")).toContainText("BUSY");
  await expect(desk.rows("Nodes")).toHaveCount(1); // as it was
  await page.evaluate(() => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  const before = await page.evaluate(() => performance.now());
  const settled = asked + 1; // what was about to be asked
  await page.waitForFunction((then) => performance.now() - then > 5_000, before);
  expect(asked).toBeLessThanOrEqual(settled);
  await page.unroute("**/v1/cluster");
  await page.evaluate(() => {
    Reflect.deleteProperty(document, "hidden");
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await expect(page.locator(".freshness")).toHaveText("");

  const { key } = await server.makeKey("less", "ANZ", ["users:read"]);
  await page.getByRole("button", { name: "Sign out" }).click();
  await desk.signIn(key);
  await expect(desk.card("Nodes")).toContainText("lacks the scope stats:read");
});
