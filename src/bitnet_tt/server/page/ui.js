// The one place that knows which library draws the page: Preact, with htm in place of JSX (so there is no build step).
import { h, render } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export {
  useEffect,
  useErrorBoundary,
  useLayoutEffect,
  useMemo,
  useReducer,
  useRef,
  useState,
} from "./vendor/preact-hooks.js";
export { render };
export const html = htm.bind(h);
