// Code blocks: colours by highlight.js, and a head with the language and a copy button.
import { escape } from "./escape.js";
import { highlighter } from "./libraries.js";

// The grammars in vendor/highlight, and other names by which models call them.
const LANGUAGES = new Set(
  "bash c cpp css diff go ini java javascript json markdown python rust sql typescript xml yaml".split(" "),
);
const ALIASES = {
  sh: "bash", shell: "bash", zsh: "bash", console: "bash", "c++": "cpp", cc: "cpp", h: "c", hpp: "cpp", patch: "diff",
  golang: "go", toml: "ini", js: "javascript", jsx: "javascript", mjs: "javascript", md: "markdown", py: "python",
  python3: "python", rs: "rust", ts: "typescript", tsx: "typescript", html: "xml", svg: "xml", yml: "yaml",
};
const LONGEST = 50_000; // Characters. Colouring more would make the page wait.

export function codeHtml(text, info) {
  const name = (info ?? "").trim().split(/\s/)[0].toLowerCase();
  const language = ALIASES[name] ?? name;
  let inner = escape(text);
  if (LANGUAGES.has(language) && text.length <= LONGEST) {
    inner = highlighter(language)?.highlight(text, { language, ignoreIllegals: true }).value ?? inner;
  }
  return `<pre><code class="language-${escape(name)}">${inner}\n</code></pre>`;
}

// Put a head above each code block. This runs after the sanitizer, which lets no button through.
export function addCodeHeads(fragment) {
  for (const pre of fragment.querySelectorAll("pre")) {
    const code = pre.querySelector("code");
    const name = /language-(\S+)/.exec(code?.className ?? "")?.[1] ?? "";
    const head = document.createElement("div");
    head.className = "code-head";
    const label = document.createElement("span");
    label.textContent = name || "text";
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy-code";
    button.textContent = "Copy";
    button.setAttribute("aria-label", name ? `Copy this ${name} code` : "Copy this code");
    head.append(label, button);
    const block = document.createElement("div");
    block.className = "code-block";
    pre.replaceWith(block);
    pre.tabIndex = 0; // Long lines scroll; the keyboard must reach them.
    block.append(head, pre);
  }
}
