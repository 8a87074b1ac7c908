"""Requests to a run's launcher by other processes: files in the run's directory, which the launcher looks for.

They reach single workers too, and unlike a signal cannot hit a process that took over a dead launcher's number. A
request is never taken back by the one who asked; a later launch of the run begins without them.
"""

from __future__ import annotations

from pathlib import Path

_CANCEL = "cancel"


def request_cancel(run_dir: Path, worker_id: int | None = None) -> None:
    """Asks for the end of a run, or of one worker of it."""
    _file(run_dir, worker_id).touch(mode=0o600)


def cancel_requested(run_dir: Path, worker_id: int | None = None) -> bool:
    """Whether somebody asked for the end of the run (not of a worker alone), or of this worker alone."""
    return _file(run_dir, worker_id).exists()


def forget_requests(run_dir: Path) -> None:
    """Takes away what launchers before this one were asked."""
    for request in run_dir.glob(f"{_CANCEL}*"):
        request.unlink()


def _file(run_dir: Path, worker_id: int | None) -> Path:
    return run_dir / (_CANCEL if worker_id is None else f"{_CANCEL}-{worker_id}")
