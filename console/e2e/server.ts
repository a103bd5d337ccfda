import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import { request, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
/** The program. */
export const binary = path.resolve(here, "..", process.env["SWITCHBOARD_BIN"] ?? "../bin/switchboard");

/** How long the server may take to be ready, and to stop. */
const patience = 20_000;

/** A real server in a process of its own, on free ports, with a data folder of its own. */
export class Server {
  /** Where it listens; at first any free port, chosen by the server itself: nobody else can take it in between. */
  #listen = "127.0.0.1:0";
  #admin = "127.0.0.1:0";
  readonly #data: string;
  readonly #more: readonly string[];
  #process: ChildProcess | undefined;
  #said = "";

  private constructor(data: string, more: readonly string[]) {
    this.#data = data;
    this.#more = more;
  }

  /** Starts a server with an empty data folder; without settings (YAML) it serves the demo. An address is one that others know beforehand. */
  static async start(settings?: string, listen?: string): Promise<Server> {
    await access(binary).catch(() => {
      throw new Error(`there is no server at ${binary}: build it, or name it in SWITCHBOARD_BIN`);
    });
    const data = await mkdtemp(path.join(tmpdir(), "switchboard-console-"));
    const file = path.join(data, "settings.yaml");
    if (settings !== undefined) await writeFile(file, settings);
    const server = new Server(data, settings === undefined ? [] : ["--config", file]);
    server.#listen = listen ?? server.#listen;
    await server.resume();
    return server;
  }

  get origin(): string {
    return `${/^console +(https?):/m.exec(this.#said)?.[1] ?? "http"}://${this.#listen}`;
  }

  /** The admin key that the demo printed when it started last. */
  get key(): string {
    const key = [...this.#said.matchAll(/^key +(sb_\S+)$/gm)].at(-1)?.[1];
    if (key === undefined) throw new Error(`the server printed no key:\n${this.#said}`);
    return key;
  }

  /** Calls /v1 at the control socket, where the operator needs no key, and returns the answer. */
  async call<T = unknown>(method: string, call: string, body?: unknown): Promise<T> {
    const asked = request({
      socketPath: path.join(this.#data, "control.sock"),
      method,
      path: `/v1${call}`,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
    });
    asked.end(body === undefined ? undefined : JSON.stringify(body));
    const [response] = (await once(asked, "response")) as [IncomingMessage];
    const answer = await text(response);
    if ((response.statusCode ?? 0) >= 300) throw new Error(`${method} ${call}: ${response.statusCode} ${answer}`);
    return JSON.parse(answer) as T;
  }

  /** Makes a key that outlives the process; without an app an admin key. */
  async makeKey(name: string, app?: string, scopes?: readonly string[], more: object = {}): Promise<{ id: string; key: string }> {
    return this.call("POST", "/keys", { name, ...(app === undefined ? { admin: true } : { app, scopes }), ...more });
  }

  /** Starts the process again, on the same ports and data. */
  async resume(): Promise<void> {
    const child = spawn(
      binary,
      ["serve", "--listen", this.#listen, "--admin", this.#admin, "--data", this.#data, ...this.#more],
      { stdio: ["ignore", "pipe", "pipe"], env: ownEnvironment() },
    );
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => (this.#said = (this.#said + chunk.toString()).slice(-20_000)));
    }
    this.#process = child;
    await this.#ready(child);
  }

  /** Ends the process at once, as a power cut would. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Asks the process to stop, and waits until it has. */
  async stop(): Promise<void> {
    await this.#end("SIGTERM");
  }

  /** Has the process stand still, as one does whose machine is too busy, until thaw. */
  freeze(): void {
    this.#process?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#process?.kill("SIGCONT");
  }

  /** Kills the process and forgets its data. */
  async remove(): Promise<void> {
    await this.kill();
    await rm(this.#data, { recursive: true, force: true });
  }

  /** What the process wrote last. */
  get said(): string {
    return this.#said;
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit", { signal: AbortSignal.timeout(patience) });
    child.kill(signal);
    await exited;
  }

  /** The address that a line of the start names. */
  #printed(line: string): string | undefined {
    return new RegExp(`^${line} +https?://(\\S+)/$`, "m").exec(this.#said)?.[1];
  }

  async #ready(child: ChildProcess): Promise<void> {
    const deadline = Date.now() + patience;
    for (;;) {
      if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}:\n${this.#said}`);
      this.#listen = this.#printed("console") ?? this.#listen;
      this.#admin = this.#printed("admin") ?? this.#admin;
      const answer = this.#admin.endsWith(":0") ? undefined : await fetch(`http://${this.#admin}/readyz`).catch(() => undefined);
      if (answer?.ok === true) return;
      if (Date.now() > deadline) throw new Error(`the server is not ready in time:\n${this.#said}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** A meta server in a process of its own, which looks often at what it serves. */
export class MetaServer {
  readonly url: string;
  readonly #from: readonly string[];
  readonly #data: string;
  #process: ChildProcess | undefined;
  #said = "";

  private constructor(address: string, from: readonly string[], data: string) {
    this.url = `http://${address}`;
    this.#from = from;
    this.#data = data;
  }

  /** Starts one on an address that nobody else uses; from are the flags that say what it serves. */
  static async start(address: string, from: readonly string[], data: string): Promise<MetaServer> {
    const server = new MetaServer(address, from, data);
    await server.resume();
    return server;
  }

  async resume(): Promise<void> {
    const args = ["meta", ...this.#from, "--listen", this.url.replace("http://", ""), "--data", this.#data, "--every", "100ms"];
    const child = spawn(binary, args, { stdio: ["ignore", "pipe", "pipe"], env: ownEnvironment() });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => (this.#said = (this.#said + chunk.toString()).slice(-20_000)));
    }
    this.#process = child;
    const deadline = Date.now() + patience;
    for (;;) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`the meta server does not serve:\n${this.#said}`);
      const answer = await fetch(`${this.url}/healthz`).catch(() => undefined);
      if (answer?.ok === true) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit", { signal: AbortSignal.timeout(patience) });
    child.kill("SIGKILL");
    await exited;
  }

  /** What the process wrote last. */
  get said(): string {
    return this.#said;
  }
}

/** Without settings of the server, SWITCHBOARD_BIN among them: it refuses those that it does not know. */
export function ownEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SWITCHBOARD_")));
}
