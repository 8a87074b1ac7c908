"""The log files of a run's agents."""

from __future__ import annotations

import os
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.system.files import user_name


def log_files(run_dir: Path, worker_id: int) -> list[Path]:
    """The log files of one worker, a file per attempt, oldest first.

    Raises:
        EnvironmentProblem: They are private to another user.
    """
    logs = run_dir / "logs"
    if logs.is_dir() and not os.access(logs, os.R_OK | os.X_OK):
        owner = user_name(logs.stat().st_uid)
        raise EnvironmentProblem(f"the logs of run {run_dir.name} are private to {owner}", hint=f"ask {owner}")
    later = sorted(logs.glob(f"worker-{worker_id}-*.log"), key=lambda path: int(path.stem.rsplit("-", 1)[1]))
    return [path for path in (logs / f"worker-{worker_id}.log", *later) if path.is_file()]
