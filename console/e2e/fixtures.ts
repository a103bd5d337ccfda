import { test as base } from "@playwright/test";
import { Federation, type Described } from "./federation.js";
import { Nodes } from "./nodes.js";
import { Receiver } from "./receiver.js";
import { Server } from "./server.js";

interface Fixtures {
  /** Every test has a server of its own, with an empty data folder: the demo. */
  server: Server;
  /** Starts one with settings. */
  boot: (settings: string) => Promise<Server>;
  /** Starts domains with a meta server. */
  federate: (described: Described, running: number) => Promise<Federation>;
  /** Three nodes that are one server. */
  nodes: Nodes;
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
  nodes: async ({}, use, info) => {
    const nodes = await Nodes.start();
    await use(nodes);
    if (info.status !== info.expectedStatus) await info.attach("nodes", { body: nodes.said });
    await nodes.remove();
  },
  // eslint-disable-next-line no-empty-pattern
  federate: async ({}, use, info) => {
    const federations: Federation[] = [];
    await use(async (described, running) => {
      const federation = await Federation.start(described, running);
      federations.push(federation);
      return federation;
    });
    for (const federation of federations) {
      if (info.status !== info.expectedStatus) await info.attach("domains", { body: federation.said });
      await federation.remove();
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
