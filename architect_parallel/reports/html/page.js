// The page itself. Nothing is ever parsed as markup here but what the same server sends again (live).
const root = document.documentElement;
const WIDE = 860;
const ROWS_AT_ONCE = 2500;
const LINE_CHARACTERS = 1200;
const ODD = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\u{e0000}-\u{e007f}]/gu;

const store = {
  read(key) { try { return localStorage.getItem("architect-" + key); } catch { return null; } },
  write(key, value) { try { localStorage.setItem("architect-" + key, value); } catch { /* a page without storage */ } },
};
if (["light", "dark"].includes(store.read("theme"))) root.dataset.theme = store.read("theme");

const byId = (id) => document.getElementById(id);

function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props || {})) {
    if (value === null || value === false || value === undefined) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

const say = (words) => { byId("said").textContent = words; };
const badge = (id) => h("span", { class: "n" }, h("span", { class: "heard" }, "worker "), String(id));
const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

/** Text with what is invisible, or turns the line around, written out. */
function visible(text) {
  ODD.lastIndex = 0;
  if (!ODD.test(text)) return [text];
  ODD.lastIndex = 0;
  const parts = [];
  let at = 0;
  for (const found of text.matchAll(ODD)) {
    if (found.index > at) parts.push(text.slice(at, found.index));
    const code = found[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    parts.push(h("span", { class: "odd", title: "an invisible or control character" }, `U+${code}`));
    at = found.index + found[0].length;
  }
  if (at < text.length) parts.push(text.slice(at));
  return parts;
}

const unpacked = new WeakMap();
/** The bytes of a packed block, unpacked once. */
function unpack(id) {
  const block = byId(id);
  if (!block) return Promise.resolve(new Uint8Array());
  if (!unpacked.has(block)) {
    const packed = Uint8Array.from(atob(block.content.textContent), (each) => each.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    unpacked.set(block, new Response(stream).arrayBuffer().then((buffer) => new Uint8Array(buffer)));
  }
  return unpacked.get(block);
}
const decode = (bytes) => new TextDecoder("utf-8").decode(bytes);

// ---- Changes ----

const view = { left: 0, right: 0, split: true, filter: "", shown: "" };
let data = { workers: [], pairs: [] };
const patches = new Map();
const worker = (id) => data.workers.find((each) => each.id === id);

function loadData() {
  data = JSON.parse(byId("data").content.textContent);
  patches.clear();
}

async function patchOf(id, file) {
  if (!file || !file.at) return { hunks: [], binary: false };
  const key = `${id}:${file.at[0]}`;
  if (!patches.has(key)) {
    const bytes = await unpack(`patch-${id}`);
    patches.set(key, parsePatch(decode(bytes.subarray(file.at[0], file.at[0] + file.at[1]))));
  }
  return patches.get(key);
}

/** What is to be shown: a card per file, with how to get its hunks. */
async function cards(left, right) {
  if (!left) {
    return worker(right).files.map((file) => ({
      path: file.p, from: file.o, sign: file.s, added: file.i, removed: file.d, mode: file.m, why: file.why,
      load: () => patchOf(right, file),
    }));
  }
  const key = (file) => file.o || file.p;
  const mine = new Map(worker(left).files.map((file) => [key(file), file]));
  const other = new Map(worker(right).files.map((file) => [key(file), file]));
  const found = [];
  for (const name of [...new Set([...mine.keys(), ...other.keys()])].sort()) {
    const card = await pairCard(left, mine.get(name), right, other.get(name));
    if (card) found.push(card);
  }
  return found;
}

async function pairCard(left, a, right, b) {
  const away = (file) => file && file.s === "D", fresh = (file) => file && file.s === "A";
  const paths = [a ? a.p : b.o || b.p, b ? b.p : a.o || a.p];
  const hasLeft = a ? !away(a) : !fresh(b), hasRight = b ? !away(b) : !fresh(a);
  const card = {
    path: paths[1], from: paths[0] !== paths[1] ? paths[0] : undefined, why: (a && a.why) || (b && b.why),
    sign: !hasLeft ? "A" : !hasRight ? "D" : paths[0] !== paths[1] ? "R" : "M",
  };
  if (!hasLeft && !hasRight) return null;
  if (!a || !b) {
    const [file, id] = a ? [a, left] : [b, right];
    card.added = a ? file.d : file.i;
    card.removed = a ? file.i : file.d;
    card.load = async () => {
      const patch = await patchOf(id, file);
      return a ? { binary: patch.binary, hunks: reversed(patch.hunks) } : patch;
    };
    return card;
  }
  if (card.why) return card;
  const [one, two] = [await patchOf(left, a), await patchOf(right, b)];
  if (one.binary || two.binary || a.s === "T" || b.s === "T") {
    card.load = async () => ({ binary: one.binary || two.binary, typed: !(one.binary || two.binary), hunks: [] });
    return card;
  }
  const hunks = between(one.hunks, two.hunks);
  if (!hunks.length && paths[0] === paths[1]) return null;
  card.added = card.removed = 0;
  for (const hunk of hunks) for (const [sign] of hunk.ops) { card.added += sign === "+"; card.removed += sign === "-"; }
  card.load = async () => ({ binary: false, hunks });
  return card;
}

function buildDiff() {
  const box = byId("diff");
  if (!box || !data.workers.length) return;
  if (!worker(view.right)) view.right = firstChoice();
  if (view.left && (!worker(view.left) || view.left === view.right)) view.left = 0;
  const tabs = h("div", { role: "tablist", class: "tabs", "aria-label": "Changes of" });
  for (const each of data.workers) {
    const chosen = each.id === view.right;
    tabs.append(h("button", {
      type: "button", role: "tab", id: `tab-${each.id}`, "aria-selected": String(chosen), "aria-controls": "files",
      tabindex: chosen ? 0 : -1, onclick: () => choose(view.left, each.id),
    }, badge(each.id), " ", h("span", null, each.label)));
  }
  tabs.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    otherWorker(step);
    byId(`tab-${view.right}`).focus();
  });
  const against = h("select", { id: "against", onchange: (event) => choose(+event.target.value, view.right) },
    h("option", { value: 0 }, `the base (${data.base})`),
    data.workers.filter((each) => each.id !== view.right)
      .map((each) => h("option", { value: each.id }, `worker ${each.id}: ${each.label}`)));
  against.value = String(view.left);
  const modes = h("div", { role: "group", class: "modes", "aria-label": "Layout" },
    mode("Side by side", true), mode("Unified", false));
  const filter = h("input", {
    type: "search", id: "filter", placeholder: "Filter files", "aria-label": "Filter files", value: view.filter,
    oninput: (event) => { view.filter = event.target.value; filterFiles(); },
  });
  const tools = h("div", { class: "tools" }, h("label", { for: "against" }, "against "), against, modes);
  const shown = JSON.stringify([view.left, view.right, view.split, worker(view.left), worker(view.right)]);
  if (shown === view.shown && box.children.length === 3) {
    // Other workers came or went; what is being read stays as it is.
    tools.append(byId("size"));
    box.children[0].replaceWith(tabs);
    box.children[1].replaceWith(tools);
    return undefined;
  }
  view.shown = shown;
  tools.append(h("span", { id: "size", class: "soft" }));
  box.replaceChildren(
    tabs,
    tools,
    h("div", { class: "diff" },
      h("nav", { class: "list", "aria-label": "Changed files" }, filter, h("ul", { id: "names" })),
      h("div", { id: "files", role: "tabpanel", "aria-labelledby": `tab-${view.right}`, tabindex: -1 })));
  return showFiles();
}

function firstChoice() {
  const link = document.querySelector("#ranking tbody a[href^='#worker-']");
  const first = link ? +link.hash.slice(8) : 0;
  return worker(first) ? first : data.workers[0].id;
}

function mode(words, split) {
  return h("button", {
    type: "button", "aria-pressed": String(view.split === split), onclick: () => setSplit(split),
  }, words);
}

function setSplit(split) {
  view.split = split;
  store.write("split", split ? "1" : "0");
  const focused = document.activeElement && document.activeElement.closest(".modes");
  buildDiff();
  if (focused) document.querySelector(".modes [aria-pressed=true]").focus();
  say(split ? "Side by side" : "Unified");
}

function choose(left, right) {
  const focused = document.activeElement && document.activeElement.id;
  if (left === right) left = 0;
  Object.assign(view, { left, right });
  history.replaceState(null, "", `#changes-${left ? left + "-" : ""}${right}`);
  const done = buildDiff();
  if (["against"].includes(focused) || /^tab-/.test(focused)) byId(focused === "against" ? focused : `tab-${right}`).focus();
  return done;
}

function otherWorker(step) {
  const ids = data.workers.map((each) => each.id), last = ids.length - 1;
  const at = ids.indexOf(view.right) + step;
  choose(view.left, ids[Number.isFinite(step) ? (at + ids.length) % ids.length : step < 0 ? 0 : last]);
}

let turn = 0;
const lazy = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) { lazy.unobserve(entry.target); entry.target.fill(); }
}, { rootMargin: "600px 0px" });

