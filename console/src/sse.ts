/** One event of a stream of server-sent events. */
export interface StreamEvent {
  /** The ID that it came with, or the last one before it. */
  id: string;
  type: string;
  data: string;
}

/** How long a line may be; a server that writes longer ones is not ours. */
const longestLine = 1 << 20;

/**
 * Takes a stream of server-sent events apart, as the HTML standard has it.
 * (EventSource would, but cannot send an API key.)
 */
export class EventParser {
  #rest = "";
  #afterCr = false;
  #id = "";
  #type = "";
  #data: string[] = [];

  /** Returns the events that a piece of the stream completes. */
  push(text: string): StreamEvent[] {
    const events: StreamEvent[] = [];
    // A line may end in \r\n, of which a piece may hold only the first half.
    if (this.#afterCr && text.startsWith("\n")) text = text.slice(1);
    if (text === "") return events;
    this.#afterCr = text.endsWith("\r");
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > longestLine) throw new Error("the server sends events without end");
    for (const line of lines) {
      const event = this.#line(line);
      if (event !== undefined) events.push(event);
    }
    return events;
  }

  #line(line: string): StreamEvent | undefined {
    if (line === "") {
      const event = { id: this.#id, type: this.#type || "message", data: this.#data.join("\n") };
      const complete = this.#data.length > 0;
      this.#type = "";
      this.#data = [];
      return complete ? event : undefined;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "event") this.#type = value;
    else if (field === "data") this.#data.push(value);
    return undefined;
  }
}
