// Patches read and compared: no page, no side effects. Lines keep their "\n"; a last line without one has none.
"use strict";
const CONTEXT = 3;
const MOST_EDITS = 1500;

/** The hunks of one file's patch: {at, count, ops: [[sign, line], …]}, `at` counted from 0 in the old file. */
function parsePatch(text) {
  const hunks = [];
  let hunk = null, binary = false, start = 0;
  while (start < text.length) {
    let end = text.indexOf("\n", start);
    if (end < 0) end = text.length;
    const line = text.slice(start, end);
    start = end + 1;
    const sign = line[0];
    if (line.startsWith("@@ ")) {
      const found = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/.exec(line);
      const count = found[2] === undefined ? 1 : +found[2], added = found[4] === undefined ? 1 : +found[4];
      hunk = { at: count ? +found[1] - 1 : +found[1], count, to: added ? +found[3] - 1 : +found[3], ops: [] };
      hunks.push(hunk);
    } else if (line.startsWith("diff --git ")) {
      hunk = null;
    } else if (hunk && (sign === " " || sign === "+" || sign === "-")) {
      hunk.ops.push([sign, line.slice(1) + "\n"]);
    } else if (hunk && sign === "\\") {
      const last = hunk.ops[hunk.ops.length - 1];
      if (last) last[1] = last[1].slice(0, -1);
    } else if (!hunk && line.startsWith("Binary files ")) {
      binary = true;
    }
  }
  return { hunks, binary };
}

/** Hunks seen from the other side. */
function reversed(hunks) {
  return hunks.map((hunk) => {
    const ops = [];
    let taken = [];
    for (const [sign, line] of hunk.ops) {
      // What is removed comes before what is added, also from the other side.
      if (sign === "-") taken.push(["+", line]);
      else if (sign === "+") ops.push(["-", line]);
      else { ops.push(...taken, [sign, line]); taken = []; }
    }
    ops.push(...taken);
    const count = ops.filter(([sign]) => sign !== "+").length;
    return { at: hunk.to, to: hunk.at, count, ops };
  });
}

/** Edit script from list `a` to list `b`: [[sign, item], …], after Myers (1986); all replaced where it would be long. */
function edits(a, b, most) {
  let head = 0, tail = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const n = a.length - head - tail, m = b.length - head - tail;
  const ops = a.slice(0, head).map((item) => [" ", item]);
  const middle = shortest(a.slice(head, head + n), b.slice(head, head + m), Math.min(n + m, most));
  ops.push(...middle);
  for (let i = a.length - tail; i < a.length; i++) ops.push([" ", a[i]]);
  return ops;
}

function shortest(a, b, most) {
  const n = a.length, m = b.length;
  const replaced = () => [...a.map((item) => ["-", item]), ...b.map((item) => ["+", item])];
  if (!n || !m) return replaced();
  let reach = new Int32Array(2 * most + 3);
  const middle = most + 1, trace = [];
  for (let d = 0; d <= most; d++) {
    trace.push(reach.slice(middle - d - 1, middle + d + 2));
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && reach[middle + k - 1] < reach[middle + k + 1]);
      let x = down ? reach[middle + k + 1] : reach[middle + k - 1] + 1;
      while (x < n && x - k < m && a[x] === b[x - k]) x++;
      reach[middle + k] = x;
      if (x >= n && x - k >= m) return walkedBack(a, b, trace, d);
    }
  }
  return replaced();
}

function walkedBack(a, b, trace, last) {
  const ops = [];
  let x = a.length, y = b.length;
  for (let d = last; d > 0; d--) {
    const reach = trace[d], at = (k) => reach[k + d + 1], k = x - y;
    const down = k === -d || (k !== d && at(k - 1) < at(k + 1));
    const before = down ? k + 1 : k - 1, beforeX = at(before), beforeY = beforeX - before;
    while (x > beforeX && y > beforeY) { x--; y--; ops.push([" ", a[x]]); }
    if (down) ops.push(["+", b[--y]]); else ops.push(["-", a[--x]]);
    x = beforeX; y = beforeY;
  }
  while (x > 0) { x--; ops.push([" ", a[x]]); }
  return ops.reverse();
}