async function showFiles() {
  const mine = ++turn, box = byId("files");
  const found = await cards(view.left, view.right);
  if (mine !== turn || !box.isConnected) return;
  const names = byId("names");
  const added = found.reduce((sum, card) => sum + (card.added || 0), 0);
  const removed = found.reduce((sum, card) => sum + (card.removed || 0), 0);
  byId("size").replaceChildren(count(found.length, "file"), " ", h("span", { class: "plus" }, `+${added.toLocaleString("en")}`),
    " ", h("span", { class: "minus" }, `−${removed.toLocaleString("en")}`));
  lazy.disconnect();
  box.replaceChildren(...found.map(fileCard));
  names.replaceChildren(...found.map((card, index) => h("li", null,
    h("a", { href: `#file-${index}`, title: card.path, onclick: (event) => { event.preventDefault(); goTo(index); } },
      h("span", { class: `sign ${card.sign}` }, card.sign), h("span", { class: "path" }, ...shortPath(card.path)),
      ...sizes(card)))));
  if (!found.length) {
    box.replaceChildren(h("p", { class: "lead" }, view.left ? "Both made the same of it: nothing differs." : "Nothing changed."));
  }
  filterFiles();
}

function shortPath(path) {
  const cut = path.lastIndexOf("/") + 1;
  return [h("span", { class: "soft" }, path.slice(0, cut)), path.slice(cut)];
}

