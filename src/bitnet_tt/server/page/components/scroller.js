// The scrolling list of messages. It follows the end of an answer, unless the reader scrolled up.
import { html, useEffect, useLayoutEffect, useRef, useState } from "../ui.js";
import { IconButton } from "./icons.js";

const NEAR = 40; // Pixels. Closer to the end than this counts as at the end.

export function Scroller({ content, children }) {
  const box = useRef(null);
  const inner = useRef(null);
  const follows = useRef(true);
  const [away, setAway] = useState(false);
  const toEnd = () => {
    if (!box.current) return; // The observer may report a last time after the element left the page.
    box.current.scrollTop = box.current.scrollHeight;
  };
  const onScroll = () => {
    const { scrollHeight, scrollTop, clientHeight } = box.current;
    follows.current = scrollHeight - scrollTop - clientHeight < NEAR;
    setAway(!follows.current);
  };
  // A new message of the user always scrolls to the end.
  useLayoutEffect(() => {
    follows.current = true;
    toEnd();
  }, [content.length]);
  // Colours and formulas arrive later than the text, and change its height without a new drawing. A banner or a long
  // message in the message box changes the height of the box.
  useEffect(() => {
    const observer = new ResizeObserver(() => follows.current && toEnd());
    observer.observe(inner.current);
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  return html`
    <div class="scroller" ref=${box} onScroll=${onScroll} tabindex="0" role="region" aria-label="Messages">
      <div class="messages" ref=${inner}>${children}</div>
      ${away && html`<${IconButton} icon="down" label="Go to the end" class="to-end" onClick=${toEnd} />`}
    </div>
  `;
}
