"""The files that an ACP agent reads and writes through its client: text files inside the worktree, nothing else."""

from __future__ import annotations

import os
import stat
from itertools import islice
from pathlib import Path

from architect_parallel.backends import reader_tools as read
from architect_parallel.backends.reader_tools import Json

LARGEST_BYTES = 32 * 2**20
_INVALID = -32602
_NOT_FOUND = -32002


class FileRefused(Exception):
    """A request of the agent that gets an error as its answer."""

    def __init__(self, message: str, code: int = _INVALID) -> None:
        super().__init__(message)
        self.code = code


class FileAccess:
    """Text files inside one directory."""

    def __init__(self, root: Path, *, can_write: bool) -> None:
        self._root = os.path.realpath(root)
        self.can_write = can_write

    def read(self, params: Json) -> str:
        """The text that `fs/read_text_file` asks for: whole, or `limit` lines from `line` (from 1) on.

        Raises:
            FileRefused: The file is outside, missing, too large or not text.
        """
        place = self._inside(params)
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, encoding="utf-8", newline="") as file:
                details = os.fstat(descriptor)
                if not stat.S_ISREG(details.st_mode) or details.st_size > LARGEST_BYTES:
                    raise FileRefused(f"not a text file of at most {LARGEST_BYTES} bytes: {place}")
                first, limit = read.count(params.get("line")), read.count(params.get("limit"))
                start = max((first or 1) - 1, 0)
                return "".join(islice(file, start, None if limit is None else start + limit))
        except FileNotFoundError:
            raise FileRefused(f"Resource not found: {place}", code=_NOT_FOUND) from None
        except UnicodeDecodeError:
            raise FileRefused(f"not UTF-8 text: {place}") from None
        except OSError as error:
            raise FileRefused(f"{error.strerror}: {place}") from None

    def write(self, params: Json) -> None:
        """Write the text of `fs/write_text_file`. Missing directories are made.

        Raises:
            FileRefused: The file is outside or cannot be written, or nothing may be written.
        """
        if not self.can_write:
            raise FileRefused("this session may only read")
        place = self._inside(params)
        try:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            # Without a reader, writing to a full pipe would block for ever.
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="", errors="replace") as file:
                file.write(read.text(params, "content"))
        except OSError as error:
            raise FileRefused(f"{error.strerror}: {place}") from None

    def _inside(self, params: Json) -> str:
        """The path, links resolved, which must be inside the directory and not in git's own."""
        path = read.text(params, "path")
        if not os.path.isabs(path) or "\0" in path:
            raise FileRefused(f"not an absolute path: {path}")
        place = os.path.realpath(path)
        inside = os.path.relpath(place, self._root).split(os.sep)
        if inside[0] in (os.pardir, os.curdir):
            raise FileRefused(f"outside the worktree: {path}")
        if inside[0].lower() == ".git":
            raise FileRefused(f"inside git's own directory: {path}")
        return place