function sizes(card) {
  if (card.added === undefined) return [h("small", { class: "soft" }, card.why ? "large" : "binary")];
  return [h("small", { class: "plus" }, `+${card.added}`), h("small", { class: "minus" }, `−${card.removed}`)];
}

const SIGNS = { A: "added", M: "changed", D: "deleted", R: "renamed", T: "type changed" };

function fileCard(card, index) {
  const body = h("div", { class: "body" });
  const name = card.from ? [card.from, " → ", card.path] : [card.path];
  const node = h("details", { open: true, class: "file", id: `file-${index}` },
    h("summary", null, h("span", { class: `sign ${card.sign}`, title: SIGNS[card.sign] || card.sign }, card.sign),
      h("code", null, ...name), ...sizes(card), card.mode ? h("small", { class: "soft" }, card.mode) : null), body);
  node.dataset.path = card.path.toLowerCase();
  const lines = Math.min((card.added || 0) + (card.removed || 0) + 6, 60);
  body.style.minHeight = `${lines * 1.2}em`;
  node.fill = async () => {
    node.fill = async () => {};
    body.style.minHeight = "";
    body.replaceChildren(...await content(card));
  };
  node.addEventListener("toggle", () => { if (node.open) node.fill(); });
  lazy.observe(node);
  return node;
}

async function content(card) {
  const note = (words) => [h("p", { class: "soft note" }, words)];
  if (card.why) return note(`${card.why}: architect diff ${data.run} ${view.right} shows it.`);
  const patch = await card.load();
  if (patch.binary) return note("A binary file: there are no lines to show.");
  if (patch.typed) return note("Its type changed: compare each with the base.");
  if (!patch.hunks.length) return note(card.from ? "Renamed, nothing changed in it." : card.mode ? `Only its mode changed: ${card.mode}.` : "An empty file.");
  return [linesTable(card, patch.hunks)];
}

function linesTable(card, hunks) {
  // What is there on one side only needs no second column.
  const split = view.split && card.sign !== "A" && card.sign !== "D";
  const table = h("table", { class: split ? "lines split" : "lines" },
    h("caption", { class: "heard" }, `Changes of ${card.path}`),
    h("colgroup", null, ...(split ? ["num", "text", "num", "text"] : ["num", "num", "text"]).map((name) => h("col", { class: name }))));
  const body = h("tbody");
  let pending = hunks.flatMap((hunk, index) => [{ hunk, index }, ...rows(hunk)]);
  const more = () => {
    for (const row of pending.slice(0, ROWS_AT_ONCE)) body.append(...(row.hunk ? [gap(row, split)] : split ? [splitRow(row)] : unifiedRows(row)));
    pending = pending.slice(ROWS_AT_ONCE);
    if (pending.length) {
      const again = h("tr", { class: "more" }, h("td", { colspan: 4 }, h("button", {
        type: "button", onclick: () => { again.remove(); more(); },
      }, `Show ${pending.length.toLocaleString("en")} more rows`)));
      body.append(again);
    }
  };
  more();
  table.append(body);
  return table;
}

