"""Keys of a document under their own names: aliases, camelCase and what a dialect calls them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from architect_parallel.config.fields import Section
from architect_parallel.config.layers import place_of
from architect_parallel.config.task_schema import own_name
from architect_parallel.config.yaml_source import Fault, KeyPath, Position, as_written
from architect_parallel.text.suggest import did_you_mean

Sections = Mapping[tuple[str, ...], type[Section]]
"""The section at each path, parents first. `*` is any key or index."""


def canonical_keys(
    data: Mapping[str, Any],
    path: KeyPath,
    known: Collection[str],
    places: dict[KeyPath, Position],
    faults: list[Fault],
    name_of: Callable[[str, Collection[str]], str] = own_name,
) -> dict[str, Any]:
    """Rename the keys of `data` to their own names. Adds to `places` and `faults`."""
    renamed: dict[str, Any] = {}
    for key, value in data.items():
        own = name_of(key, known)
        if own != key and own in data:
            faults.append(
                Fault(
                    place_of(places, (*path, key)),
                    f"{as_written(places, (*path, key))} is another name of {own}, which is there too",
                )
            )
            continue
        if own in renamed:
            faults.append(
                Fault(
                    place_of(places, (*path, key)),
                    f"{as_written(places, (*path, key))} is another name of {own}, which is there under yet another",
                )
            )
            continue
        if own != key:
            places[(*path, own)] = place_of(places, (*path, key))
            _put_places((*path, key), (*path, own), value, places)
        renamed[own] = value
    return renamed


def canonical_sections(
    data: Any,
    sections: Sections,
    places: dict[KeyPath, Position],
    faults: list[Fault],
    name_of: Callable[[str, Collection[str]], str] = own_name,
) -> Any:
    """Rename the keys of all `sections` of `data` to their own names. Adds to `places` and `faults`."""

    def renamed(value: Any, pattern: tuple[str, ...], path: KeyPath, rest: tuple[str, ...]) -> Any:
        if isinstance(value, dict) and not rest:
            return canonical_keys(value, path, keys_of(sections[pattern]), places, faults, name_of)
        if isinstance(value, list) and rest[:1] == ("*",):
            return [renamed(item, pattern, (*path, index), rest[1:]) for index, item in enumerate(value)]
        if isinstance(value, dict):
            keys = list(value) if rest[0] == "*" else [rest[0]] if rest[0] in value else []
            return value | {key: renamed(value[key], pattern, (*path, key), rest[1:]) for key in keys}
        return value

    for pattern in sections:
        data = renamed(data, pattern, (), pattern)
    return data


def meant_in(sections: Sections) -> Callable[[KeyPath], str]:
    """Return what offers a known key for the unknown one at a path, as the end of a message."""

    def matches(own: str, step: str | int) -> bool:
        return own in ("*", step)

    def meant(path: KeyPath) -> str:
        for pattern, model in sections.items():
            if len(pattern) == len(path) - 1 and all(
                own in ("*", step) for own, step in zip(pattern, path, strict=False)
            ):
                return did_you_mean(str(path[-1]), keys_of(model))
        return ""

    return meant


def keys_of(model: type[Section]) -> list[str]:
    """The keys of a section as people write them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _put_places(old: KeyPath, new: KeyPath, value: Any, places: dict[KeyPath, Position]) -> None:
    """Copy the places below a key to its other name."""
    inner = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for step in inner:
        if (*old, step) in places:
            places[(*new, step)] = places[(*old, step)]
        _put_places((*old, step), (*new, step), value[step], places)
