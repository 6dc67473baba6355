// Server-sent events: a stream of bytes in, the `data` of each event out.
//
// Bytes arrive cut anywhere: in a line, between CR and LF, inside one character. So the text is decoded as a stream,
// and only whole lines are read. Lines that begin with a colon are comments; servers send them to keep a stream open.

export class EventParser {
  constructor() {
    this.decoder = new TextDecoder();
    this.rest = ""; // The line that is not complete yet.
    this.data = []; // The `data` lines of the event that is not complete yet.
  }

  // Return the data of every event that `bytes` completes.
  push(bytes) {
    this.rest += this.decoder.decode(bytes, { stream: true });
    const events = [];
    for (;;) {
      const end = this.rest.search(/[\r\n]/);
      // A CR at the very end may be the first half of a CRLF: wait for the next bytes.
      if (end < 0 || (this.rest[end] === "\r" && end === this.rest.length - 1)) return events;
      const line = this.rest.slice(0, end);
      this.rest = this.rest.slice(end + (this.rest.startsWith("\r\n", end) ? 2 : 1));
      const event = this.readLine(line);
      if (event !== null) events.push(event);
    }
  }

  // Return the data of an event if this line ends one, else null.
  readLine(line) {
    if (line === "") {
      const event = this.data.length > 0 ? this.data.join("\n") : null;
      this.data = [];
      return event;
    }
    const [, name, value] = /^([^:]*):? ?([^]*)$/.exec(line);
    if (name === "data") this.data.push(value);
    return null;
  }
}

// Yield the data of each event of a fetch response.
export async function* eventsOf(response) {
  const parser = new EventParser();
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(value);
    }
  } finally {
    reader.cancel().catch(() => {}); // The server stops generating when the connection closes.
  }
}
