"""A home of its own for a worker's agent, in which the user's login and configuration are linked.

Linked and never copied: no secret is written a second time, and a refreshed login is written through the link. What is
not named is not there: sessions, histories and databases are the worker's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from architect_parallel.backends import json_output as read


def own_home(directory: Path, user_home: Path, names: Iterable[str]) -> Path:
    """`directory`, made (0700) where it is missing, with those `names` linked that `user_home` has."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    link_all(directory, (user_home / name for name in names))
    return directory


def link_all(directory: Path, targets: Iterable[Path]) -> None:
    """Links those of `targets` that exist into `directory` under their own names; what is there already stays."""
    for target in targets:
        link = directory / target.name
        if target.exists() and not link.is_symlink() and not link.exists():
            link.symlink_to(target.absolute())


def holds(path: Path, word: bytes) -> bool:
    """Whether the file `path` can be read and has `word` in it."""
    try:
        return word in path.read_bytes()
    except OSError:
        return False


def home_of(environ: Mapping[str, str]) -> Path:
    """The user's home directory; one that does not exist when the environment names none."""
    return Path(environ.get("HOME") or "/nonexistent")


def write_private(path: Path, text: str) -> Path:
    """Writes a file of the worker's own (0600) and returns its path."""
    path.touch(mode=0o600, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="replace")
    return path


def layered_settings(path: Path, ours: Mapping[str, Any], machine: Path) -> Path:
    """Writes settings that stand under all others: `ours`, and over them what the file `machine` already says.

    gemini and qwen read such a file of defaults; the user's own settings go before it.
    """
    theirs: Mapping[str, Any] = {}
    try:
        theirs = read.parse_object(machine.read_bytes()) or {}
    except OSError:
        pass
    return write_private(path, json.dumps(_merged(ours, theirs), indent=1))


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(under)
    for key, value in over.items():
        below = both.get(key)
        both[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return both
