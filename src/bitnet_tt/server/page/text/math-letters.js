// Letters such as those of \mathbb and \mathcal. KaTeX marks them with the attribute mathvariant, which browsers no
// longer read: MathML Core wants the letters themselves, from Unicode's Mathematical Alphanumeric Symbols.

// The code points of A, a and 0 in each alphabet (0: it has no such letters).
const ALPHABETS = {
  bold: [0x1d400, 0x1d41a, 0x1d7ce],
  italic: [0x1d434, 0x1d44e, 0],
  "bold-italic": [0x1d468, 0x1d482, 0],
  script: [0x1d49c, 0x1d4b6, 0],
  fraktur: [0x1d504, 0x1d51e, 0],
  "bold-fraktur": [0x1d56c, 0x1d586, 0],
  "double-struck": [0x1d538, 0x1d552, 0x1d7d8],
  "sans-serif": [0x1d5a0, 0x1d5ba, 0x1d7e2],
  "bold-sans-serif": [0x1d5d4, 0x1d5ee, 0x1d7ec],
  "sans-serif-italic": [0x1d608, 0x1d622, 0],
  monospace: [0x1d670, 0x1d68a, 0x1d7f6],
};

// Letters that Unicode had before it got the alphabets. Their places in the alphabets are empty.
const OLDER = {
  italic: { h: "ℎ" },
  script: { B: "ℬ", E: "ℰ", F: "ℱ", H: "ℋ", I: "ℐ", L: "ℒ", M: "ℳ", R: "ℛ", e: "ℯ", g: "ℊ", o: "ℴ" },
  fraktur: { C: "ℭ", H: "ℌ", I: "ℑ", R: "ℜ", Z: "ℨ" },
  "double-struck": { C: "ℂ", H: "ℍ", N: "ℕ", P: "ℙ", Q: "ℚ", R: "ℝ", Z: "ℤ" },
};

function letter(character, variant) {
  const older = OLDER[variant]?.[character];
  if (older) return older;
  const [capital, small, digit] = ALPHABETS[variant];
  const moved = (first, start) => (start ? String.fromCodePoint(start + character.charCodeAt(0) - first) : character);
  if (/[A-Z]/.test(character)) return moved(65, capital);
  if (/[a-z]/.test(character)) return moved(97, small);
  if (/[0-9]/.test(character)) return moved(48, digit);
  return character;
}

// Replace the letters of elements with a mathvariant. "normal" is the one value that browsers read.
export function withLetters(mathml) {
  return mathml.replace(
    /<(m[a-z]+) mathvariant="([a-z-]+)"([^>]*)>([^<&]*)<\/\1>/g,
    (whole, tag, variant, rest, text) => {
      if (!ALPHABETS[variant]) return whole;
      return `<${tag}${rest}>${[...text].map((each) => letter(each, variant)).join("")}</${tag}>`;
    },
  );
}
