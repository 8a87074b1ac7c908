"""Write values into a configuration file. Comments, order and everything else in it stay as they are.

Invariant: a file is replaced only by one that has exactly the new values besides what it had.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from architect_parallel.config.schema import ALIASES
from architect_parallel.config.yaml_source import Faulty, read_bytes, read_document
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.system.files import make_private_dir, replace_file

_PLAIN = re.compile(r"[A-Za-z./~][A-Za-z0-9 ._/-]*", re.ASCII)
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "~"})

Values = Mapping[tuple[str, str], Any]
"""(section, key) → value."""


def changed_text(text: str, values: Values) -> str:
    """The text of a configuration file with these values.

    Raises:
        ValueError: The text is written in a way that this cannot change.

    >>> changed_text("# mine\\nparallel_runs:\\n  workers: 3  # few\\n", {("parallel_runs", "backend"): "claude"})
    '# mine\\nparallel_runs:\\n  backend: claude\\n  workers: 3  # few\\n'
    """
    try:
        expected = _data(text)
        for (section, key), value in values.items():
            text = _changed(text, section, key, value)
            expected = {**expected, _name_in(expected, section): {**(expected.get(_name_in(expected, section)) or {})}}
            expected[_name_in(expected, section)][key] = value
        if _data(text) != expected:
            raise ValueError("it would change something else")
    except (yaml.YAMLError, Faulty, TypeError, AttributeError) as error:
        raise ValueError("it cannot be read") from error
    return text


def write_values(path: Path, values: Values) -> None:
    """Set these values in the configuration file at `path`, which is made if it does not exist.

    Raises:
        EnvironmentProblem: It cannot be written, or is written in a way that cannot be changed here.
    """
    target = Path(os.path.realpath(path))  # a link, as those who keep their configuration elsewhere have it, stays
    lines = "; ".join(f"{section}.{key}: {_written(value)}" for (section, key), value in values.items())
    try:
        before = read_bytes(target)
        new = changed_text((before or b"").decode(), values)
        if before is None and path.parent == target.parent:
            make_private_dir(path.parent) if not path.parent.exists() else None
        replace_file(target, new.encode(), mode=0o600 if before is None else target.stat().st_mode & 0o777)
    except OSError as error:
        raise EnvironmentProblem(f"{path} cannot be written: {error.strerror}", hint=f"set {lines}") from error
    except (ValueError, Faulty) as error:
        raise EnvironmentProblem(f"{path} cannot be changed: {error}", hint=f"set {lines} there") from error


def _data(text: str) -> dict[str, Any]:
    document = read_document(text.encode())
    if document.faults:
        raise Faulty(*document.faults)
    data: dict[str, Any] = document.data
    return data


def _name_in(data: Mapping[str, Any], section: str) -> str:
    """The name of the section as it is written: its own, or an alias."""
    names = (section, *(path[0] for path, own in ALIASES.items() if own == section and len(path) == 1))
    return next((name for name in names if name in data), section)


def _changed(text: str, section: str, key: str, value: Any) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if text and not text.endswith("\n"):
        text += "\n"
    entry = f"{key}: {_written(value)}"
    if root is None:
        return f"{text}{section}:\n  {entry}\n"
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("it holds no sections")
    name = _name_in({node.value: None for node, _ in root.value}, section)
    body = next((below for node, below in root.value if node.value == name), None)
    if body is None:
        if root.flow_style:
            return _inserted(text, root, f"{section}: {{{entry}}}")
        return f"{text}{section}:\n  {entry}\n"
    if not isinstance(body, yaml.MappingNode):  # `section:` and no more
        return f"{text[: body.start_mark.index].rstrip(' ')}\n  {entry}{text[body.end_mark.index :]}"
    old = next(((node, below) for node, below in body.value if node.value == key), None)
    if old is not None:
        begin, end = old[0].end_mark.index, old[1].end_mark.index
        # A list in lines ends where the next key begins.
        tail = text[begin + len(text[begin:end].rstrip(" \n")) : end]
        return f"{text[:begin]}: {_written(value)}{tail}{text[end:]}"
    return _inserted(text, body, entry)


def _inserted(text: str, body: Any, entry: str) -> str:
    """The text with an entry at the beginning of a mapping."""
    if body.flow_style:
        at = body.start_mark.index + 1
        return f"{text[:at]}{entry}{', ' if body.value else ''}{text[at:]}"
    at, column = body.start_mark.index, body.start_mark.column
    return f"{text[:at]}{entry}\n{' ' * column}{text[at:]}"


def _written(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS and value == value.strip():
        return value
    return json.dumps(value, ensure_ascii=False)
