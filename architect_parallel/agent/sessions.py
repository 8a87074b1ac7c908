"""Sessions of the embedded agent, one file each, so that a later task continues the conversation.

A session is written before the first request and after each reply. So a session whose id was printed can be resumed,
however its agent ended. The file holds what the model and the tools said, and no key beyond that: 0600 in a directory
of 0700. A session that cannot be written does not stop the agent, and its report says so. `system.retention` decides
when sessions are removed.
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
"""Version of the file's form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """A session as stored."""

    model: str
    """The model as it was requested, `provider:model` if it was written so."""
    messages: Any
    """The messages, as `Conversation.saved` returned them."""


class Sessions:
    """The sessions in a directory. `None` means that none are kept and none are known."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def load(self, session_id: str) -> StoredSession:
        """Load the session `session_id`.

        Raises:
            UsageError: The id is invalid, there is no such session, or its file is damaged.
        """
        path = self._path(session_id)
        if path is None:
            raise UsageError("no sessions are kept here")
        try:
            stored = json.loads(path.read_bytes())
            if stored["form"] != FORM or stored["session_id"] != session_id or not isinstance(stored["model"], str):
                raise ValueError("not the form of a session")
            return StoredSession(model=stored["model"], messages=stored["said"])
        except FileNotFoundError as error:
            hint = "the session id of a run is in its --json report"
            raise UsageError(f"there is no session {session_id} in {path.parent}", hint=hint) from error
        except OSError as error:
            raise UsageError(f"the session {path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise damaged(session_id) from error

    def save(self, session_id: str, kept: StoredSession) -> str | None:
        """Save the session over its last version. Return the reason of a failure, otherwise `None`."""
        path = self._path(session_id)
        if path is None:
            return None
        document = {"form": FORM, "session_id": session_id, "model": kept.model, "said": kept.messages}
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
        """Remove sessions that were not resumed for long, except `besides`, which is about to be resumed.

        If another process uses one of them, its next reply writes the session again as a whole.
        """
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
    """The error for a session whose file holds no conversation for this model."""
    return UsageError(f"the session {session_id} is damaged, or another kind of model's", hint="begin without --resume")
