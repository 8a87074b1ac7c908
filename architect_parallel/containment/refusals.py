"""Paths that a contained program was refused, found in what it printed. Pure.

The kernel tells only the program. Build tools print the error with the path, and then fail with something else.
So one warning names the path and the setting that would allow it.
"""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from pathlib import Path

from architect_parallel.containment.profile import SandboxProfile

_READ_ONLY = re.compile(r"read-only file system|\bEROFS\b", re.IGNORECASE)
_DENIED = re.compile(r"permission denied|\bEACCES\b", re.IGNORECASE)
_ENDS = re.compile(r"\n|\\n")
"""Ends of lines, also as JSON writes them."""
_PATH = re.compile(r"(?<![\w.~/-])/[^\s'\"`‘’“”:,;()<>\\]+")
_LONGEST_LINE = 4000
_NO_PLACES = ("/dev", "/proc", "/sys")


def refused(text: str, profile: SandboxProfile, *, denies_writes: bool) -> dict[str, str]:
    """The refused paths in the output of a program, each with the key of `sandbox` that would allow it.

    Args:
        denies_writes: The mechanism refuses to write with "permission denied", too.
    """
    paths: dict[str, str] = {}
    written = [*profile.write, *profile.caches, profile.scratch, *map(Path, _NO_PLACES)]
    for line in _ENDS.split(text):
        is_read_only = _READ_ONLY.search(line) is not None
        if len(line) > _LONGEST_LINE or not (is_read_only or _DENIED.search(line)):
            continue
        for word in _PATH.findall(line)[-1:]:  # the first may be the program
            path = Path(os.path.normpath(word.rstrip(".]}")))
            if _is_hidden(path, profile):
                paths[str(path)] = "show"
            elif (is_read_only or denies_writes) and not any(path.is_relative_to(place) for place in written):
                paths[str(path)] = "write"
    return paths


def _is_hidden(path: Path, profile: SandboxProfile) -> bool:
    kept = (*profile.write, *profile.read)
    if any(path.is_relative_to(place) for place in kept):
        return False
    places = (path, *path.parents)
    return any(place in places for place in profile.hidden) or any(
        place.parent == directory and fnmatchcase(place.name, pattern)
        for directory, pattern in profile.hidden_patterns
        for place in places
    )
