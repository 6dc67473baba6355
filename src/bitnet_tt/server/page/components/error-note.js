// What went wrong with an answer, and a button that tries again.
import { html, useEffect, useState } from "../ui.js";

export function ErrorNote({ error, busy, onRetry }) {
  const left = useSecondsUntil(error.waitUntil);
  return html`
    <div class="error-note" role="group" aria-label="Error">
      <p>
        <strong>${error.message}</strong>
        ${left > 0 && html` It asks to wait ${left} more ${left === 1 ? "second" : "seconds"}.`}
      </p>
      ${error.detail && html`<p class="detail">${error.detail}</p>`}
      <button type="button" disabled=${busy} onClick=${onRetry}>Try again</button>
    </div>
  `;
}

function useSecondsUntil(time) {
  const now = () => Math.max(0, Math.ceil((time - Date.now()) / 1000));
  const [left, setLeft] = useState(now);
  useEffect(() => {
    if (left === 0) return undefined;
    const timer = setTimeout(() => setLeft(now()), 1000);
    return () => clearTimeout(timer);
  }, [left]);
  return left;
}
