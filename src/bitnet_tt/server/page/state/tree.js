// A conversation is a tree of messages. Editing or regenerating adds a sibling; nothing is overwritten.
//
// A message has `id`, `parent` (an id, or null for the first), `role`, `content`, `files` and `created`.
// `chosen` maps a parent's id (or ROOT) to the id of the child that is shown.

export const ROOT = "root";

const key = (parent) => parent ?? ROOT;

// Return a map from each parent's id (null for none) to its children, oldest first.
export function childrenByParent(messages) {
  const children = new Map();
  for (const message of [...messages].sort((a, b) => a.created - b.created)) {
    if (!children.has(message.parent)) children.set(message.parent, []);
    children.get(message.parent).push(message);
  }
  return children;
}

// The messages from the first to the last one shown. Where nothing was chosen, the newest child is shown.
export function shownPath(children, chosen) {
  const path = [];
  for (let parent = null; children.has(parent); parent = path.at(-1).id) {
    const versions = children.get(parent);
    path.push(versions.find((message) => message.id === chosen[key(parent)]) ?? versions.at(-1));
  }
  return path;
}

// The messages from the first one to `message`.
export function pathTo(messages, message) {
  const byId = new Map(messages.map((each) => [each.id, each]));
  const path = [];
  for (let each = message; each; each = byId.get(each.parent)) path.unshift(each);
  return path;
}

export function choose(chosen, message) {
  return { ...chosen, [key(message.parent)]: message.id };
}

let lastTime = 0;

// The time in milliseconds, never the same twice: it orders siblings.
export function uniqueTime() {
  lastTime = Math.max(Date.now(), lastTime + 1);
  return lastTime;
}

// `crypto.randomUUID` exists only on localhost and https. Over plain http in a local network, this works too.
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
