"""Where the details of what went wrong beside the main thing go: a file for us, not the user's terminal."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TextIO

from architect_parallel.cli.console import note
from architect_parallel.text.sanitize import one_line


class DetailsFile(logging.Handler):
    """Takes warnings and worse of this program; the file is made with the first one."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._file: TextIO | None = None
        self._path = self._last = ""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # a full disk, say: what matters is told elsewhere
            file = self._file = self._file or self._made()
            file.write(f"{record.name}: {self.format(record)}\n")
            file.flush()
            error = record.exc_info[1] if record.exc_info else None
            said = record.getMessage() if error is None else str(error) or type(error).__name__
            self._last = one_line(said, 300)

    def _made(self) -> TextIO:
        import tempfile

        descriptor, self._path = tempfile.mkstemp(prefix="architect-details-", suffix=".log")
        return os.fdopen(descriptor, "w", errors="replace")

    def __enter__(self) -> DetailsFile:
        logging.getLogger("architect_parallel").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("architect_parallel").removeHandler(self)
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            note(f"something did not work: {self._last}; details: {self._path}")
