// A patch as a table of lines, side by side or unified.
import { element, hiddenText, plural, visibleText } from "./dom.js";
import { compareWords, rowsOf } from "./patch.js";

const ROWS_AT_ONCE = 2500;
const MAX_LINE_CHARACTERS = 1200;

export function linesTable(change, hunks, sideBySide) {
  const columns = sideBySide ? ["number", "text", "number", "text"] : ["number", "number", "text"];
  const body = element("tbody");
  let pending = hunks.flatMap((hunk, index) => [{ hunk, index }, ...rowsOf(hunk)]);
  const appendRows = () => {
    for (const row of pending.slice(0, ROWS_AT_ONCE)) {
      if (row.hunk) body.append(hunkRow(row, columns.length));
      else body.append(...(sideBySide ? sideBySideRow(row) : unifiedRows(row)));
    }
    pending = pending.slice(ROWS_AT_ONCE);
    if (!pending.length) return;
    const button = element("button", { type: "button", onclick: () => { more.remove(); appendRows(); } },
      `Show ${plural(pending.length, "more row")}`);
    const more = element("tr", { class: "more" }, element("td", { colspan: columns.length }, button));
    body.append(more);
  };
  appendRows();
  return element("table", { class: sideBySide ? "lines split" : "lines" },
    element("caption", { class: "visually-hidden" }, `Changes of ${change.path}`),
    element("colgroup", null, columns.map((name) => element("col", { class: name }))), body);
}

function hunkRow({ hunk, index }, columns) {
  return element("tr", { class: "hunk" }, element("td", { colspan: columns }, `${index ? "⋯ " : ""}line ${hunk.start + 1}`));
}

const numberCell = (number) => element("td", { class: "number" }, number === null ? "" : String(number));
const absentCell = () => element("td", { class: "text absent" });
const wordsOf = (row) => (row.left !== null && row.right !== null && compareWords(row.left, row.right)) || [null, null];

function sideBySideRow(row) {
  const [leftWords, rightWords] = row.changed ? wordsOf(row) : [null, null];
  const cell = (text, sign, words) => (text === null ? absentCell() : textCell(text, row.changed ? sign : " ", words));
  return [element("tr", null,
    numberCell(row.oldNumber), cell(row.left, "-", leftWords), numberCell(row.newNumber), cell(row.right, "+", rightWords))];
}

function unifiedRows(row) {
  const tableRow = (oldNumber, newNumber, cell) => element("tr", null, numberCell(oldNumber), numberCell(newNumber), cell);
  if (!row.changed) return [tableRow(row.oldNumber, row.newNumber, textCell(row.left, " "))];
  const [leftWords, rightWords] = wordsOf(row), rows = [];
  if (row.left !== null) rows.push(tableRow(row.oldNumber, null, textCell(row.left, "-", leftWords)));
  if (row.right !== null) rows.push(tableRow(null, row.newNumber, textCell(row.right, "+", rightWords)));
  return rows;
}

const SIGNS = {
  "-": { style: "del", tag: "del", mark: "−", spoken: "removed " },
  "+": { style: "ins", tag: "ins", mark: "+", spoken: "added " },
};

/** A cell with a line. `words` marks the words that differ, as `compareWords` returns them. */
function textCell(line, sign, words) {
  const kind = SIGNS[sign];
  const cell = element("td", { class: kind ? `text ${kind.style}` : "text" });
  if (kind) cell.append(element("span", { class: "mark" }, hiddenText(kind.spoken), kind.mark));
  const text = line.replace(/\n$/, "");
  if (words && text.length <= MAX_LINE_CHARACTERS) {
    for (const [part, differs] of words) {
      const nodes = visibleText(part.replace(/\n$/, ""));
      cell.append(...(differs ? [element(kind.tag, null, ...nodes)] : nodes));
    }
  } else {
    const omitted = text.length - MAX_LINE_CHARACTERS;
    cell.append(...visibleText(text.slice(0, MAX_LINE_CHARACTERS)));
    if (omitted > 0) cell.append(element("span", { class: "invisible" }, `… ${plural(omitted, "more character")}`));
  }
  if (text === line) cell.append(element("span", { class: "invisible", title: "no newline at the end" }, "no newline"));
  return cell;
}
