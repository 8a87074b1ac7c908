"""The end of a run, told to the user's terminal (`ui.notify`) and to the user's command (`on_finish`).

Both settings come from the user's own configuration alone: a repository must not choose a command that runs here.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from architect_parallel.cli.console import STARTED_S, warn

if TYPE_CHECKING:
    from architect_parallel.domain import RunResult, Settings

LONG_S = 30.0
"""A command that took as long or longer announces its end."""
COMMAND_S = 30.0
"""Seconds that `on_finish` may take."""


def announce(result: RunResult) -> None:
    """Notify the user of the end of a run, and run the user's command. A failure is a warning."""
    settings = _own_settings()
    if settings is None:
        return
    if _is_wanted(settings.ui.notify):
        _notify(result)
    if settings.on_finish is not None:
        _run_command(settings.on_finish, result)


def _own_settings() -> Settings | None:
    """The user's own configuration. `None` means that it has a fault, which was reported before the run."""
    from architect_parallel.config.paths import home_dir
    from architect_parallel.config.settings import load_settings
    from architect_parallel.errors import ArchitectParallelError

    own = {name: value for name, value in os.environ.items() if not name.startswith("ARCHITECT_")}
    with contextlib.suppress(ArchitectParallelError):
        return load_settings(None, None, own, Path(home_dir()))
    return None


def _is_wanted(notify: str) -> bool:
    from architect_parallel.system.terminal import shows_live

    is_long = time.monotonic() - STARTED_S >= LONG_S
    return notify != "never" and (notify == "always" or is_long) and shows_live(sys.stderr)


def _notify(result: RunResult) -> None:
    from architect_parallel.domain import Status
    from architect_parallel.system.terminal import notification

    good, bad = result.count(Status.SUCCESS), result.total_tasks - result.count(Status.SUCCESS)
    text = f"{good} OK, {bad} not OK" if bad else f"{good} OK"
    with contextlib.suppress(OSError):
        sys.stderr.write(notification(f"architect {result.status}", text, os.environ))
        sys.stderr.flush()


def _run_command(command: str, result: RunResult) -> None:
    from architect_parallel.reports.json import dumps, envelope
    from architect_parallel.system.shell import feed
    from architect_parallel.text.sanitize import one_line

    problem = feed(command, dumps(envelope(result)).encode(errors="replace"), timeout_s=COMMAND_S)
    if problem is not None:
        warn(f"on_finish: {one_line(problem, 300)}")
