// The section Changes: tabs of workers, what to compare with, the layout, and the files.
import { announce, badge, byId, element } from "./dom.js";
import { filterFiles, showFiles } from "./files.js";
import { preferences } from "./preferences.js";
import { report, workerById } from "./report_data.js";

const MIN_SPLIT_WIDTH = 860; // pixels; the layout is side by side from here on unless the user chose otherwise
const MIN_CHOSEN_SPLIT_WIDTH = 560;

/** The choices of the user. `right` is a worker id, `left` a worker id or 0 for the base. */
const view = { left: 0, right: 0, sideBySide: true, filter: "" };
let shownState = "";

export function setUpDiff() {
  const chosen = preferences.read("split");
  view.sideBySide = chosen === null ? innerWidth >= MIN_SPLIT_WIDTH : chosen === "1" && innerWidth >= MIN_CHOSEN_SPLIT_WIDTH;
}

export function buildDiff() {
  const box = byId("diff");
  if (!box || !report.workers.length) return undefined;
  if (!workerById(view.right)) view.right = firstWorker();
  if (!workerById(view.left) || view.left === view.right) view.left = 0;
  const tabs = workerTabs(), tools = toolBar();
  const state = JSON.stringify([view.left, view.right, view.sideBySide, workerById(view.left), workerById(view.right)]);
  if (state === shownState && box.children.length === 3) {
    // Only other workers changed (live): keep the files that the user reads.
    tools.append(byId("size"));
    box.children[0].replaceWith(tabs);
    box.children[1].replaceWith(tools);
    return undefined;
  }
  shownState = state;
  tools.append(element("span", { id: "size", class: "muted" }));
  const filter = element("input", {
    type: "search", id: "filter", placeholder: "Filter files", "aria-label": "Filter files", value: view.filter,
    oninput: (event) => { view.filter = event.target.value; filterFiles(view.filter); },
  });
  box.replaceChildren(tabs, tools, element("div", { class: "diff" },
    element("nav", { class: "list", "aria-label": "Changed files" }, filter, element("ul", { id: "names" })),
    element("div", { id: "files", role: "tabpanel", "aria-labelledby": `tab-${view.right}`, tabindex: -1 })));
  return showFiles(view);
}

/** The best worker of the ranking, if it changed anything. */
function firstWorker() {
  const link = document.querySelector("#ranking tbody a[href^='#worker-']");
  const first = link ? +link.hash.slice("#worker-".length) : 0;
  return workerById(first) ? first : report.workers[0].id;
}

function workerTabs() {
  const tabs = element("div", { role: "tablist", class: "tabs", "aria-label": "Changes of" },
    report.workers.map((worker) => element("button", {
      type: "button", role: "tab", id: `tab-${worker.id}`, "aria-selected": String(worker.id === view.right),
      "aria-controls": "files", tabindex: worker.id === view.right ? 0 : -1,
      onclick: () => compareWorkers(view.left, worker.id),
    }, badge(worker.id), " ", element("span", null, worker.label))));
  tabs.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    showNextWorker(step);
    byId(`tab-${view.right}`).focus();
  });
  return tabs;
}

function toolBar() {
  const against = element("select", { id: "against", onchange: (event) => compareWorkers(+event.target.value, view.right) },
    element("option", { value: 0 }, `the base (${report.base})`),
    report.workers.filter((worker) => worker.id !== view.right)
      .map((worker) => element("option", { value: worker.id }, `worker ${worker.id}: ${worker.label}`)));
  against.value = String(view.left);
  const layoutButton = (name, sideBySide) => element("button", {
    type: "button", "aria-pressed": String(view.sideBySide === sideBySide), onclick: () => setLayout(sideBySide),
  }, name);
  return element("div", { class: "tools" }, element("label", { for: "against" }, "against "), against,
    element("div", { role: "group", class: "modes", "aria-label": "Layout" },
      layoutButton("Side by side", true), layoutButton("Unified", false)));
}

function setLayout(sideBySide) {
  view.sideBySide = sideBySide;
  preferences.write("split", sideBySide ? "1" : "0");
  const hadFocus = document.activeElement && document.activeElement.closest(".modes");
  buildDiff();
  if (hadFocus) document.querySelector(".modes [aria-pressed=true]").focus();
  announce(sideBySide ? "Side by side" : "Unified");
}

export function toggleLayout() {
  if (byId("diff")) setLayout(!view.sideBySide);
}

/** Show what worker `right` has that worker `left` has not; `left` 0 means the base. */
export function compareWorkers(left, right) {
  const focusedId = document.activeElement ? document.activeElement.id : "";
  if (left === right) left = 0;
  Object.assign(view, { left, right });
  history.replaceState(null, "", `#changes-${left ? left + "-" : ""}${right}`);
  const done = buildDiff();
  // The focused control was replaced by a new one.
  if (focusedId === "against") byId("against").focus();
  else if (focusedId.startsWith("tab-")) byId(`tab-${right}`).focus();
  return done;
}

/** Show the worker that is `step` tabs further, around the end; ±Infinity means the last or the first. */
export function showNextWorker(step) {
  const ids = report.workers.map((worker) => worker.id);
  if (!ids.length) return;
  const next = (ids.indexOf(view.right) + step + ids.length) % ids.length;
  compareWorkers(view.left, Number.isFinite(step) ? ids[next] : ids.at(step < 0 ? 0 : -1));
}

export function compareWithBase() {
  if (report.workers.length) compareWorkers(0, view.right);
}
