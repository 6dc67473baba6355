// Math in markdown: $…$, $$…$$, \(…\) and \[…\], drawn by KaTeX as MathML.
//
// KaTeX's HTML output sets style attributes, which the page's Content-Security-Policy forbids. Its MathML output needs
// no styles and no fonts, browsers draw it, and screen readers read it.
import { escape } from "./escape.js";
import { katex } from "./libraries.js";
import { withLetters } from "./math-letters.js";

function mathHtml(tex, display, source) {
  try {
    const drawn = katex()?.renderToString(tex, {
      output: "mathml",
      displayMode: display,
      trust: false,
      strict: false,
      maxSize: 50,
    });
    // The annotation repeats the TeX source inside the MathML; a sanitizer that drops the element would show its text.
    if (drawn) return withLetters(drawn.replace(/<annotation[^]*?<\/annotation>/g, "").replace(/ style="[^"]*"/g, ""));
  } catch {
    // Not valid TeX: show what the model wrote.
  }
  return `<code>${escape(source)}</code>`;
}

const renderer = ({ tex, display, raw }) => mathHtml(tex, display, raw.trim());

const BLOCK = /^ {0,3}(?:\$\$([^]+?)\$\$|\\\[([^]+?)\\\])[ \t]*(?:\n|$)/;

const blockMath = {
  name: "blockMath",
  level: "block",
  start: (text) => /(?:^|\n) {0,3}(?:\$\$|\\\[)/.exec(text)?.index,
  tokenizer(text) {
    const match = BLOCK.exec(text);
    return match ? { type: "blockMath", raw: match[0], tex: match[1] ?? match[2], display: true } : undefined;
  },
  renderer: (token) => `<p>${renderer(token)}</p>`,
};

// A single dollar is math only if it looks like it, because "$5 or $10" is not: no space inside, no digit after.
const INLINE =
  /^(?:\$\$([^]+?)\$\$|\\\[([^]+?)\\\]|\\\(([^]+?)\\\)|\$(?![\s$])((?:\\[^\n]|[^\\$\n])+?)(?<!\s)\$(?!\d))/;

const inlineMath = {
  name: "inlineMath",
  level: "inline",
  start: (text) => /\$|\\[([]/.exec(text)?.index,
  tokenizer(text) {
    const match = INLINE.exec(text);
    if (!match) return undefined;
    const display = match[1] ?? match[2];
    return { type: "inlineMath", raw: match[0], tex: display ?? match[3] ?? match[4], display: display !== undefined };
  },
  renderer,
};

export const mathExtensions = [blockMath, inlineMath];
