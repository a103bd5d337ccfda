import { test as base } from "@playwright/test";
import { Receiver } from "./receiver.js";
import { Server } from "./server.js";

interface Fixtures {
  /** Every test has a server of its own, with an empty data folder: the demo. */
  server: Server;
  /** Starts one with settings. */
  boot: (settings: string) => Promise<Server>;
  /** What hears webhooks. */
  receiver: Receiver;
}

export const test = base.extend<Fixtures>({
  // Playwright reads the names of the fixtures that it hands in from the pattern.
  // eslint-disable-next-line no-empty-pattern
  server: async ({}, use, info) => {
    const server = await Server.start();
    await use(server);
    if (info.status !== info.expectedStatus) await info.attach("server", { body: server.said });
    await server.remove();
  },
  // eslint-disable-next-line no-empty-pattern
  boot: async ({}, use, info) => {
    const servers: Server[] = [];
    await use(async (settings) => {
      const server = await Server.start(settings);
      servers.push(server);
      return server;
    });
    for (const server of servers) {
      if (info.status !== info.expectedStatus) await info.attach("server", { body: server.said });
      await server.remove();
    }
  },
  // eslint-disable-next-line no-empty-pattern
  receiver: async ({}, use) => {
    const receiver = await Receiver.start();
    await use(receiver);
    await receiver.stop();
  },
});

export { expect } from "@playwright/test";