function gap({ hunk, index }, split) {
  const words = `${index ? "⋯ " : ""}line ${hunk.at + 1}`;
  return h("tr", { class: "gap" }, h("td", { colspan: split ? 4 : 3 }, words));
}

function textCell(line, sign, parts) {
  const cell = h("td", { class: `text ${{ "-": "del", "+": "ins", " ": "", "": "void" }[sign]}` });
  if (sign === "") return cell;
  if (sign !== " ") cell.append(h("span", { class: "mark" }, h("span", { class: "heard" }, sign === "-" ? "removed " : "added "), sign === "-" ? "−" : "+"));
  const open = !line.endsWith("\n");
  let text = open ? line : line.slice(0, -1);
  if (parts && text.length <= LINE_CHARACTERS) {
    for (const [part, differs] of parts) {
      const shown = visible(part.replace(/\n$/, ""));
      cell.append(...(differs ? [h(sign === "-" ? "del" : "ins", null, ...shown)] : shown));
    }
  } else {
    const left = text.length - LINE_CHARACTERS;
    if (left > 0) text = text.slice(0, LINE_CHARACTERS);
    cell.append(...visible(text));
    if (left > 0) cell.append(h("span", { class: "odd" }, `… ${count(left, "more character")}`));
  }
  if (open) cell.append(h("span", { class: "odd", title: "no newline at the end" }, "no newline"));
  return cell;
}

const number = (value) => h("td", { class: "num" }, value === null ? "" : String(value));

function splitRow(row) {
  if (!row.changed) return h("tr", null, number(row.old), textCell(row.left, " "), number(row.now), textCell(row.right, " "));
  const parts = row.left !== null && row.right !== null ? within(row.left, row.right) : null;
  return h("tr", null,
    number(row.old), row.left === null ? textCell("", "") : textCell(row.left, "-", parts && parts[0]),
    number(row.now), row.right === null ? textCell("", "") : textCell(row.right, "+", parts && parts[1]));
}

function unifiedRows(row) {
  if (!row.changed) return [h("tr", null, number(row.old), number(row.now), textCell(row.left, " "))];
  const parts = row.left !== null && row.right !== null ? within(row.left, row.right) : null;
  const found = [];
  if (row.left !== null) found.push(h("tr", null, number(row.old), number(null), textCell(row.left, "-", parts && parts[0])));
  if (row.right !== null) found.push(h("tr", null, number(null), number(row.now), textCell(row.right, "+", parts && parts[1])));
  return found;
}

function filterFiles() {
  const wanted = view.filter.trim().toLowerCase();
  const items = byId("names").children;
  document.querySelectorAll("#files > .file").forEach((node, index) => {
    const fits = node.dataset.path.includes(wanted);
    node.hidden = !fits;
    if (items[index]) items[index].hidden = !fits;
  });
}

function goTo(index) {
  const node = byId(`file-${index}`);
  if (!node) return;
  node.open = true;
  node.fill();
  node.scrollIntoView({ block: "start" });
  node.querySelector("summary").focus({ preventScroll: true });
}

function otherFile(step) {
  const all = [...document.querySelectorAll("#files > .file:not([hidden])")];
  if (!all.length) return;
  const focused = all.indexOf(document.activeElement && document.activeElement.closest(".file"));
  const next = Math.max(0, Math.min(all.length - 1, focused + step));
  goTo(+all[next].id.slice(5));
}

// ---- Conflicts ----

function setUpMatrix() {
  const table = document.querySelector(".matrix");
  if (!table) return;
  const first = table.querySelector("button");
  if (first) first.tabIndex = 0;
  table.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) showPair(button);
  });
  table.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const cell = event.target.closest("td");
    if (!step || !cell) return;
    event.preventDefault();
    let [row, column] = [cell.parentNode.rowIndex, cell.cellIndex];
    for (;;) {
      row += step[0];
      column += step[1];
      const next = table.rows[row] && table.rows[row].cells[column];
      if (!next || !row || !column) return;
      const button = next.querySelector("button");
      if (!button) continue;
      event.target.tabIndex = -1;
      button.tabIndex = 0;
      button.focus();
      return;
    }
  });
}

