// Everything that the user can do with conversations. Components read `chat` and call these functions.
import { connection, noteFailure } from "./connection.js";
import { withFiles } from "./files.js";
import { Run } from "./run.js";
import { requestFields, systemPrompt } from "./settings.js";
import { openStorage } from "./storage.js";
import { createStore } from "./store.js";
import { fromExport, toExport } from "./transfer.js";
import { choose, newId, pathTo, uniqueTime } from "./tree.js";

// `open` is the conversation on the screen (null: a new one that has no message yet), `messages` are all of its
// messages, `notice` is a sentence at the top of the page, `said` is a sentence for screen readers.
export const chat = createStore({ conversations: [], open: null, messages: [], permanent: true, notice: "", said: "" });

const runs = new Map(); // Conversation id -> Run. Answers go on while another conversation is on the screen.
const channel = new BroadcastChannel("bitnet-tt"); // Tells other tabs of this page about changes.
let storage;

export const isRunning = (conversation) => runs.has(conversation?.id);
export const say = (said) => chat.set({ said });
export const notify = (notice) => chat.set({ notice, said: notice });

export async function start() {
  storage = await openStorage();
  await loadList();
  chat.set({ permanent: storage.permanent });
  channel.onmessage = reload;
  window.addEventListener("hashchange", openFromAddress);
  window.addEventListener("pagehide", () => runs.forEach((run) => run.leave()));
  // A page that the browser froze, and now shows again, has lost its connections.
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());
  await openFromAddress();
}

async function loadList() {
  const conversations = await storage.conversations();
  conversations.sort((a, b) => b.updated - a.updated);
  const open = conversations.find((each) => each.id === chat.get().open?.id) ?? null;
  chat.set(open ? { conversations, open } : { conversations });
}

// Another tab changed something. An answer that runs in this tab is newer than what is stored.
async function reload() {
  await loadList();
  const { open } = chat.get();
  if (!open || runs.has(open.id)) return;
  const messages = await storage.messages(open.id);
  if (chat.get().open?.id === open.id && !runs.has(open.id)) chat.set({ messages });
}

async function openFromAddress() {
  const id = location.hash.slice(1);
  const conversation = chat.get().conversations.find((each) => each.id === id);
  if (conversation) await openConversation(conversation);
  else newConversation();
}

// Write to storage. A full disk must not end an answer: it becomes a notice.
async function store(what) {
  try {
    await storage.save(what);
    if (what.conversations) channel.postMessage("changed");
  } catch (error) {
    notify(`The browser could not save this conversation: ${error?.message ?? error}`);
  }
}

export function newConversation() {
  chat.set({ open: null, messages: [] });
  if (location.hash) history.pushState(null, "", location.pathname + location.search);
}

export async function openConversation(conversation) {
  const messages = await storage.messages(conversation.id);
  const running = runs.get(conversation.id)?.message;
  chat.set({ open: conversation, messages: messages.map((each) => (each.id === running?.id ? running : each)) });
  if (location.hash.slice(1) !== conversation.id) history.pushState(null, "", `#${conversation.id}`);
}

function changeConversation(conversation) {
  const { conversations, open } = chat.get();
  const others = conversations.filter((each) => each.id !== conversation.id);
  chat.set({
    conversations: [conversation, ...others].sort((a, b) => b.updated - a.updated),
    open: open?.id === conversation.id ? conversation : open,
  });
  return store({ conversations: [conversation] });
}

function showMessage(message) {
  const { open, messages } = chat.get();
  if (open?.id !== message.conversation) return;
  const known = messages.some((each) => each.id === message.id);
  chat.set({
    messages: known ? messages.map((each) => (each.id === message.id ? message : each)) : [...messages, message],
  });
}

const newMessage = (conversation, parent, role, content, files) => ({
  id: newId(),
  conversation: conversation.id,
  parent: parent?.id ?? null,
  role,
  content,
  files,
  created: uniqueTime(),
  reasoning: "",
  model: "",
  status: "done",
  finish: null,
  error: null,
  stats: null,
});

const titleOf = (content, files) => (content.trim().split("\n")[0] || files[0]?.name || "New chat").slice(0, 80);

// Send a message as the next of the conversation on the screen, whose shown messages are `path`.
export function send(content, files, path) {
  let { open } = chat.get();
  if (!open) {
    const now = uniqueTime();
    open = { id: newId(), title: titleOf(content, files), created: now, updated: now, chosen: {} };
    chat.set({ open, messages: [] });
    history.pushState(null, "", `#${open.id}`);
  }
  return sendAfter(open, path.at(-1) ?? null, content, files);
}

// Send an edited copy of `message` as its sibling. The first version stays.
export function edit(message, content, files) {
  const { messages, open } = chat.get();
  const parent = messages.find((each) => each.id === message.parent) ?? null;
  return sendAfter(open, parent, content, files);
}

function sendAfter(conversation, parent, content, files) {
  const message = newMessage(conversation, parent, "user", content, files);
  showMessage(message);
  store({ messages: [message] });
  return answer({ ...conversation, chosen: choose(conversation.chosen, message) }, message);
}

