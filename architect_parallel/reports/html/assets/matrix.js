// The section Conflicts: move through the matrix with arrow keys, and show what a cell stands for.
import { badge, byId, element, plural } from "./dom.js";
import { compareWorkers } from "./diff.js";
import { report, workerById } from "./report_data.js";

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const tablesWithListeners = new WeakSet();

export function setUpMatrix() {
  const table = document.querySelector(".matrix");
  if (!table || tablesWithListeners.has(table)) return;
  tablesWithListeners.add(table);
  const first = table.querySelector("button");
  if (first) first.tabIndex = 0;
  table.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) showPair(button);
  });
  table.addEventListener("keydown", (event) => {
    const step = STEPS[event.key], cell = event.target.closest("td");
    if (!step || !cell) return;
    event.preventDefault();
    const button = nextButton(table, cell, step);
    if (!button) return;
    event.target.tabIndex = -1;
    button.tabIndex = 0;
    button.focus();
  });
}

/** The next cell with a button in a direction; the first row and column are headings. */
function nextButton(table, cell, [rowStep, columnStep]) {
  let row = cell.parentNode.rowIndex, column = cell.cellIndex;
  for (;;) {
    row += rowStep;
    column += columnStep;
    const next = table.rows[row] && table.rows[row].cells[column];
    if (!next || !row || !column) return null;
    const button = next.querySelector("button");
    if (button) return button;
  }
}

function showPair(button) {
  const { a, b } = button.dataset, box = byId("pair");
  const isPair = (x, y) => String(x) === a && String(y) === b;
  const pair = report.pairs.find((candidate) => isPair(candidate.a, candidate.b) || isPair(candidate.b, candidate.a));
  if (!pair || !box) return;
  for (const cell of document.querySelectorAll(".matrix [aria-current]")) cell.removeAttribute("aria-current");
  button.setAttribute("aria-current", "true");
  const isWorker = typeof pair.a === "number";
  const showChanges = () => {
    compareWorkers(pair.a, pair.b);
    byId("changes").scrollIntoView();
    byId("against").focus({ preventScroll: true });
  };
  box.hidden = false;
  box.replaceChildren(
    element("p", null, isWorker ? badge(pair.a) : element("code", null, pair.a), " and ", badge(pair.b),
      pair.clean ? " merge cleanly. " : ` are in conflict over ${plural(pair.files.length, "file")}. `,
      isWorker && workerById(pair.a) && workerById(pair.b)
        ? element("button", { type: "button", class: "action", onclick: showChanges }, "Show how they differ") : null),
    element("ul", { class: "plain" }, pair.files.map((path) => element("li", null, element("code", null, path)))));
}
