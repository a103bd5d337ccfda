import { expect, test } from "./fixtures.js";
import { Server } from "./server.js";
import { ann, ben, Tab } from "./tab.js";

test("a second tab is one click away, signed in as the other user", async ({ context, server }) => {
  const one = await Tab.as("Ann", context, server.origin);
  const opened = context.waitForEvent("page");
  await one.page.getByRole("link", { name: "Ben in a second tab" }).click();
  const two = new Tab(await opened);
  await two.online();
  await expect(two.page.locator("#pill")).toHaveText(ben);
  await expect(two.to).toHaveValue(ann);
  expect(new URL(two.page.url()).hash).toBe("");
  await two.send("hello");
  await expect(one.received).toHaveText(["hello"]);
});

test("a server with apps of its own offers no demo users and fills nothing in", async ({ context }) => {
  const server = await Server.start("apps: [{appName: SHOP, appId: shop-1, authEnabled: false}]\n");
  try {
    const { page } = await Tab.open(context, `${server.origin}/#ben`);
    await expect(page.getByLabel("Address")).toBeVisible();
    for (const label of ["App ID", "User ID", "Token"]) await expect(page.getByLabel(label)).toHaveValue("");
    await expect(page.getByLabel("To", { exact: true })).toHaveValue("");
    await expect(page.getByText("Demo users")).toBeHidden();
    await page.getByLabel("App ID").fill("shop-1");
    await page.getByLabel("User ID").fill("SHOP-1");
    await page.getByRole("button", { name: "Sign in" }).click();
    await new Tab(page).online();
  } finally {
    await server.remove();
  }
});

test("what happens next is said: what Fetch brings, when sending is paused, what a time is", async ({ context, server }) => {
  const tab = await Tab.open(context, server.origin);
  await expect(tab.page.locator("#send-note")).toHaveText("Sign in to send.");
  await tab.page.getByRole("button", { name: /^Ann/ }).click();
  await tab.online();
  await expect(tab.page.locator("#fetched")).toHaveText("Fetch brings what you missed.");
  await tab.send("to myself", ann);
  await expect(tab.page.locator(".message.in time")).toHaveAttribute("title", /arrived here/);
  await server.kill();
  await expect(tab.page.locator("#send-note")).toHaveText("Reconnecting: sending is paused.");
  await expect(tab.page.getByRole("button", { name: "Send" })).toBeDisabled();
  await tab.page.getByRole("button", { name: "Sign out" }).click();
  await expect(tab.page.locator("#send-note")).toHaveText("Sign in to send.");
});

test("how to begin is said as things are", async ({ context, server }) => {
  const { page } = await Tab.open(context, server.origin);
  const empty = page.locator("#messages-empty");
  await expect(empty).toContainText("Sign in, open a second tab");
  await page.getByRole("button", { name: /^Ann/ }).click();
  await new Tab(page).online();
  await expect(empty).toHaveText("No messages yet. Open a second tab as another user, and say hello.");
});

test("why a text is not JSON can be read to its end", async ({ context, server }) => {
  const { page } = await Tab.open(context, server.origin);
  for (const width of [320, 1000, 1440]) {
    await page.setViewportSize({ width, height: 800 });
    if (width === 320) await page.getByRole("button", { name: "Messages" }).click();
    await page.getByRole("radio", { name: "JSON" }).check();
    await page.getByRole("textbox", { name: "Content" }).fill('{"temperature": 21.5,}');
    const note = page.locator("#send-note");
    await expect(note).toContainText("line 1");
    expect(await note.evaluate((box) => box.scrollWidth <= box.clientWidth && box.scrollHeight <= box.clientHeight)).toBe(true);
  }
});

