"""One layer of the configuration: a file or the environment, read, checked and reduced to what it may set.

A layer knows where each of its keys comes from, so that every fault and every effective value can name its place.
All layers are checked before any fault is raised: the user sees them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from architect_parallel.config.defaults import OTHER_VARIABLES, VARIABLE_PREFIX
from architect_parallel.config.schema import ALIASES, ConfigFile, ParallelSection
from architect_parallel.config.untrusted import dangerous, loosened, only_own
from architect_parallel.config.yaml_source import (
    Document,
    Fault,
    Faulty,
    KeyPath,
    Position,
    as_written,
    dotted,
    read_document,
    walk,
)
from architect_parallel.errors import UsageError
from architect_parallel.text.quantities import quoted
from architect_parallel.text.suggest import did_you_mean, nearest

MOST_SHOWN = 500
"""Further faults are only counted: a large file in the wrong format has one in every line."""

Tree = dict[str, Any]

SINGLE_KEYS = frozenset({"on_finish"})
"""Keys of a configuration file that are no section."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The settings of one source, checked and under canonical names."""

    data: Tree
    """Nested mappings with the keys that are written there."""
    origins: Mapping[KeyPath, str]
    """Leaf → `default`, `<file>:<line>` or `environment <NAME>`."""
    names: Mapping[KeyPath, str] = field(default_factory=dict)
    """Leaf → its name as written there, which may be an alias."""
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class FaultList:
    """Faults of all layers, as lines."""

    lines: list[str] = field(default_factory=list)
    in_text: bool = False
    """One of them is about the text of a file."""

    def add(self, name: str, faults: Iterable[Fault]) -> None:
        for fault in faults:
            place = f"{name}:{fault.place}" if fault.place else name
            self.lines.append(f"{place}: {fault.message}")
            self.in_text = self.in_text or fault.place is not None

    def error(self, what: str = "the configuration", hint: str = "architect config schema") -> UsageError:
        """All faults as one error. There must be at least one. The hint is shown for faults in a text."""
        lines = list(dict.fromkeys(self.lines))  # a file that is read for several others has its faults once
        lead = f"{len(lines)} faults in {what}:\n" if len(lines) > 1 else ""
        if len(lines) > MOST_SHOWN:
            lines[MOST_SHOWN:] = [f"and {len(lines) - MOST_SHOWN} more"]
        return UsageError(lead + "\n".join(lines), hint=hint if self.in_text else None)


def file_layer(
    path: Path, content: bytes, *, trusted: bool, faults: FaultList, is_own: bool = True, user: Tree | None = None
) -> Layer | None:
    """The layer in a file's content. If it is faulty, the faults are added to `faults` and the result is `None`.

    Keys that an untrusted file may not set are dropped, with a warning that names the command to type. So is what
    only the user's own file may set.

    Args:
        is_own: It is the user's own file.
        user: The settings of the user's own file, which an untrusted file may only tighten.
    """
    name = str(path)
    try:
        document = _canonical(read_document(content))
        data = _checked(document)
    except Faulty as error:
        faults.add(name, error.faults)
        return None
    warnings: tuple[str, ...] = ()
    if not is_own and (others := list(only_own(data))):
        for key in others:
            _drop(data, key)
        listed = ", ".join(as_written(document.places, key) for key in others)
        warnings = (f"{name}: ignored: {listed} (only your own configuration may set it)",)
    if not trusted and (refused := (*dangerous(data), *loosened(data, user or {}))):
        for key in refused:
            _drop(data, key)
        listed = ", ".join(as_written(document.places, key) for key in refused)
        warnings += (f"{name}: ignored until you trust this file: {listed} (architect config trust)",)
    origins = {leaf: f"{name}:{place_of(document.places, leaf).line}" for leaf, _ in walk(data) if leaf}
    names = {leaf: as_written(document.places, leaf) for leaf in origins}
    return Layer(data=data, origins=origins, names=names, warnings=warnings)


