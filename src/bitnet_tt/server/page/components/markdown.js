// An answer as formatted text. Each block is drawn again only if its source changes.
import { html, useLayoutEffect, useMemo, useReducer, useRef } from "../ui.js";
import { blocksOf, renderBlock } from "../text/markdown.js";

export function Markdown({ text }) {
  const blocks = useMemo(() => blocksOf(text), [text]);
  return html`
    <div class="markdown" onClick=${copyCode}>
      ${blocks.map((block, index) => html`<${Block} key=${index} block=${block} />`)}
    </div>
  `;
}

function Block({ block }) {
  const element = useRef(null);
  const [drawing, drawAgain] = useReducer((count) => count + 1, 0);
  useLayoutEffect(() => {
    const { fragment, arriving } = renderBlock(block);
    element.current.replaceChildren(fragment);
    let shown = true;
    arriving?.then(() => shown && drawAgain());
    return () => {
      shown = false;
    };
  }, [block.raw, drawing]);
  return html`<div ref=${element}></div>`;
}

async function copyCode(event) {
  const button = event.target.closest(".copy-code");
  if (!button) return;
  await copyText(button.closest(".code-block").querySelector("code").textContent.replace(/\n$/, ""));
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Plain http in a local network has no clipboard API.
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
