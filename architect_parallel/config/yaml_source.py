"""YAML or JSON text into plain data with the place of every key: the only reader of files that people write.

A configuration file may come with a cloned repository, so the reader takes a small, closed part of YAML 1.2: one
document, mappings with text keys, lists, and scalars. No aliases or anchors (a file of 1 KiB can stand for
gigabytes), no tags, no duplicate keys, no nesting beyond `DEEPEST`, no file beyond `LARGEST_BYTES`.
`no`, `.nan` or `12:30` stay text: what they mean is for the schema. It builds from the parser's events.
`json_events` gives the same events for JSON.
Invariant: it returns data or raises `Faulty`, whatever the bytes.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import yaml

from architect_parallel.config.json_events import JsonFault, NotJsonEvent, json_events
from architect_parallel.text.quantities import quoted

LARGEST_BYTES = 1024**2
DEEPEST = 20
_TOO_DEEP = f"is nested deeper than {DEEPEST} levels"
MOST_FAULTS = 20
"""Reading ends after this many faults in the text itself."""

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the top of a document."""

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WHOLE = re.compile(r"[-+]?[0-9]{1,30}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Line and column, both from 1."""

    line: int
    column: int
    path: KeyPath = field(default=(), compare=False)
    """The key at this place, as it is written. Aliases keep it under their own names."""

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a document. `place` is `None` for the file as a whole."""

    place: Position | None
    message: str


def in_order(faults: Iterable[Fault]) -> list[Fault]:
    """Sort faults by their place in the text, without duplicates."""
    return sorted(dict.fromkeys(faults), key=lambda fault: fault.place or Position(0, 0))


class Faulty(Exception):
    """The faults of a document, in the order of the text. At least one."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(faults)
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Document:
    """A document as plain data, with the places of its keys and list items."""

    data: Any
    """A mapping, where `read_document` returns it."""
    places: Mapping[KeyPath, Position]
    faults: tuple[Fault, ...] = ()
    """Faults of a text that can be read all the same. The data is for further checks only."""


def read_bytes(path: Path, *, pipe_allowed: bool = False, largest: int = LARGEST_BYTES) -> bytes | None:
    """Read a configuration file. `None` means that there is none.

    Args:
        pipe_allowed: Whether it may be a pipe that the shell made (`-c <(…)`) or `/dev/null`. A named pipe may never
            be read: that would wait for a writer for ever.
        largest: Most bytes, in whole MiB.

    Raises:
        Faulty: For what cannot be read, is too large or is no file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not (stat.S_ISREG(status.st_mode) or (pipe_allowed and _is_passed(path, status))):
                raise Faulty(Fault(None, "is not a file"))
            os.set_blocking(descriptor, True)
            data = file.read(largest + 1)
    except FileNotFoundError:
        return None
    except IsADirectoryError as error:
        raise Faulty(Fault(None, "is not a file")) from error
    except OSError as error:
        raise Faulty(Fault(None, f"cannot be read: {error.strerror}")) from error
    require_size(data, largest)
    return data


def _is_passed(path: Path, status: os.stat_result) -> bool:
    """Return whether the path is an open pipe that the shell passed, or the null device."""
    if stat.S_ISFIFO(status.st_mode):
        return str(path).startswith(("/dev/fd/", "/dev/stdin", "/proc/"))
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == os.stat(os.devnull).st_rdev


def require_size(data: bytes, largest: int) -> None:
    """Raise `Faulty` when `data` is longer than `largest` bytes."""
    if len(data) > largest:
        raise Faulty(Fault(None, f"is larger than {largest // 1024**2} MiB"))


def read_document(data: bytes) -> Document:
    """Return the mapping that `data` holds. Empty text is an empty mapping.

    Raises:
        Faulty: For text that makes no sense to its end.
    """
    document = read_data(data)
    if not isinstance(document.data, dict | None):
        raise Faulty(*document.faults, Fault(Position(1, 1), "must hold a mapping of keys to values"))
    return Document(document.data or {}, document.places, document.faults)


def read_data(data: bytes, *, as_json: bool = False, most_faults: int = MOST_FAULTS) -> Document:
    """Return the value that `data` holds as YAML or, with `as_json`, as JSON. Raises like `read_document`."""
    text = _decode(data)
    reader = _Reader(json_events(text) if as_json else yaml.parse(text, Loader=_PARSER), most_faults)
    try:
        return Document(reader.document(), reader.places, tuple(reader.faults))
    except JsonFault as error:
        fault = Fault(Position(error.line + 1, error.column + 1), f"is not JSON: {error.problem}")
        raise Faulty(*reader.faults, fault) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # PyYAML 6.0.4 has its own limit and reads ahead: it may end before the reader counts past `DEEPEST`.
        too_deep = "maximum nesting depth" in str(error.problem)
        problem = _TOO_DEEP if too_deep else f"is not YAML: {error.problem}"
        fault = Fault(_place(mark) if mark else None, problem)
        raise Faulty(*reader.faults, fault) from error
    except yaml.reader.ReaderError as error:
        raise Faulty(*reader.faults, Fault(None, f"is not YAML: {error.reason}")) from error
    except _Stop:
        raise Faulty(*reader.faults) from None


class _Stop(Exception):
    """Reading on makes no sense."""


class _Reader:
    """Builds data from a parser's events.

    Nodes (`yaml.compose`) would not do: they do not say which anchors and tags are written, or where an alias is.
    """

    def __init__(self, events: Iterator[yaml.Event], most_faults: int) -> None:
        self.faults: list[Fault] = []
        self.places: dict[KeyPath, Position] = {}
        self._events = events
        self._most_faults = most_faults
        self._anchor: Fault | None = None
        """The fault of the first anchor. `None` means that there was none."""

    def document(self) -> Any:
        """The value of the one document. Raises `_Stop`."""
        top, documents = None, 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._stop(_place(event.start_mark), "a second document begins here; only one is allowed")
            elif isinstance(event, yaml.NodeEvent):
                top = self._value(event, ())
        return top

    def _value(self, event: yaml.Event, path: KeyPath) -> Any:
        place = self._node(event)
        if isinstance(event, yaml.ScalarEvent):
            if isinstance(event, NotJsonEvent):
                self._fault(place, f"{quoted(event.value)} is not a JSON value")
            return event.value if event.style else _plain(event.value)
        if len(path) >= DEEPEST:
            self._stop(place, _TOO_DEEP)
        return self._list(path) if isinstance(event, yaml.SequenceStartEvent) else self._mapping(path)

    def _list(self, path: KeyPath) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            item = (*path, len(items))
            self.places[item] = replace(_place(event.start_mark), path=item)
            items.append(self._value(event, item))
        return items

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        content: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            place = self._node(event)
            if not isinstance(event, yaml.ScalarEvent):
                self._stop(place, "a key must be a single word")
            key = (*path, event.value)
            if event.value in content:
                self._fault(place, f"duplicate key {dotted(key)} (first in line {self.places[key].line})")
            else:
                self.places[key] = replace(place, path=key)
            content.setdefault(event.value, self._value(next(self._events), key))
        return content

    def _node(self, event: Any) -> Position:
        """The place of a key or value, which may be no alias and have neither anchor nor tag."""
        place = _place(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            # One line for a bomb of aliases: the fault of its anchor and of every further alias would say the same.
            self.faults = [fault for fault in self.faults if fault is not self._anchor]
            self._stop(place, f"alias *{event.anchor} is not allowed; write the value out")
        if event.anchor is not None and self._anchor is None:
            self._fault(place, f"anchor &{event.anchor} is not allowed; write the value out")
            self._anchor = self.faults[-1]
        if event.tag is not None:
            self._fault(place, f"tag {quoted(event.tag)} is not allowed")
        return place

    def _fault(self, place: Position, message: str) -> None:
        self.faults.append(Fault(place, message))
        if len(self.faults) >= self._most_faults:
            raise _Stop

    def _stop(self, place: Position, message: str) -> NoReturn:
        self.faults.append(Fault(place, message))
        raise _Stop


def _plain(text: str) -> Any:
    """Return the value of a scalar without quotes, by the core schema of YAML 1.2."""
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    # .nan, .inf and 1e999 stay text, so that no schema takes them for a number.
    number = float(text) if _FLOAT.fullmatch(text) else math.nan
    return number if math.isfinite(number) else text


def dotted(path: KeyPath) -> str:
    """Return a key path as people write it.

    >>> dotted(("backends", "mytool", "command", 2))
    'backends.mytool.command[2]'
    """
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{_word(step)}" if text else _word(step)
    return text


def as_written(places: Mapping[KeyPath, Position], path: KeyPath) -> str:
    """Return a key path with the names that are written in the text, which may be aliases.

    >>> as_written({("parallel_runs",): Position(1, 1, ("parallel",))}, ("parallel_runs", "workers"))
    'parallel.workers'
    """
    for length in range(len(path), 0, -1):
        place = places.get(path[:length])
        if place is not None and place.path:
            return dotted((*place.path, *path[length:]))
    return dotted(path)


def _word(key: str) -> str:
    return key if key and key.isprintable() and len(key) <= 80 else quoted(key)


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        place = Position(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        raise Faulty(Fault(place, f"byte 0x{data[error.start]:02x} is not UTF-8")) from error


def _place(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)


def walk(data: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield every leaf of nested mappings with its path. A list is a leaf."""
    if isinstance(data, Mapping) and (data or not path):
        for key, value in data.items():
            yield from walk(value, (*path, key))
    else:
        yield path, data
