// Is the server there, which models does it have, and which of them answers?
import { getModels, getProps } from "../api/client.js";
import { setKey } from "../api/key.js";
import { createStore } from "./store.js";

// `status`: "connecting", "ready", or a problem: "key" (it needs one), "no-model", "unreachable", "failed".
export const connection = createStore({ status: "connecting", models: [], model: "", props: {}, detail: "" });

const WAITS = [2, 4, 8, 15, 30]; // Seconds between attempts while the server is away.
let attempts = 0;
let timer = 0;
let keyWasTried = false;

export async function connect() {
  clearTimeout(timer);
  try {
    const models = await getModels();
    const props = await getProps();
    const model = models.includes(connection.get().model) ? connection.get().model : (models[0] ?? "");
    attempts = 0;
    keyWasTried = false;
    connection.set({ status: model ? "ready" : "no-model", models, model, props, detail: "" });
  } catch (error) {
    const status = { key: "key", network: "unreachable", closing: "unreachable" }[error.kind] ?? "failed";
    connection.set({ status, detail: status === "key" && !keyWasTried ? "" : (error.detail ?? error.message) });
  }
  if (["unreachable", "failed", "no-model"].includes(connection.get().status)) {
    timer = setTimeout(connect, WAITS[Math.min(attempts++, WAITS.length - 1)] * 1000);
  }
}

export function retryNow() {
  attempts = 0;
  connection.set({ status: "connecting" });
  return connect();
}

export function tryKey(key) {
  setKey(key);
  keyWasTried = true;
  return retryNow();
}

export function chooseModel(model) {
  connection.set({ model });
}

// A request failed in a way that says something about the whole server.
export function noteFailure(kind) {
  if (["key", "network", "cut", "model", "closing"].includes(kind)) connect();
}

// The number of tokens that a conversation can have, or null if the server does not say.
export function contextLimit() {
  const limit = connection.get().props?.context_length;
  return Number.isFinite(limit) && limit > 0 ? limit : null;
}
