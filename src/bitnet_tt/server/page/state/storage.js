// Conversations in the browser's IndexedDB: one record for each conversation, one for each message.
// While an answer streams, only its own message is written again.

const request = (made) =>
  new Promise((resolve, reject) => {
    made.onsuccess = () => resolve(made.result);
    made.onerror = () => reject(made.error);
  });

const finished = (transaction) =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });

class BrowserStorage {
  constructor(database) {
    this.database = database;
    this.permanent = true;
  }

  static async open() {
    const opening = indexedDB.open("bitnet-tt", 1);
    opening.onupgradeneeded = () => {
      opening.result.createObjectStore("conversations", { keyPath: "id" });
      opening.result.createObjectStore("messages", { keyPath: "id" }).createIndex("conversation", "conversation");
    };
    return new BrowserStorage(await request(opening));
  }

  conversations() {
    return request(this.database.transaction("conversations").objectStore("conversations").getAll());
  }

  messages(conversation) {
    return request(
      this.database.transaction("messages").objectStore("messages").index("conversation").getAll(conversation),
    );
  }

  allMessages() {
    return request(this.database.transaction("messages").objectStore("messages").getAll());
  }

  // Write conversations and messages: all of them or, if the disk is full, none.
  async save({ conversations = [], messages = [] }) {
    const transaction = this.database.transaction(["conversations", "messages"], "readwrite");
    for (const each of conversations) transaction.objectStore("conversations").put(each);
    for (const each of messages) transaction.objectStore("messages").put(each);
    transaction.commit(); // At once: a page that is being closed gets no later chance.
    await finished(transaction);
  }

  async remove({ conversations = [], messages = [] }) {
    const transaction = this.database.transaction(["conversations", "messages"], "readwrite");
    const store = transaction.objectStore("messages");
    for (const id of messages) store.delete(id);
    for (const id of conversations) {
      transaction.objectStore("conversations").delete(id);
      const keys = store.index("conversation").getAllKeys(id);
      keys.onsuccess = () => keys.result.forEach((each) => store.delete(each));
    }
    await finished(transaction);
  }
}

// The same, for browsers that forbid IndexedDB (some private windows): everything is gone with the page.
class MemoryStorage {
  constructor() {
    this.stored = { conversations: new Map(), messages: new Map() };
    this.permanent = false;
  }

  async conversations() {
    return [...this.stored.conversations.values()];
  }

  async messages(conversation) {
    return (await this.allMessages()).filter((message) => message.conversation === conversation);
  }

  async allMessages() {
    return [...this.stored.messages.values()];
  }

  async save({ conversations = [], messages = [] }) {
    for (const each of conversations) this.stored.conversations.set(each.id, each);
    for (const each of messages) this.stored.messages.set(each.id, each);
  }

  async remove({ conversations = [], messages = [] }) {
    for (const id of messages) this.stored.messages.delete(id);
    for (const id of conversations) {
      this.stored.conversations.delete(id);
      for (const each of await this.messages(id)) this.stored.messages.delete(each.id);
    }
  }
}

export async function openStorage() {
  try {
    return await BrowserStorage.open();
  } catch {
    return new MemoryStorage();
  }
}
