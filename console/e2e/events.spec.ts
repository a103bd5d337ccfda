import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Page } from "@playwright/test";
import { paste } from "./example.js";
import { expect, test } from "./fixtures.js";
import { Line } from "./line.js";
import { Server } from "./server.js";

// Pages that have events in place of a WebSocket, in a real browser, whose
// EventSource comes back by itself.

interface Heard {
  id: string;
  content: number;
}

declare global {
  interface Window {
    heard: Heard[];
    sessions: string[];
    opened: number;
    ended: string[];
    stopped: boolean;
  }
}

/** Opens a bare EventSource: the page only listens, and keeps what it hears. */
async function listen(page: Page, query: string): Promise<void> {
  await page.evaluate((query) => {
    Object.assign(window, { heard: [], sessions: [], opened: 0, ended: [], stopped: false });
    const events = new EventSource(`/v1/events?appId=app-id-343&userId=ANZ-7&${query}`);
    events.onopen = () => window.opened++;
    events.onerror = () => (window.stopped = events.readyState === EventSource.CLOSED);
    events.onmessage = (event: MessageEvent<string>) => {
      const frame = JSON.parse(event.data) as { type: string; id: string; data: { session?: string; content?: number } };
      if (frame.data.session !== undefined) window.sessions.push(frame.data.session);
      if (frame.type === "MESSAGE") window.heard.push({ id: frame.id, content: frame.data.content ?? -1 });
    };
    events.addEventListener("close", (event: MessageEvent<string>) => window.ended.push(event.data));
  }, query);
  await expect.poll(() => page.evaluate(() => window.sessions.length)).toBe(1);
}

/** Sends messages to the page's user, RELIABLE, and waits until they are stored. */
async function send(server: Server, from: number, to: number): Promise<void> {
  const messages = Array.from({ length: to - from }, (_, i) => ({ from: "ANZ-1", to: "ANZ-7", content: from + i }));
  await server.call("POST", "/messages/batch", { messages });
}

const numbers = (n: number) => Array.from({ length: n }, (_, i) => i);

/** What the page heard, without the IDs that it knows already. */
async function heard(page: Page): Promise<number[]> {
  const known = new Set<string>();
  const list = await page.evaluate(() => window.heard);
  return list.filter(({ id }) => !known.has(id) && known.add(id)).map(({ content }) => content);
}

test("a bare EventSource hears everything once and in order, through cuts of its line and a killed server", async ({ page, server }) => {
  const line = await Line.to(server.origin);
  try {
    await page.goto(line.origin);
    await listen(page, "push=true");
    for (let cuts = 1; cuts <= 5; cuts++) {
      const sending = send(server, (cuts - 1) * 40, cuts * 40);
      line.cut();
      await sending;
      await expect.poll(() => page.evaluate(() => window.heard.length), { timeout: 20_000 }).toBe(cuts * 40);
    }
    // On one session the page need not even drop what it knows.
    expect(await page.evaluate(() => window.heard.map(({ content }) => content))).toEqual(numbers(200));
    expect(await page.evaluate(() => window.sessions.length)).toBe(1);
    expect(await page.evaluate(() => window.opened)).toBeGreaterThan(5);

    await send(server, 200, 240);
    await server.kill();
    await server.resume();
    await send(server, 240, 280);
    await expect.poll(async () => (await heard(page)).length, { timeout: 20_000 }).toBe(280);
    expect(await heard(page)).toEqual(numbers(280));
    expect(await page.evaluate(() => window.sessions.length)).toBe(2);
    expect(await page.evaluate(() => window.stopped)).toBe(false);
  } finally {
    await line.remove();
  }
});