/** From what one made of a file to what another made of it: both as hunks against the same base. */
function between(left, right) {
  const found = [];
  const all = [...left.map((hunk) => ({ hunk, side: 0 })), ...right.map((hunk) => ({ hunk, side: 1 }))];
  all.sort((one, other) => one.hunk.at - other.hunk.at || one.side - other.side);
  const shift = [0, 0];
  for (let i = 0; i < all.length;) {
    const begin = all[i].hunk.at;
    let end = begin;
    const sides = [[], []];
    for (; i < all.length && all[i].hunk.at <= end; i++) {
      sides[all[i].side].push(all[i].hunk);
      end = Math.max(end, all[i].hunk.at + all[i].hunk.count);
    }
    const base = baseLines(begin, end, [...sides[0], ...sides[1]]);
    const texts = sides.map((hunks) => applied(base, begin, hunks));
    const at = begin + shift[0], to = begin + shift[1];
    texts.forEach((text, side) => { shift[side] += text.length - base.length; });
    found.push(...trimmed(edits(texts[0], texts[1], MOST_EDITS), at, to));
  }
  return found;
}

function baseLines(begin, end, hunks) {
  const lines = new Array(end - begin).fill("\n");
  for (const hunk of hunks) {
    let at = hunk.at - begin;
    for (const [sign, line] of hunk.ops) if (sign !== "+") lines[at++] = line;
  }
  return lines;
}

function applied(base, begin, hunks) {
  const lines = [];
  let at = 0;
  for (const hunk of hunks) {
    while (at < hunk.at - begin) lines.push(base[at++]);
    for (const [sign, line] of hunk.ops) if (sign !== "-") lines.push(line);
    at += hunk.count;
  }
  while (at < base.length) lines.push(base[at++]);
  return lines;
}

/** An edit script as hunks with a little context; none where nothing differs. */
function trimmed(ops, at, to) {
  const hunks = [];
  let old = at, now = to, quiet = 0, hunk = null;
  for (let i = 0; i < ops.length; i++) {
    const [sign] = ops[i];
    if (sign === " ") {
      if (hunk && ++quiet > 2 * CONTEXT) {
        hunk.ops.length -= quiet - 1 - CONTEXT;
        hunk = null;
      } else if (hunk) hunk.ops.push(ops[i]);
    } else {
      if (!hunk) {
        const before = Math.min(CONTEXT, leading(ops, i));
        hunk = { at: old - before, to: now - before, ops: ops.slice(i - before, i) };
        hunks.push(hunk);
      }
      hunk.ops.push(ops[i]);
      quiet = 0;
    }
    if (sign !== "+") old++;
    if (sign !== "-") now++;
  }
  if (hunk && quiet > CONTEXT) hunk.ops.length -= quiet - CONTEXT;
  for (const each of hunks) each.count = each.ops.filter(([sign]) => sign !== "+").length;
  return hunks;
}

function leading(ops, index) {
  let count = 0;
  while (count < CONTEXT && index - count > 0 && ops[index - count - 1][0] === " ") count++;
  return count;
}

/** A hunk as rows {old, now, left, right}; numbers from 1, `null` where a side has no line. */
function rows(hunk) {
  const found = [];
  let old = hunk.at, now = hunk.to, taken = [], given = [];
  const flush = () => {
    for (let i = 0; i < Math.max(taken.length, given.length); i++) {
      const left = i < taken.length ? taken[i] : null, right = i < given.length ? given[i] : null;
      found.push({ old: left === null ? null : ++old, now: right === null ? null : ++now, left, right, changed: true });
    }
    taken = []; given = [];
  };
  for (const [sign, line] of hunk.ops) {
    if (sign === "-") { if (given.length) flush(); taken.push(line); }
    else if (sign === "+") given.push(line);
    else { flush(); found.push({ old: ++old, now: ++now, left: line, right: line, changed: false }); }
  }
  flush();
  return found;
}

/** Which parts of two lines differ: [[text, differs], …] for each; `null` where they have little in common. */
function within(left, right) {
  if (left.length > 2000 || right.length > 2000) return null;
  const words = (line) => line.match(/[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}_\s]/gu) || [];
  const ops = edits(words(left), words(right), 120);
  let same = 0;
  const sides = [[], []];
  const put = (side, text, differs) => {
    const last = side[side.length - 1];
    if (last && last[1] === differs) last[0] += text; else side.push([text, differs]);
  };
  for (const [sign, word] of ops) {
    if (sign !== "+") put(sides[0], word, sign === "-");
    if (sign !== "-") put(sides[1], word, sign === "+");
    if (sign === " " && word.trim()) same += word.length;
  }
  return same * 3 >= Math.min(left.trim().length, right.trim().length) && same > 0 ? sides : null;
}
