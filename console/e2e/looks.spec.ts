import type { BrowserContext } from "@playwright/test";
import { problems } from "./axe.js";
import type { Server } from "./server.js";
import { expect, test } from "./fixtures.js";
import { ann, Tab } from "./tab.js";

const sizes = {
  wide: { width: 1440, height: 900 },
  middle: { width: 1000, height: 800 },
  narrow: { width: 320, height: 640 },
  low: { width: 740, height: 360 },
};

/** At these sizes axe looks: between them the same parts are only arranged otherwise. */
const looked = new Set(["wide", "narrow"]);

/** A page with something of everything on it. */
async function lively(context: BrowserContext, server: Server): Promise<Tab> {
  const one = await Tab.as("Ann", context, server.origin);
  const two = await Tab.as("Ben", context, server.origin);
  await one.send("Good morning Ben, is the station up?");
  await expect(one.fates).toHaveText(["confirmed"]);
  await two.send("It is. Numbers follow.\nGive me a minute.");
  await expect(one.received).toHaveCount(1);
  await two.choose("JSON");
  await two.content.fill('{"temperature": 21.5, "station": {"id": 12345678901234567890, "tags": ["roof", "north"]}}');
  await two.content.press("Control+Enter");
  await expect(one.received).toHaveCount(2);
  await one.choose("Fast");
  await one.send("quick note");
  await one.choose("Reliable");
  await one.send("for later", "ANZ-99");
  await one.send("to nobody", "nobody");
  await expect(one.problems).toHaveCount(1);
  await expect(one.fates).toHaveText(["confirmed", "confirmed", "stored", "failed"]);
  await one.to.fill("ANZ-123224");
  await one.page.locator(".frames summary").nth(3).click();
  await one.content.fill("Half a sen");
  return one;
}

for (const colorScheme of ["light", "dark"] as const) {
  test(`looks right and is accessible, ${colorScheme}`, async ({ browser, server }, info) => {
    test.slow();
    const context = await browser.newContext({ colorScheme });
    const one = await lively(context, server);
    const fresh = await Tab.open(context, server.origin);
    await fresh.page.getByLabel("User ID").fill("bad");
    await fresh.page.getByRole("button", { name: "Sign in" }).click();
    await expect(fresh.status).toContainText("refused");

    for (const [tab, what] of [[fresh, "signed-out"], [one, "online"]] as const) {
      await tab.page.bringToFront();
      for (const [name, size] of Object.entries(sizes)) {
        if (colorScheme === "dark" && !looked.has(name)) continue; // all but the colours is as in the light
        await tab.page.setViewportSize(size);
        const parts = size.width < 760 ? ["Connection", "Messages", "Frames"] : [""];
        for (const part of parts) {
          if (part !== "") await tab.page.getByRole("navigation").getByRole("button", { name: part }).click();
          await tab.page.screenshot({
            path: info.outputPath(`${colorScheme}-${what}-${name}${part === "" ? "" : `-${part.toLowerCase()}`}.png`),
          });
          const overflow = await tab.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
          expect(overflow, `${name} ${part} scrolls sideways`).toBeLessThanOrEqual(0);
          if (looked.has(name)) expect(await problems(tab.page, colorScheme), `${what} ${name} ${part}`).toEqual([]);
        }
      }
    }
    await context.close();
  });
}

test("on a narrow screen one part is shown at a time, and unread messages are counted", async ({ browser, server }) => {
  const context = await browser.newContext({ viewport: sizes.narrow });
  const two = await Tab.as("Ben", context, server.origin);
  const one = await Tab.as("Ann", context, server.origin); // signing in shows the messages
  await expect(one.content).toBeVisible();
  await expect(one.page.getByLabel("User ID")).toBeHidden();
  await one.page.getByRole("button", { name: "Frames" }).click();
  await expect(one.content).toBeHidden();
  await two.send("psst", ann);
  await expect(one.page.getByRole("button", { name: /^Messages/ })).toHaveText("Messages1");
  await one.page.getByRole("button", { name: /^Messages/ }).click();
  await expect(one.received).toHaveText(["psst"]);
  await expect(one.page.getByRole("button", { name: /^Messages/ })).toHaveText("Messages");
  await context.close();
});
