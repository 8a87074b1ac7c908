"""Record the filtered files of a worktree before its agent runs."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

from architect_parallel.repository.filters import drivers_of
from architect_parallel.repository.index_file import parse_index
from architect_parallel.snapshots.baseline import WorktreeFacts
from architect_parallel.system.git import Git

DIGESTED_FILE_BYTES = 2**20
DIGESTED_BYTES = 2**24
"""Most bytes of one file, and of all files, that get a digest. Larger files are compared by their times alone.

A digest matters for filters that encrypt differently each time.
"""


def record_filtered_files(git: Git, facts: WorktreeFacts, index: Path) -> WorktreeFacts:
    """The facts, completed with the filtered files and their digests.

    Raises:
        GitError: The attributes cannot be read.
    """
    if not facts.filters.drivers:
        return facts
    facts = dataclasses.replace(facts, sealed_ns=index.lstat().st_ctime_ns)
    frozen = "filter" in facts.attributes or "filter" in facts.user_attributes
    try:
        data = index.read_bytes()
        # Most repositories have none, and parsing all entries is slower. Version 4 of the format shortens names.
        if not frozen and b".gitattributes" not in data and data[4:8] != b"\0\0\0\4":
            return facts
        entries = parse_index(data, len(facts.base_commit) // 2)
    except (OSError, ValueError):
        return dataclasses.replace(facts, has_filtered=True)
    top = Path(facts.worktree)
    rules = [path for path in entries if os.path.basename(path) == ".gitattributes"]
    if not frozen and not any(mentions_filter(top / path) or not (top / path).is_file() for path in rules):
        return facts
    if not facts.filters.place:
        return dataclasses.replace(facts, has_filtered=True)
    filtered, left = {}, DIGESTED_BYTES
    for path, name in drivers_of(git, entries).items():
        try:
            file = os.lstat(top / path)
        except OSError:
            continue
        entry = entries[path]
        if name in facts.filters.drivers and entry.matches(file) and file.st_size <= min(DIGESTED_FILE_BYTES, left):
            left -= file.st_size
            if content := digest(top / path):
                filtered[path] = (entry.oid, content)
    return dataclasses.replace(facts, has_filtered=True, filtered=filtered)


def digest(path: Path) -> str:
    """SHA-256 of a file. Empty means that it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def mentions_filter(path: Path) -> bool:
    """Return whether an attributes file has the word `filter` in it."""
    try:
        return not path.is_symlink() and b"filter" in path.read_bytes()
    except OSError:
        return False
