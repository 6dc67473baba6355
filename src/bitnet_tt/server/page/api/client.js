// The server's HTTP API, as far as the page needs it. Addresses are relative to the page, so a proxy may add a prefix.
import { ApiError, cutOff, fromResponse, inStream, unreachable } from "./errors.js";
import { getKey } from "./key.js";
import { eventsOf } from "./sse.js";

async function call(path, { body, signal } = {}) {
  const headers = {};
  if (getKey()) headers.Authorization = `Bearer ${getKey()}`;
  if (body) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), {
      method: body ? "POST" : "GET",
      headers,
      body: body && JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw unreachable();
  }
  if (!response.ok) throw await fromResponse(response);
  return response;
}

async function callForJson(path) {
  const response = await call(path);
  try {
    return await response.json();
  } catch {
    throw new ApiError("server", "The server's answer is not JSON. Is this address a BitNet-TT server?");
  }
}

// Return the names of the models that the server has.
export async function getModels() {
  const { data } = await callForJson("v1/models");
  return Array.isArray(data) ? data.map((model) => String(model.id)) : [];
}

// Return the server's properties (context length, limits, versions), or {} if it has none: the page works without them.
export async function getProps() {
  try {
    return await callForJson("props");
  } catch {
    return {};
  }
}

// Stream one answer. Yields {text, reasoning, finish, usage}; each field is there if the server sent it.
// Throws ApiError, also if the stream ends before the answer does.
export async function* streamChat(body, signal) {
  const response = await call("v1/chat/completions", {
    body: { ...body, stream: true, stream_options: { include_usage: true } },
    signal,
  });
  let finished = false;
  try {
    for await (const data of eventsOf(response)) {
      if (data === "[DONE]") return;
      const chunk = parse(data);
      if (chunk.error) throw inStream(chunk.error);
      const choice = chunk.choices?.[0];
      finished ||= Boolean(choice?.finish_reason);
      yield {
        text: choice?.delta?.content ?? "",
        reasoning: choice?.delta?.reasoning_content ?? "",
        finish: choice?.finish_reason ?? null,
        usage: chunk.usage ?? null,
      };
    }
  } catch (error) {
    if (signal?.aborted || error instanceof ApiError) throw error;
    throw cutOff(); // The connection broke.
  }
  if (!finished) throw cutOff(); // The connection was closed in order, but too early.
}

function parse(data) {
  try {
    return JSON.parse(data) ?? {};
  } catch {
    throw inStream({ message: `An event is not JSON: ${data.slice(0, 80)}` });
  }
}
