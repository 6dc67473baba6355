// The box in which a message is written or edited: text, files, and the button that the caller puts in.
import { LONG_PASTE, pastedFile, readTextFile } from "../state/files.js";
import { notify } from "../state/chat.js";
import { html, useEffect, useLayoutEffect, useRef } from "../ui.js";
import { FileChips } from "./files.js";
import { IconButton } from "./icons.js";

// On a touch screen, Enter makes a new line, as everywhere on phones, and nothing takes the focus by itself: that would
// open the keyboard over the page.
export const isTouch = matchMedia("(hover: none) and (pointer: coarse)").matches;

// `draft` is {content, files}. `onSubmit` is called on Enter. `inputRef` gets the text area.
export function MessageBox({ draft, onChange, onSubmit, onKey, label, placeholder, inputRef, children }) {
  const picker = useRef(null);
  // Pasting and reading files take time: they must add to the newest draft, not to the one of their first moment.
  const newest = useRef(draft);
  newest.current = draft;
  const change = (fields) => {
    newest.current = { ...newest.current, ...fields };
    onChange(newest.current);
  };

  useLayoutEffect(() => growWithText(inputRef.current), [draft.content]);
  useEffect(() => {
    const resize = () => growWithText(inputRef.current);
    window.addEventListener("resize", resize);
    return () => window.removeEventListener("resize", resize);
  }, []);

  const addFiles = async (list) => {
    for (const file of list) {
      try {
        const read = await readTextFile(file);
        change({ files: [...newest.current.files, read] });
      } catch (error) {
        notify(error.message);
      }
    }
  };
  const onPaste = (event) => {
    const text = event.clipboardData.getData("text/plain");
    if (event.clipboardData.files.length > 0) addFiles(event.clipboardData.files);
    else if (text.length > LONG_PASTE) change({ files: [...draft.files, pastedFile(text, draft.files)] });
    else return; // A short paste is the browser's business.
    event.preventDefault();
  };
  const onDrop = (event) => {
    if (event.dataTransfer.files.length === 0) return;
    event.preventDefault();
    addFiles(event.dataTransfer.files);
  };
  const onKeyDown = (event) => {
    // While an input method composes a character, Enter belongs to it.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !isTouch) {
      event.preventDefault();
      onSubmit();
    } else onKey?.(event);
  };

  return html`
    <div class="message-box" onDrop=${onDrop} onDragOver=${(event) => event.preventDefault()}>
      <${FileChips}
        files=${draft.files}
        onRemove=${(at) => change({ files: draft.files.filter((_, index) => index !== at) })}
      />
      <textarea
        ref=${inputRef}
        rows="1"
        aria-label=${label}
        placeholder=${placeholder}
        value=${draft.content}
        onInput=${(event) => change({ content: event.currentTarget.value })}
        onPaste=${onPaste}
        onKeyDown=${onKeyDown}
      ></textarea>
      <div class="box-actions">
        <${IconButton} icon="attach" label="Add text files" onClick=${() => picker.current.click()} />
        <input
          ref=${picker}
          type="file"
          multiple
          hidden
          onChange=${(event) => {
            addFiles([...event.currentTarget.files]);
            event.currentTarget.value = "";
          }}
        />
        ${children}
      </div>
    </div>
  `;
}

// Setting a property of `style` is allowed by the Content-Security-Policy; a style attribute is not.
function growWithText(area) {
  if (!area) return;
  area.style.height = "auto";
  area.style.height = `${Math.min(area.scrollHeight, window.innerHeight * 0.4)}px`;
}
