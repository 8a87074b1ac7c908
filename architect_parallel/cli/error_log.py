"""Write the details of internal problems to a file instead of the terminal."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TextIO

from architect_parallel.cli.console import note
from architect_parallel.text.sanitize import one_line


class DetailsFile(logging.Handler):
    """Write warnings and errors of this program to a file, which is made with the first one."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._file: TextIO | None = None
        self._path = self._last = ""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # for example a full disk; what matters is reported elsewhere
            file = self._file = self._file or self._made()
            file.write(f"{record.name}: {self.format(record)}\n")
            file.flush()
            error = record.exc_info[1] if record.exc_info else None
            text = record.getMessage() if error is None else str(error) or type(error).__name__
            self._last = one_line(text, 300)

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
            note(f"internal problem: {self._last}; details: {self._path}")
