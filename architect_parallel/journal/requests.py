"""Requests of other processes to a run's launcher: files in the run's directory, which the launcher looks for.

A request can name one worker. Unlike a signal, it cannot reach another process that got a dead launcher's process id.
A request cannot be withdrawn. A later launch of the run begins without requests.
"""

from __future__ import annotations

from pathlib import Path

_CANCEL = "cancel"


def request_cancel(run_dir: Path, worker_id: int | None = None) -> None:
    """Request the end of a run, or of one worker of it."""
    _file(run_dir, worker_id).touch(mode=0o600)


def cancel_requested(run_dir: Path, worker_id: int | None = None) -> bool:
    """Return whether the end of the run was requested, or with `worker_id` that of this worker alone."""
    return _file(run_dir, worker_id).exists()


def forget_requests(run_dir: Path) -> None:
    """Remove the requests to earlier launchers of the run."""
    for request in run_dir.glob(f"{_CANCEL}*"):
        request.unlink()


def _file(run_dir: Path, worker_id: int | None) -> Path:
    return run_dir / (_CANCEL if worker_id is None else f"{_CANCEL}-{worker_id}")
