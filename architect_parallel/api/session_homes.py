"""Where agents that run in place (`architect run --backend NAME`) keep their state, so that `--resume` finds it again.

Most agent CLIs keep a session in the home they are given, and paths of it in there: a home is never moved. It lies in
the user's state directory (0700), and a file named after the session says which one it is. A home in which no session
was begun is removed at once.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.backends.base import Backend
from architect_parallel.errors import UsageError
from architect_parallel.planning.naming import read_session
from architect_parallel.system.files import make_private_dir, replace_file


@dataclass(slots=True, kw_only=True)
class SessionHome:
    """The state directory of one agent process."""

    path: Path
    session_id: str | None = None
    """To be set when the agent named its session; without one the directory goes."""


@contextlib.contextmanager
def session_home(base: Path, backend: Backend, resumed: str | None) -> Iterator[SessionHome]:
    """A state directory for `backend` below `base`: that of the session `resumed`, else a fresh one.

    Raises:
        UsageError: The session is unknown, and this backend would have it here.
    """
    place = base / backend.name
    found = _home_of(place, resumed) if resumed is not None else None
    if found is None and resumed is not None and backend.capabilities.sessions_in_state:
        hint = f"sessions that `architect run --backend {backend.name} --json` reported can be resumed"
        raise UsageError(f"backend {backend.name} has no session {resumed} in {place}", hint=hint)
    try:
        path = found or make_private_dir(place / f"home-{secrets.token_hex(8)}")
    except OSError:  # a home that cannot be written: the agent works, its session is not kept
        path = Path(tempfile.mkdtemp(prefix="architect-run-"))
    home = SessionHome(path=path)
    try:
        yield home
    finally:
        if not (_record(place, home) or found):
            shutil.rmtree(path, ignore_errors=True)


def _home_of(place: Path, session_id: str) -> Path | None:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        path = place / (place / _file_name(session_id)).read_text().strip()
        if path.parent == place and path.name.startswith("home-") and path.is_dir():
            return path
    return None


def _record(place: Path, home: SessionHome) -> bool:
    """Whether the session's file names the home from now on; not when the agent keeps nothing there."""
    if home.session_id is None or not any(home.path.iterdir()):
        return False
    try:
        replace_file(place / _file_name(home.session_id), f"{home.path.name}\n".encode(), mode=0o600)
    except (ValueError, OSError):  # an id that is none: nobody could ask for it
        return False
    return True


def _file_name(session_id: str) -> str:
    return f"session-{read_session(session_id)}"