// Answer the same message again, as a sibling. An answer without any text is replaced.
export function regenerate(message) {
  const { messages, open } = chat.get();
  const parent = messages.find((each) => each.id === message.parent);
  if (!message.content && !message.reasoning) {
    chat.set({ messages: messages.filter((each) => each.id !== message.id) });
    storage.remove({ messages: [message.id] });
  }
  return answer(open, parent);
}

// Let the server answer `question`, whose conversation is on the screen. Nothing waits before the request is made, so
// the user cannot change the conversation in between.
async function answer(conversation, question) {
  if (runs.has(conversation.id)) return;
  const path = pathTo(chat.get().messages, question);
  const { model } = connection.get();
  const message = { ...newMessage(conversation, question, "assistant", "", []), model, status: "running" };
  const exists = () => chat.get().conversations.some((each) => each.id === conversation.id);
  const run = new Run(message, { show: showMessage, save: (each) => exists() && store({ messages: [each] }) });
  runs.set(conversation.id, run);
  showMessage(message);
  say("The model is answering.");
  changeConversation({ ...conversation, updated: uniqueTime(), chosen: choose(conversation.chosen, message) });
  run.emit("save");
  const failure = await run.answer(requestBody(model, path), tokenEstimate(path));
  runs.delete(conversation.id);
  showMessage(run.message);
  channel.postMessage("changed");
  say(failure ? failure.message : spoken(run.message));
  if (failure) noteFailure(failure.kind);
}

function requestBody(model, path) {
  const system = systemPrompt();
  const messages = system ? [{ role: "system", content: system }] : [];
  for (const each of path) {
    const content = withFiles(each);
    const last = messages.at(-1);
    // A question whose answer failed has no answer, and many chat templates refuse two questions in a row.
    if (last?.role === each.role) last.content += `\n\n${content}`;
    else if (content) messages.push({ role: each.role, content });
  }
  return { model, messages, ...requestFields() };
}

// About how many tokens a prompt has: the last count that the server gave, and a quarter of the characters since then.
function tokenEstimate(path) {
  const last = path.findLastIndex((message) => message.stats?.exact);
  const known = last < 0 ? 0 : path[last].stats.promptTokens + path[last].stats.tokens;
  const characters = path.slice(last + 1).reduce((sum, message) => sum + withFiles(message).length, 0);
  return known + Math.ceil(characters / 4);
}

// A short answer is read out. A long one is only announced: the reader goes to it when they want.
function spoken(message) {
  if (message.status === "stopped") return "Stopped.";
  return message.content.length <= 600 ? `Answer: ${message.content}` : "The answer is complete.";
}

export function stop() {
  runs.get(chat.get().open?.id)?.stop();
}

// Show another version of a message.
export function show(message) {
  const { open } = chat.get();
  changeConversation({ ...open, chosen: choose(open.chosen, message) });
}

export function rename(conversation, title) {
  if (title.trim()) changeConversation({ ...conversation, title: title.trim().slice(0, 200) });
}

export async function remove(conversation) {
  runs.get(conversation.id)?.stop();
  chat.set({ conversations: chat.get().conversations.filter((each) => each.id !== conversation.id) });
  if (chat.get().open?.id === conversation.id) newConversation();
  await storage.remove({ conversations: [conversation.id] });
  channel.postMessage("changed");
}

// Return the ids of the conversations whose title or messages contain `text`.
export async function search(text) {
  const wanted = text.toLowerCase();
  const has = (each) => each.toLowerCase().includes(wanted);
  const found = new Set(
    chat
      .get()
      .conversations.filter(({ title }) => has(title))
      .map(({ id }) => id),
  );
  for (const message of await storage.allMessages()) {
    if (has(message.content) || message.files.some((file) => has(file.name))) found.add(message.conversation);
  }
  return found;
}

// Return the JSON text of one conversation, or of all.
export async function exportText(conversation = null) {
  if (!conversation) return toExport(await storage.conversations(), await storage.allMessages());
  return toExport([conversation], await storage.messages(conversation.id));
}

// Add the conversations of an exported file. Those that are already here, unchanged, are left out.
export async function importText(text) {
  const found = fromExport(text);
  const stamp = ({ title, created, updated }) => JSON.stringify([title, created, updated]);
  const here = new Set(chat.get().conversations.map(stamp));
  const conversations = found.conversations.filter((each) => !here.has(stamp(each)));
  const ids = new Set(conversations.map(({ id }) => id));
  await storage.save({ conversations, messages: found.messages.filter((each) => ids.has(each.conversation)) });
  channel.postMessage("changed");
  await loadList();
  const skipped = found.conversations.length - conversations.length;
  notify(`Imported ${count(conversations.length)}.${skipped ? ` ${count(skipped)} were here already.` : ""}`);
}

const count = (number) => `${number} ${number === 1 ? "conversation" : "conversations"}`;
