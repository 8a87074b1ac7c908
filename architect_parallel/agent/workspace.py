"""The file tools: read, write, edit, list and search below one directory and nowhere else.

A path is relative to that directory. `..`, absolute paths and symbolic links are allowed if they end inside it. Nothing
below `.git` is written. This holds against a model that errs, not against the processes of its shell tool: those can do
what the user can, and worktrees keep them apart.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from architect_parallel.system.files import replace_file

READ_LINES = 2000
LINE_CHARACTERS = 2000
READ_BYTES = 8 * 1024 * 1024
LIST_ENTRIES = 1000


class ToolProblem(Exception):
    """A tool cannot do what the model asked. The text is for the model."""


class WorkingDirectory:
    """The directory an agent works in."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))

    def locate(self, path: str, *, for_writing: bool = False) -> Path:
        """Resolve a path that the model gave.

        Raises:
            ToolProblem: It is outside, is not a path, or is below `.git` and is to be written.
        """
        if not path or "\0" in path:
            raise ToolProblem("path is empty or holds a NUL byte")
        place = Path(os.path.realpath(self.root / path))
        if place != self.root and self.root not in place.parents:
            raise ToolProblem(f"{path} is outside the working directory; use paths relative to it")
        if for_writing and any(part.casefold() == ".git" for part in place.relative_to(self.root).parts):
            raise ToolProblem(f"{path} belongs to git and is not written by hand")
        return place

    def read(self, path: str, offset: int = 1, limit: int = READ_LINES) -> str:
        """Lines of a text file from `offset` (from 1) on, numbered. Undecodable bytes are replaced."""
        lines = self._bytes(path, self.locate(path)).decode("utf-8", "replace").split("\n")
        if lines and not lines[-1]:
            lines.pop()
        first = max(1, offset)
        chosen = lines[first - 1 : first - 1 + max(1, min(limit, READ_LINES))]
        if not chosen:
            return f"({path} has {len(lines)} lines)"
        shown = "\n".join(f"{number:6}\t{line[:LINE_CHARACTERS]}" for number, line in enumerate(chosen, first))
        rest = len(lines) - (first - 1 + len(chosen))
        return shown + (f"\n({rest} more lines)" if rest else "")

    def write(self, path: str, content: str) -> str:
        """Create or replace a file. Missing directories are made."""
        place = self.locate(path, for_writing=True)
        if place.is_dir():
            raise ToolProblem(f"{path} is a directory")
        place.parent.mkdir(parents=True, exist_ok=True)
        self._replace(place, content.encode("utf-8", "replace"))
        return f"wrote {path}"

    def edit(self, path: str, old: str, new: str, replace_all: bool = False) -> str:
        """Replace text that occurs exactly once in the file, or everywhere with `replace_all`. Other bytes stay."""
        place = self.locate(path, for_writing=True)
        data = self._bytes(path, place)
        before, after = old.encode("utf-8", "replace"), new.encode("utf-8", "replace")
        if not before:
            raise ToolProblem("old is empty; use write for a new file")
        if before not in data and b"\r\n" in data:
            before, after = (text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for text in (before, after))
        count = data.count(before)
        if count == 0:
            raise ToolProblem(f"old does not occur in {path}; read the file and copy it exactly")
        if count > 1 and not replace_all:
            raise ToolProblem(f"old occurs {count} times in {path}; give more of the lines around it")
        self._replace(place, data.replace(before, after))
        return f"edited {path} ({count} place{'s' if count > 1 else ''})"

    def list(self, path: str = ".") -> str:
        """Names in a directory, sorted. Directories end in `/`, and `.git` is left out."""
        place = self.locate(path)
        if not place.is_dir():
            raise ToolProblem(f"{path} is not a directory")
        with os.scandir(place) as entries:
            names = sorted(
                _shown(entry.name) + ("/" if entry.is_dir(follow_symlinks=False) else "")
                for entry in entries
                if entry.name != ".git"
            )
        more = f"\n({len(names) - LIST_ENTRIES} more)" if len(names) > LIST_ENTRIES else ""
        return "\n".join(names[:LIST_ENTRIES]) + more or "(empty)"

    def _bytes(self, path: str, place: Path) -> bytes:
        try:
            status = place.stat()
        except FileNotFoundError as error:
            raise ToolProblem(f"{path} does not exist") from error
        if not stat.S_ISREG(status.st_mode):  # a FIFO would be read for ever
            raise ToolProblem(f"{path} is not a file")
        if status.st_size > READ_BYTES:
            raise ToolProblem(f"{path} has {status.st_size} bytes; too large for this tool")
        return place.read_bytes()

    def _replace(self, place: Path, data: bytes) -> None:
        mode = stat.S_IMODE(place.stat().st_mode) if place.exists() else 0o644
        replace_file(place, data, mode=mode)


def _shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")
