// Parts of MathML that KaTeX writes and browsers no longer draw (MathML Core): the page draws them by CSS classes.

export function adaptMath(fragment) {
  for (const table of fragment.querySelectorAll("mtable")) alignColumns(table);
  // A line over or under several letters. Browsers do not stretch its character in every font.
  for (const [tag, style] of [
    ["mover", "math-overline"],
    ["munder", "math-underline"],
  ]) {
    for (const element of fragment.querySelectorAll(tag)) {
      const [body, line] = element.children;
      if (line?.textContent !== "\u203e" || !line.hasAttribute("stretchy")) continue;
      const row = document.createElementNS("http://www.w3.org/1998/Math/MathML", "mrow");
      row.classList.add(style);
      row.append(body);
      element.replaceWith(row);
    }
  }
}

// `columnalign` has a word for each column, `columnspacing` a width for each gap; the last one holds for the rest.
function alignColumns(table) {
  const sides = (table.getAttribute("columnalign") ?? "center").trim().split(/\s+/);
  const gaps = (table.getAttribute("columnspacing") ?? "1em").trim().split(/\s+/);
  for (const row of table.children) {
    [...row.children].forEach((cell, column) => {
      const side = sides[Math.min(column, sides.length - 1)];
      if (side === "left" || side === "right") cell.classList.add(`math-${side}`);
      const isTight = (gap) => gap >= 0 && parseFloat(gaps[Math.min(gap, gaps.length - 1)]) === 0;
      if (isTight(column - 1)) cell.classList.add("math-tight-before");
      if (isTight(column)) cell.classList.add("math-tight-after");
    });
  }
}
