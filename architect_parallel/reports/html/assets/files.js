// The list of changed files, and a card per file that is filled when it comes near the screen.
import { byId, element, minus, plural, plus } from "./dom.js";
import { listFileChanges } from "./file_changes.js";
import { linesTable } from "./lines.js";
import { report } from "./report_data.js";

const STATUS_NAMES = { A: "added", M: "changed", D: "deleted", R: "renamed", T: "type changed" };
const nearScreen = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) { nearScreen.unobserve(entry.target); entry.target.fill(); }
}, { rootMargin: "600px 0px" });
let latestRequest = 0;

/** Show what worker `right` has that worker `left` has not; `left` 0 means the base. */
export async function showFiles({ left, right, sideBySide, filter }) {
  const request = ++latestRequest, box = byId("files");
  const changes = await listFileChanges(left, right);
  if (request !== latestRequest || !box.isConnected) return; // the user chose something else meanwhile
  const total = (name) => changes.reduce((sum, change) => sum + (change[name] || 0), 0);
  byId("size").replaceChildren(plural(changes.length, "file"), " ", plus(total("added")), " ", minus(total("removed")));
  nearScreen.disconnect();
  box.replaceChildren(...changes.map((change, index) => fileCard(change, index, right, sideBySide)));
  byId("names").replaceChildren(...changes.map(nameItem));
  if (!changes.length) box.replaceChildren(element("p", { class: "lead" }, left ? "The two results do not differ." : "Nothing changed."));
  filterFiles(filter);
}

const statusSign = (change) => element("span",
  { class: `sign ${change.status}`, title: STATUS_NAMES[change.status] || change.status }, change.status);

function nameItem(change, index) {
  const nameStart = change.path.lastIndexOf("/") + 1;
  const link = element("a", {
    href: `#file-${index}`, title: change.path, onclick: (event) => { event.preventDefault(); goToFile(index); },
  }, statusSign(change),
  element("span", { class: "path" }, element("span", { class: "muted" }, change.path.slice(0, nameStart)), change.path.slice(nameStart)),
  ...sizes(change));
  return element("li", null, link);
}

function sizes(change) {
  if (change.added === undefined) return [element("small", null, change.omitted ? "large" : "binary")];
  return [plus(change.added), minus(change.removed)];
}

function fileCard(change, index, workerId, sideBySide) {
  const body = element("div", { class: "body" });
  const card = element("details", { open: true, class: "file", id: `file-${index}`, "data-path": change.path.toLowerCase() },
    element("summary", null, statusSign(change),
      element("code", null, change.oldPath ? `${change.oldPath} → ${change.path}` : change.path),
      ...sizes(change), change.modes ? element("small", null, change.modes) : null), body);
  const lines = Math.min((change.added || 0) + (change.removed || 0) + 6, 60);
  body.style.minHeight = `${lines * 1.2}em`; // about as high as its lines, so that the page does not jump
  card.fill = async () => {
    card.fill = async () => {};
    body.style.minHeight = "";
    body.replaceChildren(await content(change, workerId, sideBySide));
  };
  card.addEventListener("toggle", () => { if (card.open) card.fill(); });
  nearScreen.observe(card);
  return card;
}

async function content(change, workerId, sideBySide) {
  const note = (text) => element("p", { class: "muted note" }, text);
  if (change.omitted) return note(`${change.omitted}. To see it: architect diff ${report.run} ${workerId}`);
  const patch = await change.loadPatch();
  if (patch.binary) return note("A binary file has no lines to show.");
  if (patch.typeChanged) return note("The file type changed. Compare each worker with the base.");
  if (patch.hunks.length) {
    // A new or deleted file has lines on one side only.
    return linesTable(change, patch.hunks, sideBySide && change.status !== "A" && change.status !== "D");
  }
  if (change.oldPath) return note("Renamed without changes.");
  return note(change.modes ? `Only the mode changed: ${change.modes}.` : "The file is empty.");
}

const fileCards = () => [...document.querySelectorAll("#files > .file")];

export function filterFiles(filter) {
  const wanted = filter.trim().toLowerCase(), items = byId("names").children;
  fileCards().forEach((card, index) => {
    card.hidden = !card.dataset.path.includes(wanted);
    items[index].hidden = card.hidden;
  });
}

function goToFile(index) {
  const card = byId(`file-${index}`);
  card.open = true;
  card.fill();
  card.scrollIntoView({ block: "start" });
  card.querySelector("summary").focus({ preventScroll: true });
}

/** Focus the file that is `step` files after the focused one. */
export function goToNextFile(step) {
  const cards = fileCards().filter((card) => !card.hidden);
  if (!cards.length) return;
  const focused = cards.indexOf(document.activeElement && document.activeElement.closest(".file"));
  const next = Math.max(0, Math.min(cards.length - 1, focused + step));
  goToFile(+cards[next].id.slice("file-".length));
}

/** Fill the first cards for printing, where nothing scrolls into view. */
export function fillFilesForPrinting() {
  for (const card of fileCards().slice(0, 200)) card.fill();
}
