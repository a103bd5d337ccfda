import { once } from "node:events";
import { createServer, connect, type AddressInfo, type Server as Listener, type Socket } from "node:net";

/** A line between a page and a server, which is cut on command. */
export class Line {
  readonly #listener: Listener;
  readonly #ends = new Set<Socket>();
  #down = false;

  private constructor(target: number) {
    this.#listener = createServer((near) => {
      if (this.#down) {
        near.resetAndDestroy();
        return;
      }
      const far = connect(target, "127.0.0.1");
      for (const [from, to] of [[near, far], [far, near]] as const) {
        this.#ends.add(from);
        from.on("error", () => to.destroy());
        from.on("close", () => {
          this.#ends.delete(from);
          to.destroy();
        });
        from.pipe(to);
      }
    });
  }

  static async to(origin: string): Promise<Line> {
    const line = new Line(Number(new URL(origin).port));
    line.#listener.listen(0, "127.0.0.1");
    await once(line.#listener, "listening");
    return line;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#listener.address() as AddressInfo).port}`;
  }

  /** Ends every connection, in the middle of whatever it carries. */
  cut(): void {
    for (const end of this.#ends) end.resetAndDestroy();
  }

  /** Ends every connection and lets none through any more, until it is mended. */
  break(): void {
    this.#down = true;
    this.cut();
  }

  mend(): void {
    this.#down = false;
  }

  async remove(): Promise<void> {
    this.#listener.close();
    this.cut();
    await once(this.#listener, "close");
  }
}
