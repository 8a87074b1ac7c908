// Parse and compare patches. Pure: no page, no side effects.
//
// A hunk is {start, count, newStart, lines}: `start` and `newStart` count from 0 in the old and the new file, `count` is
// its number of old lines, and `lines` is [[sign, text], …] with the sign " ", "-" or "+". Each text keeps its "\n";
// only a last line without one has none.
const CONTEXT_LINES = 3;
const MAX_EDITS = 1500;
const MAX_WORD_EDITS = 120;
const MAX_WORDS_LINE = 2000; // characters of a line that is compared word by word

/** Parse the patch of one file. */
export function parsePatch(text) {
  const hunks = [];
  let hunk = null, binary = false, position = 0;
  while (position < text.length) {
    let end = text.indexOf("\n", position);
    if (end < 0) end = text.length;
    const line = text.slice(position, end);
    position = end + 1;
    const sign = line[0];
    if (line.startsWith("@@ ")) {
      const [, oldStart, oldCount = "1", newStart, newCount = "1"] = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/.exec(line);
      // Where a side has no lines, git gives the line before the hunk.
      hunk = {
        start: +oldCount ? +oldStart - 1 : +oldStart, count: +oldCount,
        newStart: +newCount ? +newStart - 1 : +newStart, lines: [],
      };
      hunks.push(hunk);
    } else if (line.startsWith("diff --git ")) {
      hunk = null;
    } else if (hunk && (sign === " " || sign === "+" || sign === "-")) {
      hunk.lines.push([sign, line.slice(1) + "\n"]);
    } else if (hunk && sign === "\\") {
      const last = hunk.lines.at(-1);
      if (last) last[1] = last[1].slice(0, -1);
    } else if (!hunk && line.startsWith("Binary files ")) {
      binary = true;
    }
  }
  return { hunks, binary };
}

const countOldLines = (lines) => lines.filter(([sign]) => sign !== "+").length;

/** Turn hunks around: what was added is removed. */
export function reverseHunks(hunks) {
  return hunks.map((hunk) => {
    const lines = [];
    let added = [];
    for (const [sign, text] of hunk.lines) {
      // Removed lines come before added ones, also in the other direction.
      if (sign === "-") added.push(["+", text]);
      else if (sign === "+") lines.push(["-", text]);
      else { lines.push(...added, [sign, text]); added = []; }
    }
    lines.push(...added);
    return { start: hunk.newStart, newStart: hunk.start, count: countOldLines(lines), lines };
  });
}

/** The edit script from list `a` to list `b`, as [[sign, item], …]. Beyond `maxEdits` edits, everything is replaced. */
function editScript(a, b, maxEdits) {
  let head = 0, tail = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const oldMiddle = a.slice(head, a.length - tail), newMiddle = b.slice(head, b.length - tail);
  const unchanged = (items) => items.map((item) => [" ", item]);
  return [
    ...unchanged(a.slice(0, head)),
    ...shortestScript(oldMiddle, newMiddle, Math.min(oldMiddle.length + newMiddle.length, maxEdits)),
    ...unchanged(a.slice(a.length - tail)),
  ];
}

/** The algorithm of Myers (1986): `reach[k]` is the furthest `x` on diagonal `k = x - y` after `d` edits. */
function shortestScript(a, b, maxEdits) {
  const n = a.length, m = b.length;
  const replaced = () => [...a.map((item) => ["-", item]), ...b.map((item) => ["+", item])];
  if (!n || !m) return replaced();
  const reach = new Int32Array(2 * maxEdits + 3);
  const middle = maxEdits + 1, trace = [];
  for (let d = 0; d <= maxEdits; d++) {
    trace.push(reach.slice(middle - d - 1, middle + d + 2));
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && reach[middle + k - 1] < reach[middle + k + 1]);
      let x = down ? reach[middle + k + 1] : reach[middle + k - 1] + 1;
      while (x < n && x - k < m && a[x] === b[x - k]) x++;
      reach[middle + k] = x;
      if (x >= n && x - k >= m) return backtrack(a, b, trace, d);
    }
  }
  return replaced();
}

function backtrack(a, b, trace, edits) {
  const script = [];
  let x = a.length, y = b.length;
  for (let d = edits; d > 0; d--) {
    const reach = trace[d], at = (k) => reach[k + d + 1], k = x - y;
    const down = k === -d || (k !== d && at(k - 1) < at(k + 1));
    const previousK = down ? k + 1 : k - 1, previousX = at(previousK), previousY = previousX - previousK;
    while (x > previousX && y > previousY) { x--; y--; script.push([" ", a[x]]); }
    if (down) script.push(["+", b[--y]]); else script.push(["-", a[--x]]);
    x = previousX; y = previousY;
  }
  while (x > 0) { x--; script.push([" ", a[x]]); }
  return script.reverse();
}

