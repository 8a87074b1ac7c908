"""`architect host collect RUN`: fetch the work that a lost host kept until after the end of the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from architect_parallel.api.remote_launch import link_options_of
from architect_parallel.domain import Reason
from architect_parallel.errors import EnvironmentProblem, NothingToDo
from architect_parallel.events import Event, EventSource, RunResumed, RunStarted, Warned, WorkerPlaced
from architect_parallel.hosts.link import Link, open_link
from architect_parallel.hosts.listening import Listener
from architect_parallel.hosts.remote_attempt import RemoteAttempt
from architect_parallel.hosts.shipping import origin_of
from architect_parallel.journal import Journal
from architect_parallel.system import clock
from architect_parallel.system.git import Repository

LOOK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class LateWork:
    """The work on lost hosts, fetched and missing."""

    fetched: tuple[int, ...]
    """Ids of the workers whose attempts have ended on their host. Their work is below `refs/architect/keep/`."""
    missing: dict[int, str]
    """Worker id → the host that does not answer, or does not have it."""


def collect_late(
    repository: Repository, journal: Journal, run_id: str, url: str | None, say: Callable[[str], None]
) -> LateWork:
    """Fetch late work of a run. Agents that still run on a lost host are stopped first. No branch is moved.

    Args:
        url: The hosts. `None` means those of the run.

    Raises:
        NothingToDo: The run used no other machine, or lost none.
        EnvironmentProblem: The run is live, or its hosts cannot be reached.
    """
    cluster = journal.plan(run_id).cluster
    if cluster is None:
        raise NothingToDo(f"run {run_id} used no other machine")
    if not (lost := _lost_attempts(journal, run_id)):
        raise NothingToDo(f"run {run_id} has no work on a lost host", hint=f"architect status {run_id}")
    lock = journal.hold(run_id)
    if lock is None:
        raise EnvironmentProblem(f"run {run_id} is still live", hint=f"architect status {run_id}")
    try:
        link = open_link(url or cluster.url, link_options_of(cluster))
        try:
            return fetch_late(link, repository, journal, run_id, lost, cluster.timeout_s, say)
        finally:
            link.close()
    finally:
        lock.release()


def _lost_attempts(journal: Journal, run_id: str) -> list[RemoteAttempt]:
    """The attempts that ended because their host was lost."""
    placed: dict[int, WorkerPlaced] = {}
    for entry in journal.recorded(run_id):
        if isinstance(entry.event, WorkerPlaced) and entry.worker_id is not None:
            placed[entry.worker_id] = entry.event
    specs = {spec.worker_id: spec for spec in journal.plan(run_id).workers}
    return [
        RemoteAttempt(
            spec=replace(specs[result.worker_id], attempt=placed[result.worker_id].attempt),
            place_key="",
            placed=placed[result.worker_id],
            is_ended=True,
            is_lost=True,
        )
        for result in journal.result(run_id).results
        if result.reason is Reason.HOST_LOST and result.worker_id in placed
    ]


def fetch_late(
    link: Link,
    repository: Repository,
    journal: Journal,
    run_id: str,
    lost: Sequence[RemoteAttempt],
    timeout_s: float,
    say: Callable[[str], None],
) -> LateWork:
    """Fetch the attempts from their hosts, which have `timeout_s` seconds to answer."""
    epoch = sum(isinstance(entry.event, RunStarted | RunResumed) for entry in journal.recorded(run_id))
    cursors = journal.cursors(run_id)
    listeners: dict[str, Listener] = {}

    def take(worker_id: int | None, event: Event, source: EventSource | None = None, /) -> None:
        if isinstance(event, Warned):
            say(event.message)

    for lane in lost:
        assert lane.placed is not None
        if lane.placed.host_id not in listeners:
            listeners[lane.placed.host_id] = Listener(
                link=link,
                launch_id=(origin_of(repository), run_id, epoch),
                repository=repository,
                run_dir=journal.run_dir(run_id),
                timeout_s=timeout_s,
                emit=take,
                on_end=lambda lane: None,
                placed=lane.placed,
                after=cursors.get(lane.placed.host_id, 0),
            )
        listeners[lane.placed.host_id].add(lane)
    for listener in listeners.values():
        listener.start()
    deadline = clock.monotonic_s() + timeout_s
    while any(lane.is_lost for lane in lost) and clock.monotonic_s() < deadline:
        clock.pause(LOOK_S)
    for listener in listeners.values():
        listener.close()
    return LateWork(
        fetched=tuple(lane.spec.worker_id for lane in lost if not lane.is_lost),
        missing={lane.spec.worker_id: lane.placed.host for lane in lost if lane.is_lost and lane.placed is not None},
    )