test("the next attempt is never long in coming", async ({ page, server }) => {
  // The page notes by itself what it says: the shortest waits may be over before anybody else looks.
  await page.addInitScript(() => {
    Math.random = () => 0.9999;
    const holder = window as unknown as { waits: string[] };
    holder.waits = [];
    let said = "";
    new MutationObserver(() => {
      const says = document.querySelector("#status")?.textContent ?? "";
      const wait = says === said ? undefined : /Trying again in (\S+) s/.exec(says)?.[1];
      said = says;
      if (wait !== undefined) holder.waits.push(wait);
    }).observe(document, { subtree: true, childList: true, characterData: true });
  });
  const waits = (): Promise<string[]> => page.evaluate(() => (window as unknown as { waits: string[] }).waits);
  await page.routeWebSocket(/\/ws$/, (socket) => socket.close({ code: 1012 }));
  await page.goto(server.origin);
  await page.getByRole("button", { name: /^Ann/ }).click();
  const expected = ["0.5", "1.0", "2.0", "4.0", "8.0", "10.0", "10.0"];
  for (let n = 1; n <= expected.length; n++) {
    await expect.poll(async () => (await waits()).length).toBeGreaterThanOrEqual(n);
    await page.getByRole("button", { name: "Try now" }).click();
  }
  expect((await waits()).slice(0, expected.length)).toEqual(expected);
});

test("a tab remembers what was typed, and each its own", async ({ context, server }) => {
  const one = await Tab.open(context, server.origin);
  await expect(one.page.getByLabel("Address")).toHaveValue(`${server.origin.replace("http", "ws")}/ws`);
  await one.page.getByLabel("User ID").fill("ANZ-5");
  await one.page.getByLabel("Push").check();
  await one.page.getByLabel("Acknowledge").uncheck();
  await one.to.fill("ANZ-6");
  await one.choose("JSON");
  await one.content.fill("{");
  await one.page.reload();
  await expect(one.page.getByLabel("User ID")).toHaveValue("ANZ-5");
  await expect(one.page.getByLabel("Push")).toBeChecked();
  await expect(one.page.getByLabel("Acknowledge")).not.toBeChecked();
  await expect(one.to).toHaveValue("ANZ-6");
  await expect(one.page.getByRole("radio", { name: "JSON" })).toBeChecked();
  await expect(one.page.locator("#send-note")).toContainText("Not JSON yet");
  const two = await Tab.open(context, server.origin);
  await expect(two.page.getByLabel("User ID")).toHaveValue(ann);
});

