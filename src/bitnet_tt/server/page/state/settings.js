// The settings of a request. A setting that is empty is not sent: the server's own default then holds.
import { createStore } from "./store.js";

// One row for each number: the dialog and the request both read this table.
export const NUMBERS = [
  {
    name: "temperature",
    label: "Temperature",
    min: 0,
    max: 2,
    step: 0.05,
    hint: "0 always picks the likeliest token. Higher values vary more.",
  },
  {
    name: "top_p",
    label: "Top-p",
    min: 0,
    max: 1,
    step: 0.01,
    hint: "Keep the likeliest tokens that together have this probability.",
  },
  { name: "top_k", label: "Top-k", min: 0, step: 1, hint: "Keep this many of the likeliest tokens." },
  {
    name: "min_p",
    label: "Min-p",
    min: 0,
    max: 1,
    step: 0.01,
    hint: "Keep tokens with at least this share of the best token's probability.",
  },
  {
    name: "repetition_penalty",
    label: "Repetition penalty",
    min: 0.01,
    max: 10,
    step: 0.01,
    hint: "Above 1: tokens that already occur become less likely.",
  },
  {
    name: "seed",
    label: "Seed",
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    step: 1,
    hint: "The same seed and the same messages give the same answer.",
  },
  { name: "max_tokens", label: "Max tokens", min: 1, step: 1, hint: "Stop an answer after this many tokens." },
];

const KEY = "bitnet-tt.settings";

function stored() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY));
    return { system: typeof found?.system === "string" ? found.system : "", ...numbersOf(found ?? {}) };
  } catch {
    return { system: "" };
  }
}

function numbersOf(found) {
  const set = NUMBERS.filter(({ name }) => Number.isFinite(found[name]));
  return Object.fromEntries(set.map(({ name }) => [name, found[name]]));
}

export const settings = createStore({ values: stored() });

export function saveSettings(values) {
  settings.set({ values });
  try {
    localStorage.setItem(KEY, JSON.stringify(values));
  } catch {
    // The settings then last until the page is closed.
  }
}

// The fields that go into the request's body.
export function requestFields() {
  return numbersOf(settings.get().values);
}

export function systemPrompt() {
  return settings.get().values.system.trim();
}
