import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { binary, ownEnvironment } from "./server.js";

/** How long the demo may take to have its first report in the archive, and to stop. */
const patience = 60_000;

/** The demo of the relay, with all its processes, in a folder of its own. */
export class RelayDemo {
  readonly data: string;
  readonly #child: ChildProcess;
  #said = "";

  private constructor(data: string, more: readonly string[]) {
    this.data = data;
    this.#child = spawn(binary, ["demo", "relay", "--data", path.join(data, "demo"), "--listen", "127.0.0.1:0", ...more], { stdio: ["ignore", "pipe", "pipe"], env: ownEnvironment() });
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.on("data", (chunk: Buffer) => (this.#said = (this.#said + chunk.toString()).slice(-20_000)));
  }

  static async start(...more: string[]): Promise<RelayDemo> {
    const demo = new RelayDemo(await mkdtemp(path.join(tmpdir(), "switchboard-relay-")), more);
    await demo.says(/^ready$/m);
    return demo;
  }

  /** Waits until it has said something. */
  async says(what: RegExp): Promise<RegExpExecArray> {
    const deadline = Date.now() + patience;
    for (;;) {
      const found = what.exec(this.#said);
      if (found !== null) return found;
      if (this.#child.exitCode !== null || Date.now() > deadline) throw new Error(`the demo does not say ${String(what)}:\n${this.#said}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  get said(): string {
    return this.#said;
  }

  /** Where the chart is. */
  get chart(): string {
    const address = /^chart +(\S+)$/m.exec(this.#said)?.[1];
    if (address === undefined) throw new Error(`the demo names no chart:\n${this.#said}`);
    return address;
  }

  /** The process that a part had at first. */
  processOf(part: string): number {
    const pid = new RegExp(`^${part} +(\\d+)  `, "m").exec(this.#said)?.[1];
    if (pid === undefined) throw new Error(`the demo names no ${part}:\n${this.#said}`);
    return Number(pid);
  }

  async remove(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exited = once(this.#child, "exit", { signal: AbortSignal.timeout(patience) });
      this.#child.kill("SIGTERM");
      await exited;
    }
    await rm(this.data, { recursive: true, force: true });
  }
}
