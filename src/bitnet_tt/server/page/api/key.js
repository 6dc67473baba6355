// The server's key. It stays in this tab (sessionStorage) and is forgotten when the tab is closed.
const NAME = "bitnet-tt.key";
let inMemory = "";

export function getKey() {
  try {
    return sessionStorage.getItem(NAME) ?? "";
  } catch {
    return inMemory; // The browser forbids storage.
  }
}

export function setKey(key) {
  inMemory = key;
  try {
    if (key) sessionStorage.setItem(NAME, key);
    else sessionStorage.removeItem(NAME);
  } catch {
    // `inMemory` is used.
  }
}
