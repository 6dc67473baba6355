// What can go wrong between the page and the server, in words for a reader. `kind` decides which help the page offers.

export class ApiError extends Error {
  constructor(kind, message, { detail = "", retryAfter = null } = {}) {
    super(message);
    this.kind = kind;
    this.detail = detail; // The server's own words.
    this.retryAfter = retryAfter; // Seconds.
  }

  // The form in which an error is kept with its message. A time, not a number of seconds: it may be read much later.
  toRecord() {
    const waitUntil = this.retryAfter === null ? 0 : Date.now() + this.retryAfter * 1000;
    return { kind: this.kind, message: this.message, detail: this.detail, waitUntil };
  }
}

export const unreachable = () =>
  new ApiError("network", "The server does not answer. It may have stopped, or the network is down.");

export const cutOff = () =>
  new ApiError("cut", "The server stopped in the middle of this answer. The text so far is kept.");

// An error object inside a stream, after the answer began.
export const inStream = (error) =>
  new ApiError("server", "The server reported an error during this answer. The text so far is kept.", {
    detail: String(error?.message ?? ""),
  });

const MESSAGES = {
  key: "This server needs a key.",
  model: "The server does not have this model.",
  busy: "The server is busy: too many requests are waiting.",
  closing: "The server is shutting down or still starting.",
  request: "The server refused this request.",
  server: "The server failed.",
};

function kindOf(status) {
  if (status === 401 || status === 403) return "key";
  if (status === 404) return "model";
  if (status === 429) return "busy";
  if (status === 503) return "closing";
  return status < 500 ? "request" : "server";
}

// The error of a response whose status is not 2xx. Its body should have OpenAI's shape, but may be anything.
export async function fromResponse(response) {
  let detail;
  try {
    detail = String((await response.json()).error.message);
  } catch {
    detail = `HTTP status ${response.status}`;
  }
  const kind = kindOf(response.status);
  const seconds = Number(response.headers.get("Retry-After"));
  return new ApiError(kind, MESSAGES[kind], { detail, retryAfter: seconds > 0 ? Math.min(seconds, 3600) : null });
}