test("EventSource hears content as a WebSocket does, byte for byte, but for CR, which is LF", async ({ page, server }) => {
  const contents = ['"a\\nb"', "[\n  1,\n   2,\n\t3\n]", "[\n\n\n1\n\n]", '{\r\n "a":\r  1\r\r\n}', "[\n \n  \n]", `[${"\n".repeat(60_000)}]`, `[${"0,\n ".repeat(15_000)}0]`];
  const frames = contents.map((content) => `{"type":"MESSAGE","data":{"from":"ANZ-7","content":${content}}}`);
  await page.goto(server.origin);
  const heard = await page.evaluate(async (contents) => {
    const events = new EventSource("/v1/events?appId=app-id-343&userId=ANZ-7");
    const socket = new WebSocket(`ws://${location.host}/ws`);
    socket.onopen = () => socket.send('{"type":"AUTH_CLIENT","data":{"appId":"app-id-343","userId":"ANZ-7"}}');
    // What comes after the answer to the sign-in, in the order in which it comes.
    const listen = (from: EventSource | WebSocket) => {
      const heard: string[] = [];
      let begun = () => {};
      let done = () => {};
      const signedIn = new Promise<void>((resolve) => (begun = resolve));
      const all = new Promise<string[]>((resolve) => (done = () => resolve(heard)));
      from.onmessage = ({ data }: MessageEvent<string>) => {
        if (data.includes('"AUTH_CLIENT_REPLY"')) return begun();
        if (heard.push(data) === contents.length) done();
      };
      return { signedIn, all };
    };
    const both = [listen(socket), listen(events)];
    await Promise.all(both.map(({ signedIn }) => signedIn));
    for (const content of contents) socket.send(`{"type":"MESSAGE","data":{"to":"ANZ-7","content":${content}},"feature":"FAST"}`);
    return Promise.all(both.map(({ all }) => all));
  }, contents);
  expect(heard).toEqual([frames, frames.map((frame) => frame.replaceAll(/\r\n?/g, "\n"))]);
});

test("a page acknowledges, sends and leaves with its session's secret", async ({ page, server }) => {
  await page.goto(server.origin);
  await listen(page, "push=true");
  const statuses = await page.evaluate(async () => {
    const call = async (method: string, path: string, body?: unknown) => {
      const answer = await fetch(path, {
        method,
        headers: { Authorization: `Bearer ${window.sessions[0] ?? ""}`, "Content-Type": "application/json" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return answer.status;
    };
    return [
      await call("POST", "/v1/frames", { type: "MESSAGE", data: { to: "ANZ-7", content: 7 } }),
      await call("POST", "/v1/events/acks", { id: "nothing.1" }),
      await call("DELETE", "/v1/events"),
      await call("DELETE", "/v1/events"),
    ];
  });
  expect(statuses).toEqual([202, 400, 204, 401]);
  await expect.poll(() => page.evaluate(() => window.ended)).toEqual(['{"code":1000,"reason":""}']);
  // It comes back by itself, and is told not to.
  await expect.poll(() => page.evaluate(() => window.stopped)).toBe(true);
});

test("a page of an origin that is named may listen and acknowledge, any other is refused", async ({ page }) => {
  const other = createServer((_, answer) => answer.setHeader("Content-Type", "text/html").end("<!doctype html><title>another page</title>"));
  await new Promise<void>((resolve) => other.listen(0, resolve));
  const { port } = other.address() as AddressInfo;
  const server = await Server.start(`origins: [http://localhost:${port}]\napps: [{appName: ANZ, appId: app-id-343, authEnabled: false}]\n`);
  const listenAndAcknowledge = async (origin: string) => {
    await page.goto(origin);
    return page.evaluate(async (server) => {
      const events = new EventSource(`${server}/v1/events?appId=app-id-343&userId=ANZ-7`);
      const first = await new Promise<MessageEvent<string> | undefined>((resolve) => {
        events.onmessage = resolve;
        events.onerror = () => resolve(undefined);
      });
      if (first === undefined) return "refused";
      const { session } = (JSON.parse(first.data) as { data: { session: string } }).data;
      const answer = await fetch(`${server}/v1/events/acks`, {
        method: "POST",
        headers: { Authorization: `Bearer ${session}`, "Content-Type": "application/json" },
        body: JSON.stringify({ id: first.lastEventId }),
      });
      events.close();
      return answer.status;
    }, server.origin);
  };
  try {
    expect(await listenAndAcknowledge(`http://localhost:${port}`)).toBe(204);
    expect(await listenAndAcknowledge(`http://127.0.0.1:${port}`)).toBe("refused");
  } finally {
    await server.remove();
    other.close();
  }
});

test("the example of docs/events.md does what it says when it is pasted into the page's console", async ({ page, server }) => {
  await paste(page, server, "docs/events.md", "events-browser");

  // Left, it signs out: another page of the user is the only session.
  await page.goto("about:blank");
  await expect
    .poll(async () => {
      const user = await server.call<{ sessions: number }>("GET", "/users/ANZ-7");
      return user.sessions;
    })
    .toBe(0);
});
