"""Files of a git directory that an agent may have written: read and copied as data.

No link is followed, and git runs on such a directory only where the format of its refs leaves no other way.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from architect_parallel.system.files import delete_tree, names
from architect_parallel.system.git import Git

OBJECT_ID = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_LARGEST_REF_FILE = 4096


def read_refs(directory: Path) -> dict[str, str]:
    """The refs of a git directory as full name → object id. Symbolic refs and links are left out."""
    if names(directory / "reftable"):  # the agent changed the format: only git can read it
        output = Git(cwd=directory, git_dir=directory).run("for-each-ref", "--format=%(objectname) %(refname)")
        return parse_packed_refs(output.stdout)
    refs = parse_packed_refs(read_regular_file(directory / "packed-refs", largest=None))
    for file in files_below(directory / "refs"):
        text = read_regular_file(file).decode("ascii", "replace").strip()
        if OBJECT_ID.fullmatch(text):
            refs[os.path.relpath(file, directory)] = text
    return refs


def parse_packed_refs(packed: bytes) -> dict[str, str]:
    """Read lines `<object id> <ref>`. Other lines are ignored."""
    refs = {}
    for line in packed.split(b"\n"):
        oid, _, ref = os.fsdecode(line).partition(" ")
        if OBJECT_ID.fullmatch(oid) and ref.startswith("refs/"):
            refs[ref] = oid
    return refs


def read_reflog(file: Path) -> list[tuple[str, str]]:
    """(Commit, message) of each entry, oldest first.

    An entry is `<old> <new> <who> <time> <zone>\\t<message>`. What is no entry is ignored.
    """
    entries = []
    for line in read_regular_file(file, largest=None).split(b"\n"):
        head, _, message = line.partition(b"\t")
        fields = head.split(b" ", 2)
        if len(fields) == 3 and OBJECT_ID.fullmatch(oid := fields[1].decode("ascii", "replace")) and set(oid) != {"0"}:
            entries.append((oid, message.decode("utf-8", "replace")))
    return entries


def files_below(directory: Path) -> Iterator[Path]:
    """The files below a directory, at any depth. A directory that cannot be read counts as empty."""
    for parent, _, files in os.walk(directory):
        for name in files:
            yield Path(parent, name)


def read_regular_file(path: Path, largest: int | None = _LARGEST_REF_FILE) -> bytes:
    """Bytes of a regular file, or nothing where it is no regular file or larger than `largest` bytes.

    `None` means no limit.
    """
    try:
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and (largest is None or status.st_size <= largest):
            return path.read_bytes()
    except OSError:
        pass
    return b""


def copy_regular_file(source: Path, target: Path) -> None:
    """Copy a regular file with its mode and times in place of `target`. A link or a device is left out."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISREG(source.lstat().st_mode):
            target.parent.mkdir(parents=True, exist_ok=True)
            delete_tree(target)
            shutil.copy2(source, target)


def size_and_time(path: Path) -> tuple[int, int] | None:
    """Size in bytes and mtime in nanoseconds. `None` means that `path` is no regular file."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def is_same_path(one: Path, other: Path) -> bool:
    """Return whether two paths name the same place once links are resolved."""
    return os.path.realpath(one) == os.path.realpath(other)
