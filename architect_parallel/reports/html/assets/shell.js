// Around the report: light and dark colours, keyboard shortcuts with their list, links to a comparison.
import { byId, element, root } from "./dom.js";
import { compareWithBase, compareWorkers, showNextWorker, toggleLayout } from "./diff.js";
import { goToNextFile } from "./files.js";
import { preferences } from "./preferences.js";
import { workerById } from "./report_data.js";

const darkSystem = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : darkSystem.matches);

/** Use the chosen colours. Called before the first paint. */
export function restoreTheme() {
  const theme = preferences.read("theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
}

function showTheme() {
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", isDark() ? "Change to light colours" : "Change to dark colours");
}

function switchTheme() {
  root.dataset.theme = isDark() ? "light" : "dark";
  preferences.write("theme", root.dataset.theme);
  showTheme();
}

function goToSection(id) {
  const section = byId(id), title = section.querySelector("h2");
  section.scrollIntoView();
  title.tabIndex = -1;
  title.focus({ preventScroll: true });
}

const SHORTCUTS = [
  { key: "r", action: "Ranking", run: () => goToSection("ranking") },
  { key: "l", action: "Timeline", run: () => goToSection("timeline") },
  { key: "d", action: "Changes", run: () => goToSection("changes") },
  { key: "c", action: "Conflicts", run: () => goToSection("conflicts") },
  { key: "w", action: "Workers", run: () => goToSection("workers") },
  { key: "j", action: "Next file", run: () => goToNextFile(1) },
  { key: "k", action: "Previous file", run: () => goToNextFile(-1) },
  { key: "n", action: "Changes of the next worker", run: () => showNextWorker(1) },
  { key: "p", action: "Changes of the previous worker", run: () => showNextWorker(-1) },
  { key: "b", action: "Compare with the base", run: compareWithBase },
  { key: "s", action: "Side by side or unified", run: toggleLayout },
  { key: "/", action: "Filter files", run: () => byId("filter") && byId("filter").focus() },
  { key: "t", action: "Light or dark", run: switchTheme },
  { key: "?", action: "Show this list", run: showShortcuts },
];
const areShortcutsOn = () => preferences.read("keys") !== "0";

function showShortcuts() {
  let dialog = byId("shortcuts");
  if (!dialog) {
    const checkbox = element("input", {
      type: "checkbox", checked: areShortcutsOn(),
      onchange: (event) => preferences.write("keys", event.target.checked ? "1" : "0"),
    });
    dialog = element("dialog", { id: "shortcuts", "aria-labelledby": "shortcuts-title" },
      element("h2", { id: "shortcuts-title" }, "Keyboard shortcuts"),
      element("dl", null, SHORTCUTS.map(({ key, action }) =>
        element("div", null, element("dt", null, element("kbd", null, key)), element("dd", null, action)))),
      element("p", { class: "muted" }, "Arrow keys move between the tabs of Changes and the cells of Conflicts."),
      element("label", null, checkbox, " Use single-key shortcuts"),
      element("button", { type: "button", class: "action", onclick: () => dialog.close() }, "Close"));
    document.body.append(dialog);
  }
  if (!dialog.open) dialog.showModal();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest("input, select, textarea, dialog") || (!areShortcutsOn() && event.key !== "?")) return;
  const shortcut = SHORTCUTS.find(({ key }) => key === event.key);
  if (!shortcut) return;
  event.preventDefault();
  shortcut.run();
}

/** Open `#changes-2` (worker 2 against the base) or `#changes-1-2` (worker 2 against worker 1). */
export function followLink(hash) {
  const match = /^#changes-(?:(\d+)-)?(\d+)$/.exec(hash);
  if (!match || !workerById(+match[2])) return false;
  compareWorkers(+(match[1] || 0), +match[2]);
  goToSection("changes");
  return true;
}

export function setUpShell() {
  for (const [id, onclick] of [["theme", switchTheme], ["help", showShortcuts]]) {
    byId(id).hidden = false;
    byId(id).addEventListener("click", onclick);
  }
  darkSystem.addEventListener("change", showTheme);
  showTheme();
  document.addEventListener("keydown", onKey);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#changes-']");
    if (link && followLink(link.hash)) event.preventDefault();
  });
  addEventListener("hashchange", () => followLink(location.hash));
}
