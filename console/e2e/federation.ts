import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { MetaServer, Server } from "./server.js";

/** What is described of a network: domains by name, links with costs, and whose numbers begin where. */
export interface Described {
  domains: readonly string[];
  links: readonly (readonly [n1: string, n2: string, cost: number])[];
}

/**
 * Several domains as processes of their own, with a meta server. Of those that are
 * described only the first ones are started; the others have addresses where nobody
 * answers. Of app ANZ each has a thousand numbers, in the order of their names.
 */
export class Federation {
  readonly servers: Server[] = [];
  readonly meta: MetaServer;
  readonly #folder: string;
  readonly #ports: Map<string, number>;

  private constructor(folder: string, ports: Map<string, number>, meta: MetaServer) {
    this.#folder = folder;
    this.#ports = ports;
    this.meta = meta;
  }

  static async start(described: Described, running: number): Promise<Federation> {
    const folder = await mkdtemp(path.join(tmpdir(), "switchboard-federation-"));
    const ports = new Map<string, number>();
    const [metaPort = 0, ...free] = await freePorts(described.domains.length + 1);
    for (const [i, name] of described.domains.entries()) ports.set(name, free[i] ?? 0);
    const file = path.join(folder, "network.yaml");
    await writeFile(file, describe(described, ports));
    const meta = await MetaServer.start(`127.0.0.1:${metaPort}`, ["--config", file], path.join(folder, "meta"));
    const federation = new Federation(folder, ports, meta);
    for (const name of described.domains.slice(0, running)) {
      federation.servers.push(await Server.start(`domain: ${name}\nmeta: ${meta.url}\n`, `127.0.0.1:${ports.get(name) ?? 0}`));
    }
    return federation;
  }

  /** Has the meta server serve another description, of domains that were there from the start. */
  async describe(described: Described): Promise<void> {
    const file = path.join(this.#folder, "network.yaml");
    await writeFile(`${file}.new`, describe(described, this.#ports));
    await rename(`${file}.new`, file);
  }

  get said(): string {
    return [this.meta.said, ...this.servers.map(({ said }) => said)].join("\n");
  }

  async remove(): Promise<void> {
    await this.meta.kill();
    for (const server of this.servers) await server.remove();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function describe({ domains, links }: Described, ports: ReadonlyMap<string, number>): string {
  const ranges = domains.map((name, i) => `      - {domainName: ${name}, from: ${1000 * i}${i + 1 < domains.length ? `, to: ${1000 * i + 999}` : ""}}`);
  return [
    "domains:",
    ...domains.map((name) => `  - {name: ${name}, urls: ["ws://127.0.0.1:${ports.get(name) ?? 1}"]}`),
    "domainLinks:",
    ...links.map(([n1, n2, cost]) => `  - {n1: ${n1}, n2: ${n2}, cost: ${cost}}`),
    "clientApps:",
    "  - appName: ANZ",
    "    appId: app-id-343",
    "    authEnabled: false",
    "    userDistributions:",
    ...ranges,
    "",
  ].join("\n");
}

/** Ports that were free a moment ago: settings name addresses before anybody listens there. */
export async function freePorts(n: number): Promise<number[]> {
  const held = await Promise.all(
    Array.from({ length: n }, async () => {
      const one = createServer();
      await new Promise<void>((resolve) => one.listen(0, "127.0.0.1", resolve));
      return one;
    }),
  );
  const ports = held.map((one) => (one.address() as AddressInfo).port);
  await Promise.all(held.map((one) => new Promise((resolve) => one.close(resolve))));
  return ports;
}
