import { test as base } from "@playwright/test";
import { Server } from "./server.js";

/** Every test has a server of its own, with an empty data folder. */
export const test = base.extend<{ server: Server }>({
  // Playwright reads the names of the fixtures that it hands in from the pattern.
  // eslint-disable-next-line no-empty-pattern
  server: async ({}, use, info) => {
    const server = await Server.start();
    await use(server);
    if (info.status !== info.expectedStatus) await info.attach("server", { body: server.said });
    await server.remove();
  },
});

export { expect } from "@playwright/test";
