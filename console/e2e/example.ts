import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Page } from "@playwright/test";
import { expect } from "./fixtures.js";
import type { Server } from "./server.js";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

/**
 * Pastes an example of the documentation into the console of a server's page, and
 * waits until it has logged what the sentence behind it says.
 */
export async function paste(page: Page, server: Server, file: string, name: string): Promise<void> {
  const text = await readFile(path.join(root, file), "utf8");
  const found = new RegExp(`<!-- example: ${name} -->\\n\`\`\`js\\n([^]*?)\\n\`\`\`\\n\\n(It logs [^]*?)\\n\\n`).exec(text);
  if (found?.[1] === undefined || found[2] === undefined) throw new Error(`${file} has no example "${name}"`);
  const [, code, says] = found;
  const logs = Array.from(says.matchAll(/`([^`]*)`/g), (match) => match[1] ?? "");
  expect(logs).toHaveLength(3);
  expect(code.split("127.0.0.1:8088")).toHaveLength(2);
  const logged: string[] = [];
  page.on("console", (message) => logged.push(message.text()));
  await page.goto(server.origin);
  // What is pasted into the console is evaluated in this way.
  const devtools = await page.context().newCDPSession(page);
  const { exceptionDetails } = await devtools.send("Runtime.evaluate", {
    expression: code.replace("127.0.0.1:8088", new URL(server.origin).host),
    replMode: true,
  });
  expect(exceptionDetails).toBeUndefined();
  await expect.poll(() => logged.length).toBeGreaterThanOrEqual(logs.length);
  // Where the sentence names the type only, it leaves the data out.
  expect(logged.map((line, i) => (logs[i]?.includes(" ") === false ? line.split(" ")[0] : line))).toEqual(logs);
}
