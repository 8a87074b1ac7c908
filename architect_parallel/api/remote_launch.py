"""One launch of a recorded plan on other machines: what a `RemoteHost` works with is put together here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from architect_parallel.backends.registry import BUILT_IN
from architect_parallel.domain import Cluster, RunPlan, WorkerSpec
from architect_parallel.errors import UsageError
from architect_parallel.event_json import to_plain
from architect_parallel.events import AttemptEnded, Recorded, RunResumed, RunStarted, WorkerFinished, WorkerPlaced
from architect_parallel.hosts.base import Emit, Host
from architect_parallel.hosts.link import LinkOptions, open_link, require_url
from architect_parallel.journal import Journal
from architect_parallel.runs.workspace import Workspace


def link_options_of(cluster: Cluster) -> LinkOptions:
    """How the link to a cluster is opened."""
    tls_dir = None if cluster.tls_dir is None else Path(cluster.tls_dir)
    return LinkOptions(tls_dir=tls_dir, insecure=cluster.insecure)


def moved_to(plan: RunPlan, url: str) -> RunPlan:
    """The plan with another URL of its cluster.

    Raises:
        UsageError: It is no URL, or the run's workers are on this machine.
    """
    if plan.cluster is None:
        raise UsageError(f"run {plan.run_id} has no other machines", hint=f"architect resume {plan.run_id}")
    return replace(plan, cluster=replace(plan.cluster, url=require_url(url)))


def placed_attempts(recorded: Iterable[Recorded]) -> dict[int, WorkerPlaced]:
    """Worker id → the place of its newest attempt, for workers whose attempt has a place and no end."""
    placed: dict[int, WorkerPlaced] = {}
    for entry in recorded:
        match entry.event:
            case WorkerPlaced() as event if entry.worker_id is not None:
                placed[entry.worker_id] = event
            case WorkerFinished() | AttemptEnded() if entry.worker_id is not None:
                placed.pop(entry.worker_id, None)
            case RunResumed(worker_ids=again):  # these start anew
                for worker_id in again:
                    placed.pop(worker_id, None)
    return placed


def remote_host(
    plan: RunPlan,
    here: Workspace,
    journal: Journal,
    emit: Emit,
    *,
    placed: Mapping[int, WorkerPlaced],
    resolve_inputs: Callable[[WorkerSpec], WorkerSpec],
) -> Host:
    """The host that sends the workers of a plan to its cluster.

    Raises:
        EnvironmentProblem: The cluster cannot be reached.
    """
    from architect_parallel.hosts.remote import RemoteHost, RemoteLaunch

    assert plan.cluster is not None
    launch = RemoteLaunch(
        repository=here.repository,
        run_dir=journal.run_dir(plan.run_id),
        run_id=plan.run_id,
        epoch=sum(isinstance(entry.event, RunStarted | RunResumed) for entry in journal.recorded(plan.run_id)),
        timeout_s=plan.cluster.timeout_s,
        worktrees=here.settings.worktrees,
        checks_env=here.settings.parallel.checks_env,
        prices=here.settings.prices,
        allow_secrets=plan.allow_secrets,
        described={name: to_plain(own) for name, own in here.settings.backends.items() if name not in BUILT_IN},
        resolve_inputs=resolve_inputs,
        placed=placed,
        cursors=journal.cursors(plan.run_id),
    )
    return RemoteHost(open_link(plan.cluster.url, link_options_of(plan.cluster)), launch, emit)
