// Start of the chat page.
import { App } from "./components/app.js";
import { start } from "./state/chat.js";
import { connect } from "./state/connection.js";
import { html, render } from "./ui.js";

await start();
render(html`<${App} />`, document.getElementById("app"));
connect();
