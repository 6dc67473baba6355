// What went wrong with an answer, and a button that tries again.
import { html, useEffect, useState } from "../ui.js";

export function ErrorNote({ error, busy, onRetry }) {
  const left = useCountdown(error.retryAfter);
  return html`
    <div class="error-note" role="group" aria-label="Error">
      <p><strong>${error.message}</strong>${left > 0 ? ` It asks to wait ${left} more ${left === 1 ? "second" : "seconds"}.` : ""}</p>
      ${error.detail && html`<p class="detail">${error.detail}</p>`}
      <button type="button" disabled=${busy} onClick=${onRetry}>Try again</button>
    </div>
  `;
}

function useCountdown(seconds) {
  const [left, setLeft] = useState(seconds ?? 0);
  useEffect(() => {
    if (left <= 0) return undefined;
    const timer = setTimeout(() => setLeft(left - 1), 1000);
    return () => clearTimeout(timer);
  }, [left]);
  return left;
}
