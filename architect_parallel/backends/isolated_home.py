"""A home directory for one worker's agent, with links to the user's login and configuration.

Links instead of copies: no login is written a second time, and a refreshed one is written through the link. Only a
settings file that needs values of ours is a copy (0600). Everything else is absent: sessions, histories and databases
belong to the worker.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from architect_parallel.backends import reader_tools as read


def own_home(directory: Path, user_home: Path, names: Iterable[str]) -> Path:
    """Make `directory` (0700) if it is missing, and link those `names` that `user_home` has."""
    for place in (directory.parent, directory):
        if place.is_symlink():  # an earlier attempt's agent pointed its home elsewhere
            place.unlink()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    link_all(directory, (user_home / name for name in names))
    return directory


def link_all(directory: Path, targets: Iterable[Path]) -> None:
    """Link those of `targets` that exist into `directory` under their own names. Existing entries stay."""
    for target in targets:
        link = directory / target.name
        if target.exists() and not link.is_symlink() and not link.exists():
            link.symlink_to(target.absolute())


def holds(path: Path, word: bytes) -> bool:
    """Tell whether the file `path` can be read and contains `word`."""
    try:
        return word in path.read_bytes()
    except OSError:
        return False


def home_of(environ: Mapping[str, str]) -> Path:
    """The user's home directory, or a path that does not exist if the environment names none."""
    return Path(environ.get("HOME") or "/nonexistent")


def write_private(path: Path, text: str) -> Path:
    """Write a file of the worker (0600) and return its path.

    A link at that path is replaced, never followed: an earlier attempt's agent may have left one.
    """
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
        file.write(text)
    return path


def worker_settings(path: Path, user_file: Path, *, under: Mapping[str, Any], over: Mapping[str, Any]) -> Path:
    """Write a worker's settings file: the user's values, `under` where the user has none, and `over` on top.

    The user's file may hold comments. A file that cannot be parsed even so is linked as it is: the agent has to judge
    it.
    """
    try:
        text = user_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = "{}"
    user = read.parse_object(_without_comments(text))
    if user is None:
        path.unlink(missing_ok=True)
        path.symlink_to(user_file.absolute())
        return path
    return write_private(path, json.dumps(merged(merged(under, user), over), indent=1))


def _without_comments(text: str) -> str:
    """Remove `//` and `/* */` comments and trailing commas from JSON text."""
    kept = re.sub(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', lambda match: match[1] or " ", text, flags=re.DOTALL)
    return re.sub(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', lambda match: match[1] or "", kept, flags=re.DOTALL)


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`under` with the values of `over`, object by object."""
    both = dict(under)
    for key, value in over.items():
        below = both.get(key)
        both[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return both
