// Markdown to safe DOM nodes, block by block: while an answer streams, only its last block changes.
import { Marked } from "../vendor/marked.js";
import { addCodeHeads, codeHtml } from "./code.js";
import { escape } from "./escape.js";
import { arriving } from "./libraries.js";
import { adaptMath } from "./math-layout.js";
import { mathExtensions } from "./math.js";
import { sanitize } from "./sanitize.js";

// HTML that models use within markdown tables and prose. All other HTML is shown as text.
const HARMLESS = /^<(?:br ?\/?|\/?(?:sub|sup|kbd))>$/i;

const renderer = {
  html: ({ text }) => (HARMLESS.test(text.trim()) ? text : escape(text)),
  code: ({ text, lang }) => codeHtml(text, lang),
  // A remote image would tell its server that this answer was read. It becomes a link that the reader may follow.
  image: ({ href, text }) => `<a href="${escape(href)}">Image: ${escape(text || href)}</a>`,
  checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  // The page's own heading is level 1.
  heading({ tokens, depth }) {
    const level = Math.min(depth + 1, 6);
    return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
  },
};

const marked = new Marked({ gfm: true, breaks: true, renderer, extensions: mathExtensions });

// Return the blocks of a text. Equal blocks have equal `raw`.
export function blocksOf(text) {
  try {
    return marked.lexer(text).filter((token) => token.type !== "space" && token.type !== "def");
  } catch {
    return [{ type: "plain", raw: text }]; // Thousands of nested quotes, for example, are too deep for the parser.
  }
}

// Return {fragment, arriving}: the nodes of a block and, if a library for it is still loading, a promise, else null.
export function renderBlock(block) {
  arriving.clear();
  try {
    const fragment = sanitize(block.type === "plain" ? plainHtml(block) : marked.parser([block]));
    addCodeHeads(fragment);
    adaptMath(fragment);
    return { fragment, arriving: arriving.size > 0 ? Promise.all(arriving) : null };
  } catch {
    return { fragment: sanitize(plainHtml(block)), arriving: null };
  }
}

const plainHtml = ({ raw }) => `<p class="plain">${escape(raw)}</p>`;
