"""Run locks: a run lives as long as its launcher holds the lock of the run's directory.

The kernel drops the `flock` on `runs/<run id>/lock` when the launcher dies, however it dies.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from architect_parallel.journal.store import unwritable
from architect_parallel.system.files import HeldLock, is_locked, make_shared_dir
from architect_parallel.system.git import make_state_dir


class RunLocks:
    """The locks and directories of the runs below a state directory."""

    state_dir: Path

    def run_dir(self, run_id: str) -> Path:
        """The directory of the run's prompts, logs and lock. It may not exist."""
        return self.state_dir / "runs" / run_id

    def hold(self, run_id: str) -> HeldLock | None:
        """Take the run's lock: the run is live until it is released or this process dies.

        Creates the run's directory, private or shared like the repository. The lock file contains our process id.

        Returns:
            `None` where another process holds the lock.
        """
        try:
            runs = make_shared_dir(make_state_dir(self.state_dir) / "runs")
            path = make_shared_dir(runs / run_id) / "lock"
            for _ in range(5):
                # `is_live` of another process takes the lock for a moment: try again before giving up.
                if (lock := HeldLock.try_acquire(path)) is not None:
                    lock.write(f"{os.getpid()}\n")
                    return lock
                time.sleep(0.01)
        except OSError as error:
            raise unwritable(self.run_dir(run_id), error, self.state_dir) from error
        return None

    def is_live(self, run_id: str) -> bool:
        """Return whether the run's launcher lives."""
        return is_locked(self.run_dir(run_id) / "lock")

    def launcher_pid(self, run_id: str) -> int | None:
        """The process id of the launcher. `None` means that the run is not live."""
        if not self.is_live(run_id):
            return None
        with contextlib.suppress(OSError, ValueError):
            return int((self.run_dir(run_id) / "lock").read_text())
        return None
