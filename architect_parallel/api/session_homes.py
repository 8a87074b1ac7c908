"""State directories of agents that run in place (`architect run --backend NAME`), for `--resume`.

Most agent CLIs keep a session in the home that they are given, with paths into it, so a home is never moved. It lies in
the user's state directory (0700), and a file named after the session points to it. A home without a session is removed
at once. `system.retention` decides how long the others stay, and the next run removes what is outdated. A home in use
is locked, so that no other process removes it or works in it.
"""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.backends.base import Backend
from architect_parallel.domain import backend_family
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.system.clock import now
from architect_parallel.system.files import HeldLock, delete_tree, make_private_dir, replace_file
from architect_parallel.system.retention import outdated
from architect_parallel.text.names import read_session

_ABANDONED_S = 24 * 3600.0
"""Age at which a home without a session belongs to a killed run, and not to one that just started."""


@dataclass(slots=True, kw_only=True)
class SessionHome:
    """The state directory of one agent process."""

    path: Path
    session_id: str | None = None
    """Set when the agent names its session. Without one the directory is removed."""


@contextlib.contextmanager
def session_home(base: Path, backend: Backend, resumed: str | None) -> Iterator[SessionHome]:
    """Open a state directory for `backend` below `base`: that of the session `resumed`, otherwise a new one.

    Raises:
        UsageError: The session is unknown, and this backend would have it here.
        EnvironmentProblem: It is in use.
    """
    place = base / backend_family(backend.name)
    taken_home = None if resumed is None else _take_home(place, resumed)
    if taken_home is None and resumed is not None and backend.capabilities.sessions_in_state:
        hint = f"sessions that `architect run --backend {backend.name} --json` reported can be resumed"
        raise UsageError(f"backend {backend.name} has no session {resumed} in {place}", hint=hint)
    path, lock = taken_home or _fresh_home(place)
    home = SessionHome(path=path)
    try:
        yield home
    finally:
        if not (_record(place, home) or taken_home):
            with contextlib.suppress(OSError):
                delete_tree(path)
        _remove_outdated(place, now().timestamp())
        if lock is not None:
            lock.release()


def _fresh_home(place: Path) -> tuple[Path, HeldLock | None]:
    try:
        path = make_private_dir(place / f"home-{secrets.token_hex(8)}")
    except OSError:  # a home that cannot be written: the agent works, its session is not kept
        path = Path(tempfile.mkdtemp(prefix="architect-run-"))
    return path, HeldLock.try_acquire(path)


def _take_home(place: Path, session_id: str) -> tuple[Path, HeldLock] | None:
    """The locked home of a session. `None` means that it has none."""
    path = _home_of(place, session_id)
    if path is None:
        return None
    lock = HeldLock.try_acquire(path)
    if lock is None:
        raise EnvironmentProblem(f"the session {session_id} is in use", hint="wait for its end, or begin anew")
    if _home_of(place, session_id) != path:  # removed in between
        lock.release()
        return None
    return path, lock


def _remove_outdated(place: Path, now_s: float) -> None:
    """Remove the homes that were not resumed for long, and what killed runs left."""
    with contextlib.suppress(OSError):
        last_used_s = {path.name: path.stat().st_mtime for path in place.glob("home-*")}
        sessions: dict[str, list[Path]] = {name: [] for name in last_used_s}
        for file in place.glob("session-*"):
            sessions.setdefault(file.read_text(errors="replace").strip(), []).append(file)
        for name, files in sessions.items():
            if name not in last_used_s:
                continue
            newest = max((file.stat().st_mtime for file in files), default=0.0)
            abandoned = not files and now_s - last_used_s[name] > _ABANDONED_S
            last_used_s[name] = 0.0 if abandoned else max(newest, last_used_s[name])
        for name in outdated(last_used_s, now_s):
            _remove(place / name, sessions[name])


def _remove(path: Path, session_files: list[Path]) -> None:
    lock = HeldLock.try_acquire(path)
    if lock is None:
        return
    try:
        for file in session_files:  # first: a session without its home would be asked for in vain
            file.unlink(missing_ok=True)
        delete_tree(path)
    finally:
        lock.release()


def _home_of(place: Path, session_id: str) -> Path | None:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        path = place / (place / _file_name(session_id)).read_text().strip()
        if path.parent == place and path.name.startswith("home-") and path.is_dir():
            return path
    return None


def _record(place: Path, home: SessionHome) -> bool:
    """Make the session's file name the home. Returns False if the agent keeps nothing there."""
    try:
        if home.session_id is None or not any(home.path.iterdir()):
            return False
        replace_file(place / _file_name(home.session_id), f"{home.path.name}\n".encode(), mode=0o600)
    except (ValueError, OSError):  # an id that nobody could ask for, a home that its agent removed
        return False
    return True


def _file_name(session_id: str) -> str:
    return f"session-{read_session(session_id)}"