/** From one side's version of a file to the other's. Both are given as hunks against the same base. */
export function compareHunks(left, right) {
  const hunks = [];
  const all = [...left.map((hunk) => ({ hunk, side: 0 })), ...right.map((hunk) => ({ hunk, side: 1 }))];
  all.sort((a, b) => a.hunk.start - b.hunk.start || a.side - b.side);
  const shift = [0, 0]; // lines that each side has more than the base so far
  for (let i = 0; i < all.length;) {
    // Take all hunks of both sides that overlap in the base.
    const start = all[i].hunk.start, sides = [[], []];
    let end = start;
    for (; i < all.length && all[i].hunk.start <= end; i++) {
      sides[all[i].side].push(all[i].hunk);
      end = Math.max(end, all[i].hunk.start + all[i].hunk.count);
    }
    const base = baseLines(start, end, [...sides[0], ...sides[1]]);
    const texts = sides.map((hunksOfSide) => applyHunks(base, start, hunksOfSide));
    const leftStart = start + shift[0], rightStart = start + shift[1];
    texts.forEach((text, side) => { shift[side] += text.length - base.length; });
    hunks.push(...splitIntoHunks(editScript(texts[0], texts[1], MAX_EDITS), leftStart, rightStart));
  }
  return hunks;
}

/** The lines of the base from `start` to `end`, as far as the hunks show them. */
function baseLines(start, end, hunks) {
  const lines = new Array(end - start).fill("\n");
  for (const hunk of hunks) {
    let position = hunk.start - start;
    for (const [sign, text] of hunk.lines) if (sign !== "+") lines[position++] = text;
  }
  return lines;
}

function applyHunks(base, start, hunks) {
  const lines = [];
  let position = 0;
  for (const hunk of hunks) {
    while (position < hunk.start - start) lines.push(base[position++]);
    for (const [sign, text] of hunk.lines) if (sign !== "-") lines.push(text);
    position += hunk.count;
  }
  return [...lines, ...base.slice(position)];
}

/** Split an edit script into hunks with a few lines of context; an empty list if nothing differs. */
function splitIntoHunks(script, start, newStart) {
  const hunks = [];
  let oldLine = start, newLine = newStart, unchanged = 0, hunk = null;
  for (let i = 0; i < script.length; i++) {
    const [sign] = script[i];
    if (sign === " ") {
      if (hunk && ++unchanged > 2 * CONTEXT_LINES) {
        hunk.lines.length -= unchanged - 1 - CONTEXT_LINES;
        hunk = null;
      } else if (hunk) hunk.lines.push(script[i]);
    } else {
      if (!hunk) {
        const context = contextBefore(script, i);
        hunk = { start: oldLine - context, newStart: newLine - context, lines: script.slice(i - context, i) };
        hunks.push(hunk);
      }
      hunk.lines.push(script[i]);
      unchanged = 0;
    }
    if (sign !== "+") oldLine++;
    if (sign !== "-") newLine++;
  }
  if (hunk && unchanged > CONTEXT_LINES) hunk.lines.length -= unchanged - CONTEXT_LINES;
  for (const finished of hunks) finished.count = countOldLines(finished.lines);
  return hunks;
}

function contextBefore(script, index) {
  let count = 0;
  while (count < CONTEXT_LINES && index - count > 0 && script[index - count - 1][0] === " ") count++;
  return count;
}

/** A hunk as rows {oldNumber, newNumber, left, right, changed}. Numbers count from 1; a side without a line has `null`. */
export function rowsOf(hunk) {
  const rows = [];
  let oldNumber = hunk.start, newNumber = hunk.newStart, removed = [], added = [];
  const pairUp = () => {
    for (let i = 0; i < Math.max(removed.length, added.length); i++) {
      const left = i < removed.length ? removed[i] : null, right = i < added.length ? added[i] : null;
      rows.push({
        oldNumber: left === null ? null : ++oldNumber, newNumber: right === null ? null : ++newNumber,
        left, right, changed: true,
      });
    }
    removed = []; added = [];
  };
  for (const [sign, text] of hunk.lines) {
    if (sign === "-") { if (added.length) pairUp(); removed.push(text); }
    else if (sign === "+") added.push(text);
    else {
      pairUp();
      rows.push({ oldNumber: ++oldNumber, newNumber: ++newNumber, left: text, right: text, changed: false });
    }
  }
  pairUp();
  return rows;
}

/** The words in which two lines differ: [[text, differs], …] per line; `null` if the lines have little in common. */
export function compareWords(left, right) {
  if (left.length > MAX_WORDS_LINE || right.length > MAX_WORDS_LINE) return null;
  const words = (line) => line.match(/[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}_\s]/gu) || [];
  let common = 0;
  const sides = [[], []];
  const append = (side, text, differs) => {
    const last = side.at(-1);
    if (last && last[1] === differs) last[0] += text; else side.push([text, differs]);
  };
  for (const [sign, word] of editScript(words(left), words(right), MAX_WORD_EDITS)) {
    if (sign !== "+") append(sides[0], word, sign === "-");
    if (sign !== "-") append(sides[1], word, sign === "+");
    if (sign === " " && word.trim()) common += word.length;
  }
  return common * 3 >= Math.min(left.trim().length, right.trim().length) && common > 0 ? sides : null;
}
