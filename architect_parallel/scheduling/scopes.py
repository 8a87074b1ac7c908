"""The scope of a task: patterns of the paths it may change, paths outside of it, and overlaps of scopes. Pure.

A pattern is relative to the repository's root, as in git's `:(top,glob)`. `*` and `?` do not match `/`. `**` as a whole
part matches any number of directories, `[a-z]` and `[!a-z]` match one character, and a backslash quotes the next one.
A pattern without any of these names a file, or a directory with its content.

The overlap of two patterns is decided without looking at files, because the files need not exist yet. Both patterns are
automata, over path parts and inside each part over characters. They overlap where some path leads through both.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from architect_parallel.text.quantities import summarize

MOST_OVERLAPS = 1000
"""The most overlaps that are reported."""
_LAST = 0x10FFFF
Span = tuple[int, int]
Characters = tuple[Span, ...]
"""A set of characters: ranges of code points, sorted and disjoint."""


def _without(spans: Iterable[Span], *, low: int = 1) -> Characters:
    """All other characters that a path part can have."""
    gaps, at = [], low
    for first, last in sorted([*spans, (ord("/"), ord("/"))]):
        if first > at:
            gaps.append((at, first - 1))
        at = max(at, last + 1)
    return (*gaps, (at, _LAST)) if at <= _LAST else tuple(gaps)


_ANY = _without(())


@dataclass(frozen=True, slots=True)
class _Star:
    """`*`: any characters of a part."""


@dataclass(frozen=True, slots=True)
class _Deep:
    """`**`: any number of whole parts."""


_Token = _Star | Characters
_Glob = tuple[_Token, ...]
_Part = _Deep | _Glob
_Way = tuple[_Part, ...]
"""One way through a pattern. A directory has two: itself, and everything below it."""
_EVERY: _Glob = (_ANY, _Star())
"""Any part of at least one character."""


def read_pattern(text: str) -> str:
    """Validate a pattern and return it.

    Raises:
        ValueError: It is empty, leads outside the repository, or has no meaning.
    """
    _ways(text)
    return text


def matches(path: str, pattern: str) -> bool:
    """Return whether the pattern covers the path. Both are relative to the root.

    >>> matches("src/auth/login.py", "src/auth"), matches("src/a/b.py", "src/*.py"), matches("b.py", "**/*.py")
    (True, False, True)
    """
    way = tuple(tuple(((ord(c), ord(c)),) for c in part) for part in path.split("/"))
    return any(_meet(way, other) for other in _ways(pattern))


def outside(files: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """The files that no pattern covers, sorted. Without patterns, no file is outside."""
    if not patterns:
        return []
    return sorted({path for path in files if not any(matches(path, pattern) for pattern in patterns)})


def outside_words(paths: Sequence[str], patterns: Sequence[str]) -> str:
    """The warning about paths that were changed outside a scope."""
    return f"changed outside its scope ({', '.join(patterns)}): {summarize(paths)}"


@functools.lru_cache(maxsize=4096)
def overlaps(one: str, other: str, files: frozenset[str] = frozenset()) -> bool:
    """Return whether some path is covered by both patterns.

    Args:
        files: Patterns without wildcards that are known to name a file, so that there is nothing below them.

    >>> overlaps("src/**", "**/*.py"), overlaps("src/a*", "src/b*"), overlaps("src", "src/new/file")
    (True, False, True)
    """
    mine, theirs = (_ways(text)[:1] if text in files else _ways(text) for text in (one, other))
    return any(_meet(way, their) for way in mine for their in theirs)


def is_literal(pattern: str) -> bool:
    """Return whether a pattern names one path, a file or a directory."""
    return len(_ways(pattern)) > 1


Owner = TypeVar("Owner", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Overlap(Generic[Owner]):
    """Two scopes that overlap."""

    one: Owner
    other: Owner
    patterns: tuple[str, str]
    """The first two patterns that overlap, in the order of the owners."""


def overlapping(
    scopes: Mapping[Owner, Sequence[str]],
    *,
    files: frozenset[str] = frozenset(),
    most: int = MOST_OVERLAPS,
    may: Callable[[Owner, Owner], bool] = lambda one, other: False,
) -> Iterator[Overlap[Owner]]:
    """Pairs of owners whose scopes overlap, in their order, each pair once.

    Only patterns of which one begins with the literal beginning of the other can overlap. So tasks in directories of
    their own are not compared with one another.

    Args:
        files: As for `overlaps`.
        most: The most pairs to return.
        may: Returns true for two owners that may overlap.
    """
    order = {owner: place for place, owner in enumerate(scopes)}
    by_beginning: dict[tuple[str, ...], list[tuple[Owner, str]]] = {}
    pairs: dict[tuple[Owner, Owner], tuple[str, str]] = {}
    every = sorted(
        ((_beginning(pattern), owner, pattern) for owner, patterns in scopes.items() for pattern in patterns),
        key=lambda item: (len(item[0]), order[item[1]]),
    )
    for beginning, owner, pattern in every:
        if len(pairs) >= most:
            break
        for length in range(len(beginning) + 1):
            for earlier, theirs in by_beginning.get(beginning[:length], ()):
                pair = (earlier, owner) if order[earlier] < order[owner] else (owner, earlier)
                if earlier == owner or pair in pairs or may(*pair):
                    continue
                if overlaps(theirs, pattern, files):
                    pairs[pair] = (theirs, pattern) if pair[0] == earlier else (pattern, theirs)
        by_beginning.setdefault(beginning, []).append((owner, pattern))
    for one, other in sorted(pairs, key=lambda pair: (order[pair[0]], order[pair[1]]))[:most]:
        yield Overlap(one=one, other=other, patterns=pairs[one, other])


def _beginning(pattern: str) -> tuple[str, ...]:
    """The parts before the first one with a wildcard."""
    names: list[str] = []
    for part in min(_ways(pattern), key=len):
        name = _plain_name(part)
        if name is None:
            break
        names.append(name)
    return tuple(names)


def _plain_name(part: _Part) -> str | None:
    if isinstance(part, _Deep):
        return None
    letters = []
    for token in part:
        if isinstance(token, _Star) or len(token) != 1 or token[0][0] != token[0][1]:
            return None
        letters.append(chr(token[0][0]))
    return "".join(letters)


@functools.lru_cache(maxsize=4096)
def _ways(pattern: str) -> tuple[_Way, ...]:
    text = pattern.removeprefix("./")
    if not text.strip():
        raise ValueError("must not be empty")
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    if text.startswith(("/", "~")):
        raise ValueError("must be relative to the repository's root")
    if text.startswith("!"):
        raise ValueError("must say what is in the scope: exclusions with ! are not known")
    below_only = text.endswith("/")
    names = text.removesuffix("/").split("/")
    if ".." in names:
        raise ValueError("must not lead out of the repository with ..")
    if "" in names or "." in names:
        raise ValueError("must not have an empty part or one that is a dot")
    parts: list[_Part] = []
    for name in names:
        if name == "**":
            if not parts or not isinstance(parts[-1], _Deep):
                parts.append(_Deep())
        else:
            parts.append(_glob(name))
    literal = all(_plain_name(part) is not None for part in parts)
    whole: _Way = (*parts, _EVERY) if isinstance(parts[-1], _Deep) else tuple(parts)
    below: _Way = (*parts, _Deep(), _EVERY)
    if below_only:
        return (below,)
    return (whole, below) if literal else (whole,)


def _glob(name: str) -> _Glob:
    tokens: list[_Token] = []
    at = 0
    while at < len(name):
        character = name[at]
        at += 1
        if character == "*":
            if not tokens or not isinstance(tokens[-1], _Star):
                tokens.append(_Star())
        elif character == "?":
            tokens.append(_ANY)
        elif character == "[":
            characters, at = _class(name, at)
            tokens.append(characters)
        else:
            if character == "\\":
                character, at = _escaped(name, at)
            tokens.append(((ord(character), ord(character)),))
    return tuple(tokens)


def _escaped(name: str, at: int) -> tuple[str, int]:
    if at >= len(name):
        raise ValueError("must not end in a backslash")
    return name[at], at + 1


def _class(name: str, at: int) -> tuple[Characters, int]:
    """The characters of a class whose `[` is before `at`, and the position after the class."""
    negated = name[at : at + 1] in ("!", "^")
    at += negated
    spans: list[Span] = []
    first = True
    while True:
        if at >= len(name):
            raise ValueError("has a [ without its ]")
        character = name[at]
        at += 1
        if character == "]" and not first:
            break
        if character == "[" and name[at : at + 1] in (":", ".", "="):
            raise ValueError("has a named class such as [:alpha:], which is not known: write a range such as [a-z]")
        first = False
        if character == "\\":
            character, at = _escaped(name, at)
        last = character
        if name[at : at + 1] == "-" and name[at + 1 : at + 2] not in ("", "]"):
            last, at = name[at + 1], at + 2
            if last == "\\":
                last, at = _escaped(name, at)
        if character <= last:
            spans.append((ord(character), ord(last)))
    others = _without(spans)
    characters = others if negated else _without(others)
    if not characters:
        raise ValueError("has a class that no character is in")
    return characters, at


def _meet(mine: _Way, theirs: _Way) -> bool:
    """Return whether some path leads through both ways."""
    return _intersect(mine, theirs, _Deep, _meet_within)


@functools.lru_cache(maxsize=65536)
def _meet_within(one: _Glob, other: _Glob) -> bool:
    """Return whether some name matches both globs of a part."""
    return _intersect(one, other, _Star, _share)


def _intersect(one: Sequence[Any], other: Sequence[Any], any_number: type, fit: Callable[[Any, Any], bool]) -> bool:
    """Return whether some sequence matches both patterns: a search through pairs of positions.

    Args:
        any_number: The type of an element that matches any number of anything.
        fit: Returns whether something matches both of two other elements.
    """
    seen: set[tuple[int, int]] = set()
    pending = [(0, 0)]
    while pending:
        at = pending.pop()
        if at in seen:
            continue
        seen.add(at)
        i, j = at
        if i == len(one) and j == len(other):
            return True
        mine = one[i] if i < len(one) else None
        theirs = other[j] if j < len(other) else None
        if isinstance(mine, any_number):
            pending.append((i + 1, j))
        if isinstance(theirs, any_number):
            pending.append((i, j + 1))
        if mine is None or theirs is None:
            continue
        if isinstance(mine, any_number) or isinstance(theirs, any_number):
            pending.append((i + (not isinstance(mine, any_number)), j + (not isinstance(theirs, any_number))))
        elif fit(mine, theirs):
            pending.append((i + 1, j + 1))
    return False


def _share(one: Characters, other: Characters) -> bool:
    return any(a <= d and c <= b for a, b in one for c, d in other)