def environment_layer(environ: Mapping[str, str], faults: FaultList) -> Layer:
    """The layer of the variables `ARCHITECT_<KEY>`, one for each key of `parallel_runs` and two for the sandbox.

    An empty one is not set.
    """
    keys = dict(_variables())
    settings: Tree = {}
    origins: dict[KeyPath, str] = {}
    names: dict[KeyPath, str] = {}
    warnings: list[str] = []
    for variable in sorted(name for name in environ if name.startswith(VARIABLE_PREFIX)):
        key = keys.get(variable)
        if key is None:
            near = nearest(variable, keys, likeness=0.85)
            if variable not in OTHER_VARIABLES and near:
                warnings.append(f"environment {variable} is not known; did you mean {near}?")
            continue
        if not environ[variable]:
            continue
        try:
            section, name = key
            written = (section, variable.removeprefix(VARIABLE_PREFIX).lower())
            places: dict[KeyPath, Position] = {key: Position(1, 1, written)}
            data = _checked(Document({section: {name: environ[variable]}}, places))
        except Faulty as error:
            faults.add(f"environment {variable}", (Fault(None, fault.message) for fault in error.faults))
            continue
        settings = merge(settings, data)
        origins[key] = f"environment {variable}"
        names[key] = dotted(written)
    return Layer(data=settings, origins=origins, names=names, warnings=tuple(warnings))


