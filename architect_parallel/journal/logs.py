"""Where a run keeps what its agents printed."""

from __future__ import annotations

from pathlib import Path


def log_files(run_dir: Path, worker_id: int) -> list[Path]:
    """The log files of one worker, a file per attempt, oldest first."""
    later = sorted(
        (run_dir / "logs").glob(f"worker-{worker_id}-*.log"), key=lambda path: int(path.stem.rsplit("-", 1)[1])
    )
    return [path for path in (run_dir / "logs" / f"worker-{worker_id}.log", *later) if path.is_file()]
