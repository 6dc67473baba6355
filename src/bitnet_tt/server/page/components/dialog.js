// A modal dialog. The browser's own <dialog> keeps the focus inside, closes on Escape, and gives the focus back.
import { html, useEffect, useRef } from "../ui.js";
import { IconButton } from "./icons.js";

export function Dialog({ title, onClose, children, class: extra = "" }) {
  const dialog = useRef(null);
  useEffect(() => {
    dialog.current.showModal();
  }, []);
  // A click on the dialog element itself, not on its content, is a click on the backdrop.
  const onClick = (event) => event.target === dialog.current && dialog.current.close();
  return html`
    <dialog ref=${dialog} class=${extra} aria-label=${title} onClose=${onClose} onClick=${onClick}>
      <div class="dialog-body">
        <header class="dialog-head">
          <h2>${title}</h2>
          <${IconButton} icon="close" label="Close" onClick=${() => dialog.current.close()} />
        </header>
        ${children}
      </div>
    </dialog>
  `;
}

// Ask before something that cannot be undone.
export function ConfirmDialog({ title, text, action, onConfirm, onClose }) {
  const confirm = (event) => {
    event.currentTarget.closest("dialog").close();
    onConfirm();
  };
  const cancel = (event) => event.currentTarget.closest("dialog").close();
  // The harmless button gets the focus. This effect runs after the one that opens the dialog.
  const cancelButton = useRef(null);
  useEffect(() => cancelButton.current.focus(), []);
  return html`
    <${Dialog} title=${title} onClose=${onClose} class="small">
      <p>${text}</p>
      <div class="dialog-actions">
        <button ref=${cancelButton} type="button" onClick=${cancel}>Cancel</button>
        <button type="button" class="danger" onClick=${confirm}>${action}</button>
      </div>
    <//>
  `;
}