function showPair(button) {
  const [a, b] = [button.dataset.a, +button.dataset.b];
  const pair = data.pairs.find((each) => (String(each.a) === a && each.b === b) || (each.a === b && String(each.b) === a));
  const box = byId("pair");
  if (!pair || !box) return;
  document.querySelectorAll(".matrix [aria-current]").forEach((each) => each.removeAttribute("aria-current"));
  button.setAttribute("aria-current", "true");
  const isWorker = typeof pair.a === "number";
  const name = isWorker ? badge(pair.a) : h("code", null, pair.a);
  const look = isWorker && worker(pair.a) && worker(pair.b)
    ? h("button", { type: "button", class: "action", onclick: () => { choose(pair.a, pair.b); byId("changes").scrollIntoView(); byId("against").focus({ preventScroll: true }); } }, "Show how they differ")
    : null;
  box.hidden = false;
  box.replaceChildren(
    h("p", null, name, " and ", badge(pair.b), pair.clean ? " merge cleanly. " : ` are in conflict over ${count(pair.files.length, "file")}. `, look),
    h("ul", { class: "plain" }, pair.files.map((path) => h("li", null, h("code", null, path)))));
}

// ---- Transcripts ----

document.addEventListener("toggle", async (event) => {
  const box = event.target.open && event.target.querySelector && event.target.querySelector("pre[data-log]:empty");
  if (!box) return;
  box.textContent = "…";
  box.textContent = decode(await unpack(`log-${box.dataset.log}`));
}, true);

// ---- Light, dark, help, keys ----

const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);

function showTheme() {
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", isDark() ? "Change to light colours" : "Change to dark colours");
}

function switchTheme() {
  root.dataset.theme = isDark() ? "light" : "dark";
  store.write("theme", root.dataset.theme);
  showTheme();
}

const toSection = (id) => () => {
  const section = byId(id);
  section.scrollIntoView();
  const title = section.querySelector("h2");
  title.tabIndex = -1;
  title.focus({ preventScroll: true });
};
const KEYS = [
  ["r", "Ranking", toSection("ranking")],
  ["l", "Timeline", toSection("timeline")],
  ["d", "Changes", toSection("changes")],
  ["c", "Conflicts", toSection("conflicts")],
  ["w", "Workers", toSection("workers")],
  ["j", "Next file", () => otherFile(1)],
  ["k", "Previous file", () => otherFile(-1)],
  ["n", "Changes of the next worker", () => data.workers.length && otherWorker(1)],
  ["p", "Changes of the previous worker", () => data.workers.length && otherWorker(-1)],
  ["b", "Against the base", () => data.workers.length && choose(0, view.right)],
  ["s", "Side by side or unified", () => byId("diff") && setSplit(!view.split)],
  ["/", "Filter files", () => byId("filter") && byId("filter").focus()],
  ["t", "Light or dark", switchTheme],
  ["?", "This list", () => help()],
];

function help() {
  let box = byId("keys");
  if (!box) {
    const off = h("input", { type: "checkbox", id: "keys-on", onchange: (event) => store.write("keys", event.target.checked ? "1" : "0") });
    off.checked = store.read("keys") !== "0";
    box = h("dialog", { id: "keys", "aria-labelledby": "keys-title" },
      h("h2", { id: "keys-title" }, "Keys"),
      h("dl", null, KEYS.map(([key, words]) => h("div", null, h("dt", null, h("kbd", null, key)), h("dd", null, words)))),
      h("p", { class: "soft" }, "Arrow keys move between the tabs of Changes and the cells of Conflicts."),
      h("label", null, off, " Single keys do this"),
      h("button", { type: "button", class: "action", onclick: () => box.close() }, "Close"));
    document.body.append(box);
  }
  if (!box.open) box.showModal();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest("input, select, textarea, dialog") || (store.read("keys") === "0" && event.key !== "?")) return;
  const found = KEYS.find(([key]) => key === event.key);
  if (!found) return;
  event.preventDefault();
  found[2]();
});

function follow(hash) {
  const found = /^#changes-(?:(\d+)-)?(\d+)$/.exec(hash);
  if (!found || !worker(+found[2])) return false;
  choose(+(found[1] || 0), +found[2]);
  toSection("changes")();
  return true;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#changes-']");
  if (link && follow(link.hash)) event.preventDefault();
});

// ---- Live ----

const original = new Map();
const units = (main) => [...main.querySelectorAll(":scope > [id]:not(#workers), #workers > article")];

