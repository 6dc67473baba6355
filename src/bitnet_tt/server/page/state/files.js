// Text files that belong to a message: {name, text}. The model gets them as text before the message itself.

export const LONG_PASTE = 2000; // Characters. A longer paste becomes a file, so that the message stays readable.
const LARGEST = 2_000_000; // Bytes. Larger files cannot be text that a model reads.

export function pastedFile(text, existing) {
  const names = new Set(existing.map((file) => file.name));
  let number = 1;
  while (names.has(`pasted-${number}.txt`)) number += 1;
  return { name: `pasted-${number}.txt`, text };
}

// Read a file of the user's disk. Throws an Error that says why it is not text.
export async function readTextFile(file) {
  if (file.size > LARGEST) throw new Error(`${file.name} is larger than ${LARGEST / 1e6} MB.`);
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    if (text.includes("\0")) throw new TypeError();
    return { name: file.name, text };
  } catch {
    throw new Error(`${file.name} is not a text file.`);
  }
}

export function withFiles({ content, files }) {
  const parts = files.map((file) => `--- File: ${file.name} ---\n${file.text}\n--- End of ${file.name} ---`);
  return [...parts, content].filter(Boolean).join("\n\n");
}

export function sizeText(text) {
  return text.length < 1000 ? `${text.length} characters` : `${(text.length / 1000).toFixed(1)}k characters`;
}
