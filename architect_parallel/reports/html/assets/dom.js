// Build elements from data. Text becomes a text node, never markup.
export const root = document.documentElement;
export const byId = (id) => document.getElementById(id);

/** Create an element. Attributes that are `null`, `undefined` or `false` are left out, as are missing children. */
export function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === false || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

export const hiddenText = (text) => element("span", { class: "visually-hidden" }, text);
export const badge = (workerId) => element("span", { class: "badge" }, hiddenText("worker "), String(workerId));
export const plural = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
export const plus = (number) => element("span", { class: "plus" }, `+${number.toLocaleString("en")}`);
export const minus = (number) => element("span", { class: "minus" }, `−${number.toLocaleString("en")}`);

/** Tell users of screen readers that something changed. */
export const announce = (text) => { byId("announcements").textContent = text; };

const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\u{e0000}-\u{e007f}]/gu;

/** Split text into nodes, with characters spelled out that are invisible or change the writing direction. */
export function visibleText(text) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(INVISIBLE)) {
    if (match.index > end) nodes.push(text.slice(end, match.index));
    const code = match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    nodes.push(element("span", { class: "invisible", title: "an invisible or control character" }, `U+${code}`));
    end = match.index + match[0].length;
  }
  if (end < text.length || !nodes.length) nodes.push(text.slice(end));
  return nodes;
}
