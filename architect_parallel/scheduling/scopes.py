"""A task's scope: the paths it means to change, as patterns; what lies outside, and where two scopes meet. Pure.

A pattern is relative to the repository's root, as in git's `:(top,glob)`: `*` and `?` stay within a directory, `**` as
a whole part stands for any number of directories, `[a-z]` and `[!a-z]` are one character, a backslash takes the next
character as it is. Without any of these it names a file, or a directory with all that is below it.

Whether two patterns overlap is decided from the patterns alone, because the files need not exist yet: both are read
as automata, over path parts and inside each part over characters, and overlap where some path leads through both.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from architect_parallel.text.quantities import summarize

MOST_OVERLAPS = 1000
"""More of them say nothing that the first ones did not."""
_LAST = 0x10FFFF
Span = tuple[int, int]
Characters = tuple[Span, ...]
"""A set of characters: code points from-to, sorted and apart."""


def _without(spans: Iterable[Span], *, low: int = 1) -> Characters:
    """All other characters that a path part can hold."""
    found, at = [], low
    for first, last in sorted([*spans, (ord("/"), ord("/"))]):
        if first > at:
            found.append((at, first - 1))
        at = max(at, last + 1)
    return (*found, (at, _LAST)) if at <= _LAST else tuple(found)


_ANY = _without(())


@dataclass(frozen=True, slots=True)
class _Star:
    """`*`: any characters of a part. As a part of its own it is `_Deep`."""


@dataclass(frozen=True, slots=True)
class _Deep:
    """`**`: any number of whole parts."""


_Token = _Star | Characters
_Glob = tuple[_Token, ...]
_Part = _Deep | _Glob
_Way = tuple[_Part, ...]
"""One way through a pattern; a directory has two: itself, and all that is below."""
_EVERY: _Glob = (_ANY, _Star())
"""Any part: at least one character."""


def read_pattern(text: str) -> str:
    """A pattern as the user wrote it.

    Raises:
        ValueError: It is empty, leads outside the repository, or cannot be understood.
    """
    _ways(text)
    return text


def matches(path: str, pattern: str) -> bool:
    """Whether the pattern covers the path; both relative to the root.

    >>> matches("src/auth/login.py", "src/auth"), matches("src/a/b.py", "src/*.py"), matches("b.py", "**/*.py")
    (True, False, True)
    """
    way = tuple(tuple(((ord(c), ord(c)),) for c in part) for part in path.split("/"))
    return any(_meet(way, other) for other in _ways(pattern))


def outside(files: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """The files that no pattern covers, sorted; nothing where there is no pattern."""
    if not patterns:
        return []
    return sorted({path for path in files if not any(matches(path, pattern) for pattern in patterns)})


def outside_words(paths: Sequence[str], patterns: Sequence[str]) -> str:
    """A warning that names what was changed outside a scope."""
    return f"changed outside its scope ({', '.join(patterns)}): {summarize(paths)}"


@functools.lru_cache(maxsize=4096)
def overlaps(one: str, other: str, files: frozenset[str] = frozenset()) -> bool:
    """Whether some path is covered by both patterns.

    Args:
        files: Patterns without wildcards that are known to name a file, so that nothing is below it.

    >>> overlaps("src/**", "**/*.py"), overlaps("src/a*", "src/b*"), overlaps("src", "src/new/file")
    (True, False, True)
    """
    mine, theirs = (_ways(each)[:1] if each in files else _ways(each) for each in (one, other))
    return any(_meet(way, their) for way in mine for their in theirs)


def is_literal(pattern: str) -> bool:
    """Whether a pattern names one path, which may be a file or a directory."""
    return len(_ways(pattern)) > 1


Owner = TypeVar("Owner", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Overlap(Generic[Owner]):
    """Two scopes that meet."""

    one: Owner
    other: Owner
    patterns: tuple[str, str]
    """The first two that meet, in the order of the owners."""


def overlapping(
    scopes: Mapping[Owner, Sequence[str]],
    *,
    files: frozenset[str] = frozenset(),
    most: int = MOST_OVERLAPS,
    may: Callable[[Owner, Owner], bool] = lambda one, other: False,
) -> Iterator[Overlap[Owner]]:
    """Two owners each whose scopes meet, in their order, each pair once; not more than `most` of them, and none of
    which `may` says that they may.

    Only patterns of which one begins with the literal beginning of the other can meet, so that many tasks in
    directories of their own are not compared each with each.
    """
    order = {owner: place for place, owner in enumerate(scopes)}
    by_beginning: dict[tuple[str, ...], list[tuple[Owner, str]]] = {}
    found: dict[tuple[Owner, Owner], tuple[str, str]] = {}
    every = sorted(
        ((_beginning(pattern), owner, pattern) for owner, patterns in scopes.items() for pattern in patterns),
        key=lambda item: (len(item[0]), order[item[1]]),
    )
    for beginning, owner, pattern in every:
        if len(found) >= most:
            break
        for length in range(len(beginning) + 1):
            for earlier, theirs in by_beginning.get(beginning[:length], ()):
                pair = (earlier, owner) if order[earlier] < order[owner] else (owner, earlier)
                if earlier == owner or pair in found or may(*pair):
                    continue
                if overlaps(theirs, pattern, files):
                    found[pair] = (theirs, pattern) if pair[0] == earlier else (pattern, theirs)
        by_beginning.setdefault(beginning, []).append((owner, pattern))
    for one, other in sorted(found, key=lambda pair: (order[pair[0]], order[pair[1]]))[:most]:
        yield Overlap(one=one, other=other, patterns=found[one, other])


def _beginning(pattern: str) -> tuple[str, ...]:
    """The parts before the first that is no plain name."""
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
    """The characters of a class whose `[` stands before `at`, and where it ends."""
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
    found = others if negated else _without(others)
    if not found:
        raise ValueError("has a class that no character is in")
    return found, at


def _meet(mine: _Way, theirs: _Way) -> bool:
    """Whether some path leads through both ways, a path part at a time."""
    return _intersect(mine, theirs, _Deep, _meet_within)


@functools.lru_cache(maxsize=65536)
def _meet_within(one: _Glob, other: _Glob) -> bool:
    """Whether some name fits both globs of a part."""
    return _intersect(one, other, _Star, _share)


def _intersect(one: Sequence[Any], other: Sequence[Any], any_number: type, fit: Callable[[Any, Any], bool]) -> bool:
    """Whether something goes through both sequences: a search through pairs of places.

    Args:
        any_number: Of what stands for any number of anything; one alone can be found for whatever stands across it.
        fit: Whether one thing fits two others of the sequences.
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
