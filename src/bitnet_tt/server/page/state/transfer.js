// Export and import of conversations as one JSON file. An imported file is checked field by field: it may be anything.
import { newId } from "./tree.js";

const FORMAT = "bitnet-tt conversations";
const VERSION = 1;

export function toExport(conversations, messages) {
  return JSON.stringify(
    {
      format: FORMAT,
      version: VERSION,
      exported: new Date().toISOString(),
      conversations: conversations.map((conversation) => ({
        ...conversation,
        messages: messages
          .filter((message) => message.conversation === conversation.id)
          .sort((a, b) => a.created - b.created),
      })),
    },
    null,
    1,
  );
}

const isText = (value) => typeof value === "string";
const isNumber = (value) => Number.isFinite(value);
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isObjectOrNull = (value) => value === null || isObject(value);
const isTextOrNull = (value) => value === null || isText(value);
const isFiles = (value) =>
  Array.isArray(value) && value.every((file) => isObject(file) && isText(file.name) && isText(file.text));

// Each field of a record: its check, and its value where the file leaves it out (none: the field is required).
const CONVERSATION = {
  id: [isText],
  title: [isText],
  created: [isNumber],
  updated: [isNumber],
  chosen: [(value) => isObject(value) && Object.values(value).every(isText), {}],
};
const MESSAGE = {
  id: [isText],
  parent: [isTextOrNull],
  role: [(value) => value === "user" || value === "assistant"],
  content: [isText],
  created: [isNumber],
  files: [isFiles, []],
  reasoning: [isText, ""],
  model: [isText, ""],
  status: [(value) => ["done", "stopped", "failed", "running"].includes(value), "done"],
  finish: [isTextOrNull, null],
  error: [isObjectOrNull, null],
  stats: [isObjectOrNull, null],
};
const ERROR = { kind: [isText], message: [isText], detail: [isText, ""], waitUntil: [isNumber, 0] };
const STATS = {
  promptTokens: [isNumber, 0],
  tokens: [isNumber, 0],
  cachedTokens: [isNumber, 0],
  speed: [isNumber, 0],
  firstSeconds: [isNumber, 0],
  exact: [(value) => typeof value === "boolean", false],
};

function checked(record, fields, where) {
  if (!isObject(record)) throw new Error(`${where} is not an object.`);
  const result = {};
  for (const [name, [check, standard]] of Object.entries(fields)) {
    const value = record[name] ?? standard;
    if (value === undefined && record[name] !== null) throw new Error(`${where} has no "${name}".`);
    if (!check(value ?? null)) throw new Error(`${where}: "${name}" is not valid.`);
    result[name] = value ?? null;
  }
  return result;
}

function checkedMessage(record, where) {
  const message = checked(record, MESSAGE, where);
  message.files = message.files.map(({ name, text }) => ({ name, text }));
  if (message.error) message.error = checked(message.error, ERROR, `${where}, error`);
  if (message.stats) message.stats = checked(message.stats, STATS, `${where}, stats`);
  return message;
}

// The parents must form a tree, or drawing a conversation would never end.
function checkTree(messages, where) {
  const parents = new Map(messages.map((message) => [message.id, message.parent]));
  if (parents.size !== messages.length) throw new Error(`${where}: two messages have the same "id".`);
  for (const message of messages) {
    let steps = 0;
    for (let id = message.parent; id !== null; id = parents.get(id)) {
      if (!parents.has(id)) throw new Error(`${where}: a message has an unknown "parent".`);
      if (++steps > messages.length) throw new Error(`${where}: messages are their own parents.`);
    }
  }
}

// Return {conversations, messages} of an exported file. Every id is replaced, so nothing that exists is overwritten.
export function fromExport(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error("The file is not JSON.");
  }
  if (!isObject(file) || file.format !== FORMAT) throw new Error("The file is not an export of this page.");
  if (file.version !== VERSION)
    throw new Error(`The file has version ${file.version}; this page reads version ${VERSION}.`);
  if (!Array.isArray(file.conversations)) throw new Error('The file has no "conversations".');

  const result = { conversations: [], messages: [] };
  file.conversations.forEach((record, index) => {
    const where = `Conversation ${index + 1}`;
    const conversation = checked(record, CONVERSATION, where);
    if (!Array.isArray(record.messages)) throw new Error(`${where} has no "messages".`);
    const messages = record.messages.map((each, at) => checkedMessage(each, `${where}, message ${at + 1}`));
    checkTree(messages, where);

    const ids = new Map(messages.map((message) => [message.id, newId()]));
    const renamed = (id) => ids.get(id) ?? id;
    conversation.id = newId();
    conversation.chosen = Object.fromEntries(
      Object.entries(conversation.chosen).map(([parent, child]) => [renamed(parent), renamed(child)]),
    );
    for (const message of messages) {
      result.messages.push({
        ...message,
        id: renamed(message.id),
        parent: message.parent === null ? null : renamed(message.parent),
        conversation: conversation.id,
        status: message.status === "running" ? "stopped" : message.status,
      });
    }
    result.conversations.push(conversation);
  });
  return result;
}
