// Events of a byte stream, as the WHATWG HTML standard (9.2.6) reads it. No connection, no JSON.

/** One dispatched event. `id` is the last event id at its end, null when there was none yet. */
export interface RawEvent {
  readonly type: string;
  readonly data: string;
  readonly id: string | null;
}

/** Most characters of one event: the server's own bound is far below. */
export const EVENT_CHARS_MAX = 4 << 20;

/** Reads a stream piece by piece; holds at most one event. */
export class EventReader {
  /** The newest event id; it survives blocks without one. */
  lastId: string | null = null;
  /** How soon the server wants to be called again, in ms; null when it did not say. */
  retryMs: number | null = null;

  private readonly decoder = new TextDecoder();
  private rest = "";
  private afterReturn = false;
  private type = "";
  private data: string[] = [];
  private size = 0;

  /** The events that `bytes` complete. Throws RangeError for one that is too long. */
  *feed(bytes: Uint8Array): Generator<RawEvent> {
    let text = this.decoder.decode(bytes, { stream: true });
    if (text === "") return;
    const joined = this.afterReturn && text.startsWith("\n");
    this.afterReturn = text.endsWith("\r");
    if (joined) text = text.slice(1);
    text = this.rest + text;
    // A CR at the very end may be half of a CRLF: it ends its line, and an LF after it is none.
    const lines = text.split(/\r\n|\r|\n/);
    this.rest = lines.pop() ?? "";
    for (const line of lines) {
      const event = this.line(line);
      if (event) yield event;
    }
    if (this.rest.length + this.size > EVENT_CHARS_MAX) throw new RangeError("an event is too long");
  }

  private line(line: string): RawEvent | null {
    if (line === "") return this.dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) return null;
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "data") {
      this.data.push(value);
      this.size += value.length + 1;
    } else if (field === "event") {
      this.type = value;
    } else if (field === "id") {
      if (!value.includes("\0")) this.lastId = value;
    } else if (field === "retry" && /^\d+$/.test(value)) {
      this.retryMs = Number(value);
    }
    return null;
  }

  private dispatch(): RawEvent | null {
    const { type, data } = this;
    this.type = "";
    this.data = [];
    this.size = 0;
    if (data.length === 0) return null;
    return { type: type || "message", data: data.join("\n"), id: this.lastId };
  }
}
