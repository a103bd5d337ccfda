import { freePorts } from "./federation.js";
import { Server } from "./server.js";

/** Three nodes that are one server, each a process of its own: n1, n2 and n3. */
export class Nodes {
  readonly servers: readonly Server[];

  private constructor(servers: readonly Server[]) {
    this.servers = servers;
  }

  /** They are ready together: at the first start each waits for the others. A short lease has those that are frozen noticed soon. */
  static async start(): Promise<Nodes> {
    const peers = (await freePorts(3)).map((port) => `127.0.0.1:${port}`);
    const settings = peers.map(
      (listen, i) => `cluster: {name: console, node: n${i + 1}, listen: "${listen}", peers: [${peers.map((peer) => `"${peer}"`).join(", ")}], secret: only-for-tests-on-one-machine-0123, lease: 3s}\n`,
    );
    return new Nodes(await Promise.all(settings.map((text) => Server.start(text))));
  }

  get said(): string {
    return this.servers.map(({ said }) => said).join("\n");
  }

  async remove(): Promise<void> {
    for (const server of this.servers) await server.remove();
  }
}
