"""The commands that the screen of `architect watch` offers for one worker, each with a line about its outcome.

An agent that is started here belongs to a process of its own: it goes on when the view is left.
"""

from __future__ import annotations

import os
from pathlib import Path

from architect_parallel.api.cancel import cancel
from architect_parallel.api.continue_worker import continued
from architect_parallel.api.merge import MergeRequest, merge
from architect_parallel.api.retry import retried
from architect_parallel.api.worker_place import editor, find_place
from architect_parallel.backends.architect import OWN_PROGRAM
from architect_parallel.journal.selection import Selection
from architect_parallel.runs.workspace import load_workspace
from architect_parallel.system.terminal import run_in_front, start_behind
from architect_parallel.text.sanitize import one_line


def cancel_worker(root: Path, run_id: str, worker_id: int) -> str:
    """Request the end of a worker. Raises as `cancel`."""
    cancel(root, run_id, worker_id, wait=False)
    return f"requested the end of worker {worker_id}"


def merge_worker(root: Path, run_id: str, worker_id: int) -> str:
    """Merge the result of a worker into the current branch. Raises as `merge`."""
    plan, outcome = merge(root, MergeRequest(run=run_id, workers=(worker_id,)))
    if outcome is not None and outcome.commit is not None:
        return f"worker {worker_id} landed on {plan.target.branch} at {outcome.commit[:12]}"
    left_out = (outcome or plan).left_out
    reasons = [f"{left.reason} {left.detail} {', '.join(left.files)}" for left in left_out]
    return f"worker {worker_id} was not merged: {one_line(' '.join(reasons), 200)}"


def retry_worker(root: Path, run_id: str, worker_id: int) -> str:
    """Run a worker of an ended run again. Raises as `retried`."""
    (spec,) = retried(root, Selection(run_id=run_id, worker_ids=(worker_id,)))
    start_behind((*OWN_PROGRAM, "retry", "--quiet", "--", run_id, str(worker_id)), cwd=root, env=os.environ)
    return f"worker {worker_id} runs again (attempt {spec.attempt})"


def send_to_worker(root: Path, run_id: str, worker_id: int, text: str) -> str:
    """Let an ended worker go on with `text`. Raises as `continued`."""
    spec = continued(root, run_id, worker_id, text)
    start_behind((*OWN_PROGRAM, "send", "--quiet", "--", run_id, str(worker_id), text), cwd=root, env=os.environ)
    return f"worker {worker_id} goes on (attempt {spec.attempt})"


def open_worker(root: Path, run_id: str, worker_id: int) -> str:
    """Open the directory of a worker in the user's editor until it ends. Raises as `find_place` and `editor`."""
    program = editor(load_workspace(root), find_place(root, (run_id, str(worker_id))))
    code = run_in_front(program.argv, cwd=program.cwd, env=program.env)
    return f"{program.argv[0]} ended with exit code {code}" if code else ""
