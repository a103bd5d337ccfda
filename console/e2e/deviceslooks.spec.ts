import { problems } from "./axe.js";
import { Devices } from "./devices.js";
import { expect, test } from "./fixtures.js";

const sizes = { wide: { width: 1280, height: 900 }, narrow: { width: 360, height: 780 } };

for (const colorScheme of ["light", "dark"] as const) {
  test(`the page of devices looks right and is accessible, ${colorScheme}`, async ({ browser, server }, info) => {
    test.setTimeout(180_000);
    for (const [name, viewport] of Object.entries(sizes)) {
      const context = await browser.newContext({ colorScheme, viewport });
      const devices = await Devices.open(context, server);
      const { page } = devices;
      const look = async (what: string): Promise<void> => {
        await page.screenshot({ path: info.outputPath(`${colorScheme}-${name}-${what}.png`), fullPage: true });
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        expect(overflow, `${what}, ${name} scrolls sideways`).toBeLessThanOrEqual(0);
        const cut = await page.locator(".card, .bar").evaluateAll((all) => all.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent.slice(0, 60)));
        expect(cut, `${what}, ${name}: what does not fit`).toEqual([]);
        expect(await problems(page, colorScheme), `${what}, ${name}`).toEqual([]);
      };
      await expect(page.locator("#sign-in")).toBeVisible();
      await look("first");
      await devices.device("d").getByLabel("Lon").fill("x");
      await devices.press("d", "Connect");
      await devices.signIn(server.key);
      for (const id of ["a", "b", "c"]) await devices.connect(id);
      await expect(devices.state("a")).toHaveText("Matched with c.");
      await devices.say("a", "ciao");
      await devices.say("c", "a longer text with averylongwordthatdoesnotfitintothelogofasmalldevicewhateveritswidthmaybe");
      await expect(devices.log("a").last()).toContainText("a longer text");
      await devices.traffic.getByLabel("Grouped by").selectOption("device");
      await expect(devices.traffic.locator(".legend").first()).toContainText("a");
      await devices.windows();
      await expect.poll(() => devices.events().then((rows) => rows.some((row) => row[0] === "bytesSent"))).toBe(true);
      await look("talking");
      await expect(devices.traffic.locator(".legend").first()).toHaveText(/^now/);
      if (name === "narrow") {
        await expect(devices.journal.locator(".rows-note")).toHaveText(/^\d+ events: scroll in the list to see them all\.$/);
        await expect(devices.journal.locator("td:empty").filter({ visible: true })).toHaveCount(0);
      }
      await context.close();
    }
  });
}

test("the page of devices can be used with the keyboard, and nothing moves while numbers come", async ({ context, server }) => {
  const page = await context.newPage();
  await page.addInitScript(() => {
    const holder = window as unknown as { shifts: string[] };
    holder.shifts = [];
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries() as (PerformanceEntry & { value: number; hadRecentInput: boolean; sources: { node?: Node }[] })[]) {
        if (entry.value < 0.001 || entry.hadRecentInput) continue;
        holder.shifts.push(`${entry.value.toFixed(4)} ${entry.sources.map(({ node }) => node?.textContent?.slice(0, 40) ?? "?").join(" ")}`);
      }
    }).observe({ type: "layout-shift", buffered: true });
  });
  await page.goto(`${server.origin}/devices`);
  const devices = new Devices(page);
  await devices.device("a").getByLabel("ID").focus();
  await page.keyboard.press("Enter");
  await expect(devices.log("a").first()).toContainText("Connected and handled by");
  await devices.device("c").getByLabel("Lon").focus();
  await page.keyboard.press("Enter");
  await expect(devices.state("a")).toHaveText("Matched with c.");
  await devices.device("a").getByRole("textbox", { name: "Text" }).focus();
  await page.keyboard.type("ciao");
  await page.keyboard.press("Enter");
  await expect(devices.log("c").last()).toHaveText("device a says: ciao");
  expect(await page.evaluate(() => (window as unknown as { shifts: string[] }).shifts)).toEqual([]);
});
