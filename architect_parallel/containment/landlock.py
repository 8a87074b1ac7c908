"""The level `write` by Landlock, for machines where no namespace can be had: containers, hardened kernels.

Landlock only grants. So that some paths below a directory stay unread, every entry beside them is granted, branch by
branch. What Landlock does not know is a gap, and is named as one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping

from architect_parallel.system.landlock import SCOPES, landlock_version

LEAST_VERSION = 3
"""The first version that knows about shortened files."""
_EXECUTE, _WRITE, _READ, _READ_DIR, _TRUNCATE, _IOCTL = 1, 2, 4, 8, 1 << 14, 1 << 15
_ALL = {3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""The rights over files, by the first version that knows them."""
READING = _EXECUTE | _READ
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm")
_GAPS = (
    "modes, times and attributes of files elsewhere can be changed",
    "sockets of services can be reached, such as those of a container engine or a key agent",
    "names of hidden files and other processes can be seen",
    "/dev/shm and shared memory are not private",
    "/tmp cannot be written; TMPDIR names a private directory",
    "sandboxes of programs do not start inside, such as a browser's",
)
_GAPS_BEFORE_SCOPES = ("your other processes can be signalled", "abstract sockets can be reached")


def gaps() -> tuple[str, ...]:
    """The parts of the promise that Landlock cannot keep with this kernel."""
    return _GAPS + (() if landlock_version() >= SCOPES.version else _GAPS_BEFORE_SCOPES)


def handled_rights() -> int:
    """All rights over files that this kernel knows, as bits."""
    version = landlock_version()
    return max(rights for first, rights in _ALL.items() if first <= version)


def scopes() -> int:
    """The scopes that this kernel knows, as bits."""
    return SCOPES.signals | SCOPES.abstract_sockets if landlock_version() >= SCOPES.version else 0


def rules(written: Collection[str], read: Collection[str], hidden: Collection[str]) -> Iterator[str]:
    """The rules of a program, each as `RIGHTS PATH`. Paths are real ones that exist.

    Args:
        read: Granted although something above is hidden.
    """
    everything = handled_rights()
    granted: dict[str, int] = {"/": _READ_DIR}
    for path in _visible("/", frozenset(hidden)):
        granted[path] = granted.get(path, 0) | READING
    for path in read:
        for inner in _visible(path, frozenset(hidden) - {path}):
            granted[inner] = granted.get(inner, 0) | READING
    for name in DEVICES:
        granted[f"/dev/{name}"] = everything
    for path in written:
        granted[path] = everything
    of_files = (READING | _WRITE | _TRUNCATE | _IOCTL) & everything
    for path, rights in granted.items():
        yield f"{rights if os.path.isdir(path) else rights & of_files} {path}"


def _visible(path: str, hidden: frozenset[str]) -> Iterator[str]:
    """The highest paths at and below `path` that hide nothing."""
    if path in hidden:
        return
    inside = path.rstrip("/") + "/"
    if not any(name.startswith(inside) for name in hidden):
        yield path
        return
    try:
        entries = list(os.scandir(path))
    except OSError:
        return
    for entry in entries:
        if not entry.is_symlink():  # its target has a path of its own
            yield from _visible(entry.path, hidden)


def environment(env: Mapping[str, str], caches: Mapping[str, tuple[str, str]], scratch: str) -> dict[str, str]:
    """The variables of a program without a private `/tmp`: temporary files and caches go to its scratch directory.

    Args:
        caches: The variable and its form for each cache.
    """
    moved = dict.fromkeys(("TMPDIR", "TMP", "TEMP"), f"{scratch}/tmp")
    for cache, (name, form) in caches.items():
        moved[name] = form.format(f"{scratch}/tmp/{cache}")
    return {**env, **moved}
