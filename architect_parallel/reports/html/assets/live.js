// Follow a run that is served live: the server announces each new state, and the page replaces the parts that changed.
// A part is a child of `main` with an id, or the article of a worker.
import { byId, element, root } from "./dom.js";
import { buildDiff } from "./diff.js";
import { setUpMatrix } from "./matrix.js";
import { loadReport } from "./report_data.js";

const BAR_HEIGHT = 60; // pixels that the navigation bar covers
const serverMarkup = new Map(); // part id → its markup as the server sent it, before scripts changed it
const partsOf = (main) => [...main.querySelectorAll(":scope > [id]:not(#workers), #workers > article")];

/** Follow the event stream at `address`; `version` is the state that the page shows. */
export function followRun(address, version) {
  for (const part of partsOf(byId("main"))) serverMarkup.set(part.id, part.outerHTML);
  // Only this policy may parse markup, and only markup from the same server. See the Content-Security-Policy.
  const policy = window.trustedTypes ? trustedTypes.createPolicy("architect-live", { createHTML: (text) => text }) : null;
  const connection = element("span", { class: "pill live", id: "connection", role: "status" }, "connecting");
  document.querySelector("nav.top ul").after(connection);
  let isBusy = false, isOutdated = false;
  const refresh = async () => {
    if (isBusy) { isOutdated = true; return; }
    isBusy = true;
    try {
      do {
        isOutdated = false;
        const text = await fetchPage();
        if (!text) continue; // after a reconnect the stream announces the state again
        const next = new DOMParser().parseFromString(policy ? policy.createHTML(text) : text, "text/html");
        update(next);
        version = next.querySelector("meta[name=architect-events]").dataset.state;
      } while (isOutdated);
    } finally { isBusy = false; }
  };
  const events = new EventSource(address);
  events.addEventListener("state", (event) => {
    connection.textContent = "live";
    connection.className = "pill live";
    if (version !== event.data) refresh();
  });
  events.addEventListener("error", () => { connection.textContent = "not connected"; connection.className = "pill none"; });
}

/** Fetch the page in its newest state; "" if the server does not answer. The event stream reports that to the user. */
async function fetchPage() {
  try {
    const answer = await fetch(location.pathname + location.search, { cache: "no-store" });
    return answer.ok ? await answer.text() : "";
  } catch { return ""; }
}

/** The part that the user reads: the one with the focus, else the first that starts on the screen, else any on it. */
function currentPart(parts) {
  const top = (part) => part.getBoundingClientRect().top;
  const isVisible = (part) => part.getBoundingClientRect().bottom > BAR_HEIGHT && top(part) < innerHeight;
  return parts.find((part) => part.contains(document.activeElement) && isVisible(part))
    || parts.find((part) => top(part) >= 0 && isVisible(part)) || parts.find(isVisible);
}

/** Replace the parts that changed. The scroll position, the focus and open details stay. */
function update(next) {
  const main = byId("main");
  root.style.overflowAnchor = "none"; // the browser must not correct the scroll position a second time
  requestAnimationFrame(() => requestAnimationFrame(() => { root.style.overflowAnchor = ""; }));
  const anchor = currentPart(partsOf(main));
  const anchorId = anchor && anchor.id, topBefore = anchor && anchor.getBoundingClientRect().top;
  const focusedId = document.activeElement && document.activeElement.id;
  replaceParts(main, next);
  document.title = next.title;
  const blocks = next.getElementById("blocks");
  if (blocks.innerHTML !== byId("blocks").innerHTML) {
    byId("blocks").replaceWith(document.importNode(blocks, true));
    loadReport();
    buildDiff();
  } else if (byId("diff") && !byId("diff").firstChild) buildDiff();
  setUpMatrix();
  const anchorAfter = anchorId && byId(anchorId);
  if (anchorAfter) scrollBy(0, anchorAfter.getBoundingClientRect().top - topBefore);
  const focused = focusedId && byId(focusedId);
  if (focused && document.activeElement !== focused) focused.focus({ preventScroll: true });
}

function replaceParts(main, next) {
  for (const part of partsOf(next.getElementById("main"))) {
    const old = byId(part.id), markup = part.outerHTML;
    if (old && serverMarkup.get(part.id) === markup) continue;
    serverMarkup.set(part.id, markup);
    for (const details of part.querySelectorAll("details[id]")) {
      const oldDetails = byId(details.id);
      if (oldDetails) details.open = oldDetails.open;
    }
    if (old) old.replaceWith(document.importNode(part, true));
    else insertInOrder(main, document.importNode(part, true), next);
  }
  for (const old of partsOf(main)) {
    if (!next.getElementById(old.id)) { old.remove(); serverMarkup.delete(old.id); }
  }
}

function insertInOrder(main, part, next) {
  const order = [...next.getElementById("main").children].map((child) => child.id);
  const position = order.indexOf(part.id);
  main.insertBefore(part, [...main.children].find((child) => order.indexOf(child.id) > position) || null);
}
