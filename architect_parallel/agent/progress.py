"""The agent's progress, as JSON lines in the file that the launcher names.

Every line is complete and has totals, so that a reader may miss any of them. Only counts, the model's text and tool
names are written, never a key or the content of a file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.text.sanitize import one_line

PROGRESS_VARIABLE = "ARCHITECT_PROGRESS_FILE"
TEXT_CHARACTERS = 500


class ProgressLog:
    """Appends lines to a file and passes the text in them to a person.

    `None` means no file, or no reader.
    """

    def __init__(self, path: Path | None = None, say: Callable[[str], None] | None = None) -> None:
        self._say = say
        self._descriptor = -1
        if path is not None:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @classmethod
    def of(cls, environ: Mapping[str, str], say: Callable[[str], None] | None) -> ProgressLog:
        """Open the progress file that the environment names.

        Raises:
            EnvironmentProblem: It cannot be written.
        """
        path = environ.get(PROGRESS_VARIABLE)
        try:
            return cls(Path(path) if path else None, say)
        except OSError as error:
            problem = f"{PROGRESS_VARIABLE}={path} cannot be written: {error.strerror}"
            raise EnvironmentProblem(problem, hint=f"unset {PROGRESS_VARIABLE}") from error

    def tell(self, **facts: Any) -> None:
        """Append one line. A full disk does not stop the agent."""
        if "text" in facts:
            facts["text"] = one_line(str(facts["text"]), TEXT_CHARACTERS)
        if self._say is not None and (facts.get("text") or facts.get("tool")):
            self._say(str(facts.get("text") or f"  {facts['tool']} {facts.get('on', '')}").rstrip())
        if self._descriptor < 0:
            return
        line = json.dumps(facts, ensure_ascii=True, allow_nan=False, separators=(",", ":")) + "\n"
        try:
            os.write(self._descriptor, line.encode())
        except OSError:
            self.close()

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