def merge(below: Tree, above: Tree) -> Tree:
    """A merged copy: mappings are merged key by key, everything else in `above` replaces `below`."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def plain(model: BaseModel, *, only_set: bool) -> Tree:
    """A model as a tree, under the names of the file."""
    return model.model_dump(by_alias=True, exclude_unset=only_set)


def _variables() -> Iterator[tuple[str, tuple[str, str]]]:
    for key in ParallelSection.model_fields:
        yield VARIABLE_PREFIX + key.upper(), ("parallel_runs", key)
    for path, key in ALIASES.items():
        if len(path) == 2:
            yield VARIABLE_PREFIX + path[1].upper(), ("parallel_runs", key)
    yield f"{VARIABLE_PREFIX}SANDBOX", ("sandbox", "level")
    yield f"{VARIABLE_PREFIX}NETWORK", ("sandbox", "network")


def _canonical(document: Document) -> Document:
    """The document with aliases under their own names, and empty sections (`agents:` and no more) as empty mappings."""
    faults = list(document.faults)
    data: Tree = dict(document.data)
    places = dict(document.places)
    for pattern, name in ALIASES.items():
        for path, owner in _owners(data, pattern):
            own = (*path[:-1], name)
            if name in owner:
                faults.append(
                    Fault(places.get(path), f"{as_written(places, path)} is another name of {name}, which is there too")
                )
            owner[name] = owner.pop(str(path[-1]))
            places |= {own + key[len(path) :]: place for key, place in places.items() if key[: len(path)] == path}
    for section in ConfigFile.model_fields:
        if section in data and data[section] is None and section not in SINGLE_KEYS:
            data[section] = {}
        if section in ("agents", "backends", "providers") and isinstance(data.get(section), dict):
            data[section] = {name: {} if entry is None else entry for name, entry in data[section].items()}
    return Document(data, places, tuple(faults))


def _owners(data: Tree, pattern: tuple[str, ...]) -> list[tuple[KeyPath, Tree]]:
    """The places where an alias is written: its path and the mapping that contains it."""
    owners: list[tuple[KeyPath, Any]] = [((), data)]
    for step in pattern[:-1]:
        below = [
            ((*path, name), owner[name])
            for path, owner in owners
            if isinstance(owner, dict)
            for name in (list(owner) if step == "*" else [step])
            if name in owner
        ]
        owners = below
    return [((*path, pattern[-1]), owner) for path, owner in owners if isinstance(owner, dict) and pattern[-1] in owner]


def _checked(document: Document) -> Tree:
    """The settings of the document, in canonical types. Raises `Faulty` with its faults and those of the schema."""
    faults = list(document.faults)
    data: Tree = {}
    try:
        data = plain(ConfigFile.model_validate(document.data), only_set=True)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        faults += [fault_of(dict(problem), document.data, document.places) for problem in errors]
    if faults:
        raise Faulty(*sorted(faults, key=lambda fault: fault.place or Position(0, 0)))
    return data


def fault_of(
    error: Mapping[str, Any],
    data: Tree,
    places: Mapping[KeyPath, Position],
    meant: Callable[[KeyPath], str] | None = None,
) -> Fault:
    """A fault from an error of pydantic.

    Args:
        meant: Suggests a known key for an unknown one. `None` means a key of the configuration.
    """
    path, value = _path_in(data, error["loc"])
    where = as_written(places, path)
    if error["type"] == "extra_forbidden":
        return Fault(place_of(places, path), f"unknown key {where}{(meant or _meant)(path)}")
    if error["type"] == "missing":
        return Fault(place_of(places, path), f"{where} is missing")
    if error["loc"][-1] == "[key]":
        return Fault(place_of(places, path), f"{where}: the name {_words(error)}")
    what = "" if isinstance(value, (dict, list)) else f" is {'null' if value is None else quoted(value)}"
    return Fault(place_of(places, path), f"{where}{what}: {_words(error)}")


def _path_in(data: Any, location: KeyPath) -> tuple[KeyPath, Any]:
    """The path of a fault in the data, and the value there.

    pydantic adds steps that the data does not have: the kind of a union's member, and `[key]` for a fault in a key.
    """
    path: KeyPath = ()
    for position, step in enumerate(location):
        if (isinstance(data, dict) and step in data) or (isinstance(data, list) and isinstance(step, int)):
            path, data = (*path, step), cast("Any", data)[step]
        elif position == len(location) - 1 and step != "[key]":
            path, data = (*path, step), None  # a key that is missing
    return path, data


def _words(error: Mapping[str, Any]) -> str:
    match error["type"]:
        case "value_error":
            return str(error["ctx"]["error"])
        case "enum" | "literal_error":
            expected = str(error["ctx"]["expected"]).replace("'", "").replace(" or ", ", ")
            return f"must be one of {expected}"
        case "too_short":
            return "must not be empty"
        case "tuple_type" | "list_type":
            return "must be a list"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "must hold a mapping of keys to values"
        case _:
            return str(error["msg"])


def _meant(path: KeyPath) -> str:
    key = str(path[-1])
    # The commonest slip: a key of parallel_runs without its section.
    inner = nearest(key, ParallelSection.model_fields, likeness=0.8) if len(path) == 1 else None
    return f"; did you mean 'parallel_runs.{inner}'?" if inner else did_you_mean(key, _known_keys(path[:-1]))


def _known_keys(parents: KeyPath) -> list[str]:
    """Keys that are allowed below `parents`, with their other names."""
    models: dict[KeyPath, type[BaseModel]] = {(): ConfigFile, ("parallel_runs",): ParallelSection}
    model = models.get(parents)
    if model is None and parents:
        kind = ConfigFile.model_fields[str(parents[0])].annotation
        candidates = [kind, *getattr(kind, "__args__", ())]
        model = next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    if model is None:
        return []
    names = [spec.alias or name for name, spec in model.model_fields.items()]
    return names + [path[-1] for path in ALIASES if path[:-1] == parents]


def place_of(places: Mapping[KeyPath, Position], path: KeyPath) -> Position:
    """The position of `path`, or of the nearest parent that is written."""
    while path and path not in places:
        path = path[:-1]
    return places.get(path, Position(1, 1))


def _drop(data: Tree, path: KeyPath) -> None:
    """Remove a key, and its section if it becomes empty."""
    owner: Any = data
    for step in path[:-1]:
        owner = owner[step]
    del owner[path[-1]]
    if len(path) > 1 and not data[str(path[0])]:
        del data[str(path[0])]
