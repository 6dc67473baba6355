// Libraries that only some answers need, loaded when the first of them arrives.
//
// Drawing text is synchronous, loading is not. `now` returns the library or null; if null, `arriving` holds a promise,
// and the caller draws again when it is kept.

const loaded = new Map();
const loading = new Map();

export const arriving = new Set();

function now(name, load) {
  if (loaded.has(name)) return loaded.get(name);
  if (!loading.has(name)) {
    // A library that cannot be loaded counts as loaded without a value: the text is then shown plainly.
    loading.set(
      name,
      load()
        .catch(() => null)
        .then((value) => loaded.set(name, value)),
    );
  }
  arriving.add(loading.get(name));
  return null;
}

// KaTeX, which is a classic script: it puts itself on the global object.
export const katex = () => now("katex", () => import("../vendor/katex.js").then(() => globalThis.katex));

const highlightCore = () =>
  now("highlight", () => import("../vendor/highlight/core.js").then((module) => module.default));

// highlight.js with the grammar `language`, or null.
export function highlighter(language) {
  const core = highlightCore();
  const grammar = now(`language ${language}`, () =>
    import(`../vendor/highlight/${language}.js`).then((module) => module.default),
  );
  if (!core || !grammar) return null;
  if (!core.getLanguage(language)) core.registerLanguage(language, grammar);
  return core;
}
