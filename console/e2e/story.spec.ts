import { expect, test } from "./fixtures.js";
import { ann, ben, Tab } from "./tab.js";

test("two users talk, one leaves, the server is killed, and nothing is lost", async ({ context, server }) => {
  const one = await Tab.as("Ann", context, server.origin);
  const two = await Tab.as("Ben", context, server.origin);

  await test.step("they talk both ways, and see that it has arrived", async () => {
    await one.send("Hello Ben");
    await expect(two.received).toHaveText(["Hello Ben"]);
    await expect(one.fates).toHaveText(["confirmed"]);
    await two.send("Hello Ann");
    await expect(one.received).toHaveText(["Hello Ann"]);
    await expect(two.fates).toHaveText(["confirmed"]);
    await expect(two.page.locator(".message.in .who")).toContainText(ann);
  });

  const missed = ["first", "second", "third"];
  await test.step("one leaves; what is sent to him waits on disk", async () => {
    await two.page.close();
    await expect(one.notices.last()).toHaveText(`${ben} disconnected`);
    for (const text of missed) await one.send(text);
    await expect(one.fates).toHaveText(["confirmed", "stored", "stored", "stored"]);
  });

  await test.step("the server is killed and started again; the page comes back by itself", async () => {
    await server.kill();
    await expect(one.page.locator("body")).toHaveAttribute("data-state", /waiting|connecting/);
    await expect(one.page.locator("#pill")).toHaveText("Reconnecting…");
    await expect(one.page.getByRole("button", { name: "Send" })).toBeDisabled();
    await server.resume();
    await one.online();
  });

  await test.step("the other comes back and fetches: all are there, in order", async () => {
    const again = await Tab.as("Ben", context, server.origin);
    await expect(await again.fetch(2)).toHaveText("Fetched. 1 left in the mailbox.");
    await expect(again.received).toHaveText(missed.slice(0, 2));
    await expect(await again.fetch(100)).toHaveText("Fetched. Nothing is left.");
    await expect(again.received).toHaveText(missed);
    await expect(one.fates).toHaveText(["confirmed", "confirmed", "confirmed", "confirmed"]);
  });
});

test("what was missed comes by itself with push, before what is new", async ({ context, server }) => {
  const one = await Tab.as("Ann", context, server.origin);
  for (const text of ["old 1", "old 2"]) await one.send(text);
  await expect(one.fates).toHaveText(["stored", "stored"]);
  const two = await Tab.open(context, server.origin);
  await two.page.getByLabel("Push").check();
  await two.page.getByRole("button", { name: /^Ben/ }).click();
  await two.online();
  await one.send("new");
  await expect(two.received).toHaveText(["old 1", "old 2", "new"]);
});

test("the page reconnects when the server is restarted in good order", async ({ context, server }) => {
  const one = await Tab.as("Ann", context, server.origin);
  const two = await Tab.as("Ben", context, server.origin);
  await server.stop();
  await expect(one.page.locator("#pill")).toHaveText("Reconnecting…");
  await expect(one.status).toContainText("Trying again in");
  await server.resume();
  await one.online();
  await two.online();
  await one.send("still here?");
  await expect(two.received).toHaveText(["still here?"]);
  await expect(one.fates).toHaveText(["confirmed"]);
});

test("a confirmation that came meanwhile is said to wait, and is there once it is fetched", async ({ context, server }) => {
  const one = await Tab.as("Ann", context, server.origin);
  await one.send("for later");
  await expect(one.fates).toHaveText(["stored"]);
  await one.page.getByRole("button", { name: "Sign out" }).click();
  const two = await Tab.as("Ben", context, server.origin);
  await two.fetch(10);
  await expect(two.received).toHaveText(["for later"]);
  await one.page.bringToFront();
  await one.page.getByRole("button", { name: "Sign in" }).click();
  await one.online();
  await expect(one.fates).toHaveText(["stored"]);
  await expect(one.page.locator("#fetched")).toContainText("1 of your messages is not confirmed: confirmations wait to be fetched.");
  await one.fetch(10);
  await expect(one.fates).toHaveText(["confirmed"]);
});

test("a group message reaches everybody once and is not confirmed", async ({ context, server }) => {
  const one = await Tab.as("Ann", context, server.origin);
  const two = await Tab.as("Ben", context, server.origin);
  const three = await Tab.user("ANZ-7", context, server.origin);
  await one.choose("Group");
  await expect(one.page.getByLabel("Confirm", { exact: true })).toBeDisabled();
  await one.send("to all of you", `${ben}, ANZ-7, ${ben}`);
  await expect(two.received).toHaveText(["to all of you"]);
  await expect(three.received).toHaveText(["to all of you"]);
  await expect(one.fates).toHaveText(["stored"]);
  await expect(one.sent.locator(".who")).toContainText(`Group ${ben}, ANZ-7`);
});

test("FAST messages and references of one's own", async ({ context, server }) => {
  const one = await Tab.as("Ann", context, server.origin);
  const two = await Tab.as("Ben", context, server.origin);
  await expect(one.reference).not.toHaveValue("");
  await one.choose("Fast");
  await expect(one.page.getByLabel("TTL in s")).toBeDisabled();
  await one.reference.fill("my own word");
  await one.send("quick");
  await expect(two.received).toHaveText(["quick"]);
  await expect(two.page.locator(".message.in code")).toHaveText("my own word");
  await expect(one.fates).toHaveText(["confirmed"]);
  await expect(one.page.locator(".tag")).toHaveText("FAST");
  await expect(one.reference).toHaveValue("my own word");

  await one.reference.fill("");
  await one.page.getByLabel("Confirm", { exact: true }).uncheck();
  await one.send("no reference");
  await expect(two.received).toHaveText(["quick", "no reference"]);
  await expect(two.page.locator(".message.in code")).toHaveCount(1);
  await expect(one.fates.last()).toHaveText("sent");
});

test("a message may be given a time to live", async ({ context, server }) => {
  const one = await Tab.as("Ann", context, server.origin);
  await one.page.getByLabel("TTL in s").fill("3600");
  await one.send("for an hour");
  await expect(one.fates).toHaveText(["stored"]);
  await one.page.getByLabel("Filter frames").fill('"ttl":3600');
  await expect(one.frames).toHaveCount(1);
});

test("content as JSON is checked while it is typed, and travels byte for byte", async ({ context, server }) => {
  const one = await Tab.as("Ann", context, server.origin);
  const two = await Tab.as("Ben", context, server.origin);
  await one.choose("JSON");
  await one.content.fill('{"n": 12345678901234567890');
  await expect(one.page.locator("#send-note")).toContainText("Not JSON yet");
  await expect(one.page.getByRole("button", { name: "Send" })).toBeDisabled();
  await one.content.press("End");
  await one.content.pressSequentially(', "half": 0.50}');
  await expect(one.page.locator("#send-note")).not.toContainText("Not JSON");
  await one.content.press("Control+Enter");
  await expect(two.received).toHaveText('{\n  "n": 12345678901234567890,\n  "half": 0.50\n}', { useInnerText: true });
});
