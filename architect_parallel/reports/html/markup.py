"""HTML from data, escaped by construction: text becomes markup only through `element`.

Agents' words, file names and patches come from outside. Here they lose terminal sequences, and what would be invisible
or turn the direction of a line is written out (`‹U+202E›`), so that a reader sees what is there.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from typing import Any

from architect_parallel.planning.plain_text import plain_text

_INVISIBLE = re.compile(r"[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")
_VOID = frozenset({"br", "col", "hr", "input", "link", "meta", "rect", "line"})
_SELF_CLOSING = frozenset({"rect", "line"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | int | None | Iterable["Child"]
"""What may stand in an element: text (escaped), markup (as it is), nothing, or several of these."""


def shown(text: str) -> str:
    r"""`text` without terminal sequences, with what is invisible written out.

    >>> shown("\x1b[31mred\x1b[0m a\u202eb")
    'red a‹U+202E›b'
    """
    if not text.isascii():
        text = _INVISIBLE.sub(lambda found: f"‹U+{ord(found[0]):04X}›", text)
    return plain_text(text)


def escaped(text: str) -> Markup:
    """`text` as it may stand in an element or a quoted attribute."""
    return text if isinstance(text, Markup) else Markup(html.escape(shown(text)))


def joined(*children: Child) -> Markup:
    """The children one after another."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, (str, int)):
            parts.append(escaped(child if isinstance(child, str) else str(child)))
        else:
            parts.append(joined(*child))
    return Markup("".join(parts))


def element(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Markup:
    """`<name attribute="…">children</name>`.

    Args:
        attributes: `class_` is `class`, `data_x` is `data-x`; `True` is a bare attribute, `None` and `False` none.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        word = key.rstrip("_").replace("_", "-")
        words.append(word if value is True else f'{word}="{html.escape(shown(str(value)))}"')
    head = " ".join(words)
    if name in _VOID:
        return Markup(f"<{head}/>" if name in _SELF_CLOSING else f"<{head}>")
    return Markup(f"<{head}>{joined(*children)}</{name}>")


def hidden(text: str) -> Markup:
    """Text for who listens to the page, not for who looks at it."""
    return element("span", text, class_="visually-hidden")


def json_block(identifier: str, data: Any) -> Markup:
    """Data for the page's script, inert: nothing in it can end the element or begin another."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(f'<template id="{identifier}">{text}</template>')


def base64_block(identifier: str, data: str) -> Markup:
    """Bytes for the page's script, in base64, inert."""
    return Markup(f'<template id="{identifier}">{data}</template>')