test("the frames pane shows all, filters, pauses, clears, and hides the token", async ({ context, server }) => {
  const tab = await Tab.as("Ann", context, server.origin);
  await expect(tab.frames.first()).toContainText("AUTH_CLIENT");
  await expect(tab.frames.first()).toContainText('"token":"•••"');
  await expect(tab.page.locator("#frames")).not.toContainText("token-12345");
  await tab.send("one", ann);
  await expect(tab.fates).toHaveText(["confirmed"]);
  const stored = tab.frames.filter({ hasText: "MESSAGE_STORED" }).locator(".preview");
  await expect(stored).toHaveText(/^\{"reference":"[^"{}]+"\}$/);

  await tab.page.getByLabel("Filter frames").fill("message_confirmation");
  await expect(tab.frames).toHaveCount(1);
  await tab.page.getByLabel("Filter frames").fill("");
  await tab.page.getByLabel("Direction").selectOption("Out");
  await expect(tab.frames.first()).toContainText("AUTH_CLIENT");
  await expect(tab.frames.filter({ hasText: "MESSAGE_CONFIRMATION" })).toHaveCount(0);
  await tab.page.getByLabel("Direction").selectOption("In and out");

  const before = await tab.frames.count();
  await tab.page.getByRole("button", { name: "Pause" }).click();
  await tab.send("two", ann);
  await expect(tab.fates).toHaveText(["confirmed", "confirmed"]);
  await expect(tab.page.locator("#frames-count")).toContainText("held");
  expect(await tab.frames.count()).toBe(before);
  await tab.page.getByRole("button", { name: "Pause" }).click();
  await expect(tab.frames).not.toHaveCount(before);

  await tab.page.locator("#frames").getByRole("button", { name: "Clear" }).click();
  await expect(tab.frames).toHaveCount(0);
});

test("both lists are bounded, and the latest stay", async ({ page, server }) => {
  await page.routeWebSocket(/\/ws$/, (socket) => {
    socket.onMessage(() => {
      socket.send(JSON.stringify({ type: "AUTH_CLIENT_REPLY", data: { isAuthenticated: true } }));
      for (let n = 1; n <= 1200; n++) {
        socket.send(JSON.stringify({ type: "MESSAGE", data: { from: ben, content: `message ${n}` } }));
      }
    });
  });
  const tab = new Tab(page);
  await page.goto(server.origin);
  await page.getByRole("button", { name: /^Ann/ }).click();
  await expect(tab.received.last()).toHaveText("message 1200");
  await expect(tab.received).toHaveCount(500);
  await expect(tab.page.locator(".frames li")).toHaveCount(500);
  await expect(tab.received.last()).toBeInViewport();
});

test("the list stays where the reader is, and offers the latest", async ({ context, server }) => {
  const one = await Tab.as("Ann", context, server.origin);
  const two = await Tab.as("Ben", context, server.origin);
  for (let n = 0; n < 25; n++) await one.send(`message ${n}`);
  await expect(two.received).toHaveCount(25);
  await expect(two.received.last()).toBeInViewport();
  for (const size of [{ width: 1000, height: 800 }, { width: 1440, height: 700 }, { width: 1440, height: 900 }]) {
    await two.page.setViewportSize(size);
    await expect(two.received.last()).toBeInViewport({ ratio: 1 });
  }
  await two.received.first().scrollIntoViewIfNeeded();
  await one.send("another");
  await expect(two.received).toHaveCount(26);
  await expect(two.received.first()).toBeInViewport();
  await two.page.getByRole("button", { name: "Latest" }).click();
  await expect(two.received.last()).toBeInViewport();
  await expect(two.page.getByRole("button", { name: "Latest" })).toBeHidden();
});

test("everything can be done with the keyboard", async ({ context, server }) => {
  const two = await Tab.as("Ben", context, server.origin);
  const { page } = await Tab.open(context, server.origin);
  const tab = new Tab(page);
  const focused = async (): Promise<string> => page.evaluate(() => document.activeElement?.getAttribute("name") ?? document.activeElement?.id ?? "");
  const tabTo = async (name: string): Promise<void> => {
    for (let n = 0; n < 40 && (await focused()) !== name; n++) await page.keyboard.press("Tab");
    expect(await focused()).toBe(name);
  };
  await tabTo("userId");
  await page.keyboard.press("Enter"); // submits the form
  await tab.online();
  await tabTo("content");
  await page.keyboard.type("typed");
  await page.keyboard.press("Enter");
  await expect(two.received).toHaveText(["typed"]);
  await tabTo("feature");
  await page.keyboard.press("ArrowRight");
  await expect(page.getByRole("radio", { name: "Fast" })).toBeChecked();

  await page.locator(".frames summary").first().focus();
  await page.keyboard.press("Enter");
  await expect(page.locator(".frames pre")).toContainText('"type": "AUTH_CLIENT"');
  await page.keyboard.press("Enter");
  await expect(page.locator(".frames pre")).toBeHidden();
});

test("nothing moves while messages come and states change", async ({ context, server }) => {
  const one = await Tab.open(context, server.origin);
  await one.page.evaluate(() => {
    const holder = window as unknown as { shifts: string[] };
    holder.shifts = [];
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries() as (PerformanceEntry & { value: number; sources: { node?: Node }[] })[]) {
        if (entry.value < 0.001) continue; // less than anybody sees: a rounding of text
        // Rows move up as others come: that is what the lists are for.
        const moved = entry.sources.filter(({ node }) => !(node?.parentElement ?? document.body).closest(".scroller"));
        if (moved.length === 0) continue;
        const what = moved.map(({ node }) => `${node?.textContent?.slice(0, 40) ?? "?"} in ${node?.parentElement?.className ?? "?"}`).join(" ");
        holder.shifts.push(`${entry.value.toFixed(4)} ${what}`);
      }
    }).observe({ type: "layout-shift", buffered: true });
  });
  await one.page.getByRole("button", { name: /^Ann/ }).click();
  await one.online();
  const two = await Tab.as("Ben", context, server.origin);
  for (let n = 0; n < 20; n++) await two.send(`message ${n}`);
  await expect(one.received).toHaveCount(20);
  await one.send("answer");
  await expect(one.fates).toHaveText(["confirmed"]);
  await one.choose("JSON");
  await one.content.fill("{");
  await server.kill();
  await expect(one.status).toContainText("Trying again");
  expect(await one.page.evaluate(() => (window as unknown as { shifts: string[] }).shifts)).toEqual([]);
});