function goLive(address, version) {
  for (const unit of units(byId("main"))) original.set(unit.id, unit.outerHTML);
  const policy = window.trustedTypes ? trustedTypes.createPolicy("architect-live", { createHTML: (text) => text }) : null;
  const state = h("span", { class: "pill live", id: "connection", role: "status" }, "connecting");
  document.querySelector("nav.top ul").after(state);
  let busy = false, again = false;
  const refresh = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      do {
        again = false;
        const text = await pageText();
        if (!text) continue; // whoever comes back to the stream is told the state again
        const next = new DOMParser().parseFromString(policy ? policy.createHTML(text) : text, "text/html");
        takeOver(next);
        version = next.querySelector("meta[name=architect-events]").dataset.state;
      } while (again);
    } finally { busy = false; }
  };
  const events = new EventSource(address);
  events.addEventListener("state", (event) => {
    state.textContent = "live";
    state.className = "pill live";
    if (version !== event.data) refresh();
  });
  events.addEventListener("error", () => { state.textContent = "not connected"; state.className = "pill none"; });
}

/** The page as it is now; nothing when the server is gone, which the stream of events says. */
async function pageText() {
  try {
    const answer = await fetch(location.pathname + location.search, { cache: "no-store" });
    return answer.ok ? await answer.text() : "";
  } catch { return ""; }
}

/** The unit the reader is at: that of the focus, else the first that begins in sight, else the one that fills it. */
function readersUnit(all) {
  const seen = (unit) => { const place = unit.getBoundingClientRect(); return place.bottom > 60 && place.top < innerHeight; };
  const top = (unit) => unit.getBoundingClientRect().top;
  return all.find((unit) => unit.contains(document.activeElement) && seen(unit))
    || all.find((unit) => top(unit) >= 0 && seen(unit)) || all.find(seen);
}

/** Puts what is new of a later state of the page into this one; the reader's place, focus and folds stay. */
function takeOver(next) {
  const main = byId("main");
  root.style.overflowAnchor = "none"; // one who keeps the place is enough
  requestAnimationFrame(() => requestAnimationFrame(() => { root.style.overflowAnchor = ""; }));
  const anchor = readersUnit(units(main));
  const before = anchor && anchor.getBoundingClientRect().top, anchorId = anchor && anchor.id;
  const focused = document.activeElement && document.activeElement.id;
  for (const unit of units(next.getElementById("main"))) {
    const old = byId(unit.id), text = unit.outerHTML;
    if (original.get(unit.id) === text && old) continue;
    original.set(unit.id, text);
    unit.querySelectorAll("details[id]").forEach((each) => {
      const was = byId(each.id);
      if (was) each.open = was.open;
    });
    if (old) old.replaceWith(document.importNode(unit, true));
    else insertInOrder(main, document.importNode(unit, true), next);
  }
  for (const old of units(main)) if (!next.getElementById(old.id)) { old.remove(); original.delete(old.id); }
  document.title = next.title;
  const blocks = next.getElementById("blocks");
  if (blocks.innerHTML !== byId("blocks").innerHTML) {
    byId("blocks").replaceWith(document.importNode(blocks, true));
    loadData();
    buildDiff();
  } else if (byId("diff") && !byId("diff").firstChild) buildDiff();
  setUpMatrix();
  const place = anchorId && byId(anchorId);
  if (place) scrollBy(0, place.getBoundingClientRect().top - before);
  if (focused && byId(focused) && document.activeElement !== byId(focused)) byId(focused).focus({ preventScroll: true });
}

function insertInOrder(main, unit, next) {
  const order = [...next.getElementById("main").children].map((each) => each.id);
  const at = order.indexOf(unit.id);
  const after = [...main.children].find((each) => order.indexOf(each.id) > at);
  main.insertBefore(unit, after || null);
}

document.addEventListener("DOMContentLoaded", () => {
  root.classList.add("scripted");
  for (const id of ["theme", "help"]) byId(id).hidden = false;
  byId("theme").addEventListener("click", switchTheme);
  byId("help").addEventListener("click", help);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
  showTheme();
  const split = store.read("split");
  view.split = split === null ? innerWidth >= WIDE : split === "1" && innerWidth >= 560;
  loadData();
  setUpMatrix();
  addEventListener("hashchange", () => follow(location.hash));
  addEventListener("beforeprint", () => document.querySelectorAll("#files > .file").forEach((node, index) => index < 200 && node.fill()));
  const live = document.querySelector("meta[name=architect-events]");
  if (live) goLive(live.content, live.dataset.state);
  // The first paint does not wait for the diffs.
  requestAnimationFrame(() => setTimeout(async () => { await buildDiff(); follow(location.hash); root.dataset.ready = "true"; }));
});
