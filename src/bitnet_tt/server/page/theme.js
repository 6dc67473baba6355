// Sets the colours before the first paint, so that the page never flashes in the wrong ones.
// This is a classic script on purpose: a module would run after the first paint.
"use strict";

window.bitnetTheme = {
  choices: ["system", "light", "dark"],

  get() {
    try {
      return localStorage.getItem("bitnet-tt.theme") ?? "system";
    } catch {
      return "system"; // The browser forbids storage.
    }
  },

  set(choice) {
    document.documentElement.dataset.theme = choice;
    try {
      localStorage.setItem("bitnet-tt.theme", choice);
    } catch {
      // The choice then lasts until the page is closed.
    }
  },
};

document.documentElement.dataset.theme = window.bitnetTheme.get();
