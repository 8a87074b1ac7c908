"""Sessions of the embedded agent: one file each, so that a further task goes on with what was said.

Written whole before the model is asked first and after each of its replies, so a session whose id was told can be
resumed however its agent ended. What a file holds is what the model and the tools said, and no key beyond that: 0600 in
a directory of 0700. A session that cannot be written does not stop the agent; its report says so. How long they stay
is in `planning.retention`.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from architect_parallel.errors import UsageError
from architect_parallel.system.files import make_private_dir, replace_file
from architect_parallel.system.retention import outdated
from architect_parallel.text.names import read_session
from architect_parallel.text.sanitize import one_line

FORM = 1
"""Of the file; another number is a file of another version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A session as its file tells it."""

    model: str
    """As it was asked for, `provider:model` where it was so written."""
    said: Any
    """What `Conversation.said` gave."""


class Sessions:
    """The sessions in a directory; `None`: none are kept and none are known."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def load(self, session_id: str) -> Kept:
        """The session `session_id`.

        Raises:
            UsageError: The id cannot be one, there is no such session, or its file is damaged.
        """
        path = self._path(session_id)
        if path is None:
            raise UsageError("no sessions are kept here")
        try:
            found = json.loads(path.read_bytes())
            if found["form"] != FORM or found["session_id"] != session_id or not isinstance(found["model"], str):
                raise ValueError("not the form of a session")
            return Kept(model=found["model"], said=found["said"])
        except FileNotFoundError as error:
            hint = "the session id of a run is in its --json report"
            raise UsageError(f"there is no session {session_id} in {path.parent}", hint=hint) from error
        except OSError as error:
            raise UsageError(f"the session {path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise damaged(session_id) from error

    def save(self, session_id: str, kept: Kept) -> str | None:
        """Keeps the session in place of what was kept of it; why it could not be, in words, else `None`."""
        path = self._path(session_id)
        if path is None:
            return None
        document = {"form": FORM, "session_id": session_id, "model": kept.model, "said": kept.said}
        try:
            data = json.dumps(document, allow_nan=False).encode()
            make_private_dir(path.parent)
            replace_file(path, data, mode=0o600)
        except OSError as error:
            return f"the session was not kept, {path.parent} cannot be written: {error.strerror}"
        except (ValueError, TypeError) as error:
            return f"the session was not kept: {one_line(str(error), 200)}"
        return None

    def remove_outdated(self, now_s: float, besides: str | None = None) -> None:
        """Removes sessions that nobody resumed for long, but for `besides`, which is about to be resumed. One that
        another process is at is written whole again at its next reply."""
        if self._directory is None:
            return
        with contextlib.suppress(OSError):
            last_used_s = {path: path.stat().st_mtime for path in self._directory.glob("*.json")}
            for path in outdated(last_used_s, now_s):
                if path.stem != besides:
                    path.unlink(missing_ok=True)

    def _path(self, session_id: str) -> Path | None:
        try:
            name = read_session(session_id)
        except ValueError as error:
            raise UsageError(f"--resume: {error}") from None
        return None if self._directory is None else self._directory / f"{name}.json"


def damaged(session_id: str) -> UsageError:
    """What to say of a session whose file holds no conversation for this model."""
    return UsageError(f"the session {session_id} is damaged, or another kind of model's", hint="begin without --resume")
