"""A run and its workers in a few words, for screens that show a run while it goes on. Pure.

Agents' text comes out without control sequences and on one line.
"""

from __future__ import annotations

from datetime import datetime

from architect_parallel.domain import RunStatus, Status
from architect_parallel.journal.view import RunView
from architect_parallel.journal.worker_view import STOPPING, Phase, WorkerView
from architect_parallel.reports import text
from architect_parallel.text.names import DEFAULT_MODEL
from architect_parallel.text.quantities import show_count, show_workers
from architect_parallel.text.sanitize import one_line

STYLES = {
    Status.SUCCESS.value: "green",
    Status.PARTIAL.value: "yellow",
    Status.CANCELED.value: "yellow",
    Status.FAILED.value: "red",
    Status.TIMEOUT.value: "red",
    Status.SKIPPED.value: "dim",
    Phase.WAITING.value: "dim",
    STOPPING: "yellow",
    Phase.RETRYING.value: "yellow",
    Phase.COLLECTING.value: "cyan",
    Phase.INTERRUPTED.value: "red",
}
"""The state of a worker → its colour."""
RUN_STYLES = {RunStatus.SUCCESS: "green", RunStatus.RUNNING: "cyan", RunStatus.PARTIAL: "yellow"}
"""The status of a run → its colour. Any other is red."""
SHOWN_AFTER_S = 2
"""A step that takes longer than this is shown with its seconds so far."""


def clock_text(seconds: float) -> str:
    """A duration as minutes and seconds, with hours where there are any.

    >>> clock_text(83.9), clock_text(3723)
    ('1:23', '1:02:03')
    """
    minutes, rest = divmod(max(0, int(seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def dollars(usd: float) -> str:
    """An amount of money, as short as it can be read.

    >>> dollars(5), dollars(0.417), dollars(0.0042), dollars(0)
    ('$5', '$0.42', '$0.0042', '$0')
    """
    if usd == int(usd):
        return f"${int(usd)}"
    return f"${usd:.2f}" if usd >= 0.01 else f"${usd:.4f}"


def is_active(worker: WorkerView) -> bool:
    """Return whether something is done for the worker now: it has begun and not ended."""
    return worker.phase is not Phase.WAITING and not worker.over


def totals(run: RunView, now: datetime | None = None) -> str:
    """The run in numbers: `12/30 done (1 not OK), 5 running, $0.42 of $5`.

    Args:
        now: Count the worktrees too while making one takes long. `None` leaves them out.
    """
    workers = list(run.workers.values())
    ended = [worker for worker in workers if worker.over]
    bad = sum(worker.state != Status.SUCCESS.value for worker in ended)
    parts = [f"{len(ended)}/{len(workers)} done" + (f" ({bad} not OK)" if bad else "")]
    running = sum(map(is_active, workers))
    parts += [f"{running} running"] if running else []
    creating = [worker for worker in workers if worker.phase is Phase.CREATING and not worker.over]
    if now is not None and any(_seconds_at(worker, now) > SHOWN_AFTER_S for worker in creating):
        missing = len(creating) + sum(worker.phase is Phase.WAITING for worker in workers)
        parts.append(f"checked out {len(workers) - missing}/{len(workers)} worktrees")
    unknown = sum(worker.result is not None and worker.result.cost is None for worker in ended)
    budget_usd = run.plan.budget_usd if run.plan is not None else None
    money = dollars(run.spent) if run.spent or not unknown else ""
    if unknown:
        money += f"{' + ' if money else 'cost '}unknown for {show_count(unknown, 'worker')}"
    parts.append(money if budget_usd is None else f"{money} of {dollars(budget_usd)}")
    return ", ".join(parts)


def state_word(worker: WorkerView) -> str:
    """The state of a worker in one word: capitals for one that has ended."""
    return text.STATUS_WORDS[worker.result.status] if worker.result is not None else worker.state


def label(worker: WorkerView) -> str:
    """The worker's name or, where the user gave none, its task."""
    spec = worker.spec
    return one_line(spec.prompt if spec.name in ("", f"worker-{spec.worker_id}") else spec.name, 200)


def model_name(worker: WorkerView) -> str:
    """The model that was asked for, else the one that the agent reported, else `default`."""
    return worker.spec.model or (worker.result or worker).model or DEFAULT_MODEL


def changes(worker: WorkerView) -> str:
    """The lines that it added and removed. Empty means that its work is not committed yet."""
    diff = (worker.result or worker).diff
    return "" if diff is None else f"+{diff.insertions} -{diff.deletions}"


def checks_passed(worker: WorkerView) -> str:
    """The checks that passed, of those it has: `1/2`. Empty means that none has ended."""
    checks = (worker.result or worker).checks
    return f"{sum(check.passed for check in checks)}/{len(worker.spec.checks)}" if checks else ""


def cost_so_far(worker: WorkerView) -> str:
    """The cost over all attempts. Empty means that none is known yet."""
    if worker.spent is None and worker.result is None:
        return ""
    return "$0" if worker.spent == 0 else text.cost_text(worker.spent)


def time_so_far(worker: WorkerView, now: datetime) -> str:
    """The time that its agent took so far, or the duration of the result."""
    if worker.result is not None:
        return clock_text(worker.result.duration)
    since = worker.running_since
    return "" if since is None else clock_text(((worker.interrupted_at or now) - since).total_seconds())


def activity(worker: WorkerView, now: datetime, *, line: str = "", checking_base: bool = False) -> str:
    """The present activity of a worker in words. For one that has ended, its last words.

    Args:
        line: The newest line of its agent's output. Empty means none.
        checking_base: The checks run on the base commit, before the first worker.
    """
    if worker.result is not None:
        result = worker.result
        words = result.error or result.output if result.status is not Status.SUCCESS else result.output
        return one_line(words or "", 300) or text.reason_words(result)
    if worker.stopping is not None:
        return _with_seconds(f"stopping: {one_line(worker.note, 200)}", worker, now)
    spec = worker.spec
    match worker.phase:
        case Phase.WAITING if checking_base:
            return "waits for the checks of the base commit"
        case Phase.WAITING:
            return f"waits for {show_workers(spec.dependencies)}" if spec.dependencies else "waits for its turn"
        case Phase.CREATING:
            return _with_seconds("creating its worktree", worker, now)
        case Phase.PREPARING:
            return _with_seconds("preparing its worktree", worker, now)
        case Phase.COLLECTING:
            return _with_seconds("committing its changes", worker, now)
        case Phase.CHECKING:
            number = min(len(worker.checks), len(spec.checks) - 1)
            check = one_line(spec.checks[number], 200)
            return _with_seconds(f"check {number + 1} of {len(spec.checks)}: {check}", worker, now)
        case Phase.RETRYING:
            return one_line(f"next attempt ({worker.note}): {worker.line}", 300)
        case Phase.INTERRUPTED:
            return "its launcher died"
        case _:
            return one_line(worker.note or line, 300) or "the agent has started"


def _with_seconds(words: str, worker: WorkerView, now: datetime) -> str:
    """The words, followed by the seconds since the worker's newest event, which began this step."""
    seconds = _seconds_at(worker, now)
    return f"{words} ({seconds:.0f} s)" if seconds > SHOWN_AFTER_S else words


def _seconds_at(worker: WorkerView, now: datetime) -> float:
    """Seconds since the worker's newest event."""
    return (now - worker.last_seen).total_seconds() if worker.last_seen is not None else 0.0
