// One answer that streams: reads the server's events, counts tokens and time, and reports the message as it grows.
import { streamChat } from "../api/client.js";
import { ApiError } from "../api/errors.js";

const DRAW_MS = 60; // Draw at most this often: drawing each token would cost more than reading it.
const SPEED_MS = 50; // Over a shorter time, a speed would be noise.
const SAVE_MS = 1000; // Write to storage at most this often.

export class Run {
  // `show(message)` draws the message; `save(message)` stores it. Both get a new object each time.
  constructor(message, { show, save }) {
    this.message = message;
    this.show = show;
    this.save = save;
    this.controller = new AbortController();
    this.timers = {};
  }

  stop() {
    this.controller.abort();
  }

  // The page is being closed. Save the text, and take no notice of the error that the broken connection then gives.
  leave() {
    this.emit("save");
    this.show = this.save = () => {};
  }

  // Stream the answer to its end. Returns the error that ended it, or null; never throws.
  async answer(body, promptEstimate) {
    const begin = performance.now();
    const stats = { promptTokens: promptEstimate, tokens: 0, cachedTokens: 0, speed: 0, firstSeconds: 0, exact: false };
    const clock = new Clock();
    let failure = null;
    try {
      for await (const event of streamChat(body, this.controller.signal)) {
        if (event.text || event.reasoning) {
          clock.tick();
          stats.tokens += 1; // A chunk is about one token. The server's own count replaces ours when it arrives.
          stats.firstSeconds = (clock.first - begin) / 1000;
        }
        if (event.usage) {
          stats.promptTokens = event.usage.prompt_tokens ?? stats.promptTokens;
          stats.tokens = event.usage.completion_tokens ?? stats.tokens;
          stats.cachedTokens = event.usage.prompt_tokens_details?.cached_tokens ?? 0;
          stats.exact = true;
        }
        stats.speed = clock.speed(stats.tokens);
        this.change({
          content: this.message.content + event.text,
          reasoning: this.message.reasoning + event.reasoning,
          finish: event.finish ?? this.message.finish,
          stats: { ...stats },
        });
      }
      this.message = { ...this.message, status: "done" };
    } catch (error) {
      if (this.controller.signal.aborted) {
        this.message = { ...this.message, status: "stopped" };
      } else {
        failure =
          error instanceof ApiError ? error : new ApiError("server", "The page failed.", { detail: String(error) });
        this.message = { ...this.message, status: "failed", error: failure.toRecord() };
      }
    }
    this.flush();
    return failure;
  }

  change(fields) {
    this.message = { ...this.message, ...fields };
    // Timers, not animation frames: these stop in a tab in the background, and its answer must still be saved.
    this.timers.show ??= setTimeout(() => this.emit("show"), DRAW_MS);
    this.timers.save ??= setTimeout(() => this.emit("save"), SAVE_MS);
  }

  emit(name) {
    clearTimeout(this.timers[name]);
    this.timers[name] = null;
    this[name](this.message);
  }

  flush() {
    this.emit("show");
    this.emit("save");
  }
}

// Measures tokens per second. A browser may hand over many chunks at once, so those of the first moment, which took
// an unknown time, are not counted.
class Clock {
  constructor() {
    this.first = 0;
    this.chunks = 0;
    this.earlyChunks = 0;
  }

  tick() {
    this.last = performance.now();
    if (this.chunks === 0) this.first = this.last;
    this.chunks += 1;
    if (this.last - this.first < 5) this.earlyChunks = this.chunks;
  }

  // Return the speed if all chunks so far hold `tokens` tokens, or 0 if it is too early to tell.
  speed(tokens) {
    const elapsed = this.last - this.first;
    if (!(elapsed >= SPEED_MS)) return 0;
    return (tokens * (1 - this.earlyChunks / this.chunks)) / (elapsed / 1000);
  }
}
