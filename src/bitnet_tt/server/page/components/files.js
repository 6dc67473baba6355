// Files of a message as chips. A click shows the text.
import { sizeText } from "../state/files.js";
import { html, useState } from "../ui.js";
import { Dialog } from "./dialog.js";
import { Icon, IconButton } from "./icons.js";

export function FileChips({ files, onRemove }) {
  const [shown, setShown] = useState(null);
  if (files.length === 0) return null;
  return html`
    <ul class="chips" aria-label="Files">
      ${files.map(
        (file, index) => html`
          <li class="chip" key=${index}>
            <button type="button" class="chip-name" onClick=${() => setShown(file)}>
              <${Icon} name="file" /><span>${file.name}</span><small>${sizeText(file.text)}</small>
            </button>
            ${onRemove &&
            html`<${IconButton} icon="close" label=${`Remove ${file.name}`} onClick=${() => onRemove(index)} />`}
          </li>
        `,
      )}
    </ul>
    ${
      shown &&
      html`
      <${Dialog} title=${shown.name} onClose=${() => setShown(null)} class="wide">
        <pre class="file-text" tabindex="0">${shown.text}</pre>
      <//>
    `
    }
  `;
}
