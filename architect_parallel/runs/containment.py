"""The containment of a run's workers: everything that is said about it, put together for a decision."""

from __future__ import annotations

from architect_parallel.backends.acp import relative_name
from architect_parallel.backends.environment import filtered_environment
from architect_parallel.backends.hosts import hosts_of
from architect_parallel.backends.registry import require_backend
from architect_parallel.containment.decision import Decision, Wanted, decide
from architect_parallel.containment.probe import prober
from architect_parallel.domain import AgentProfile, Network, Task, WorkerSpec, backend_family
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.options import RunOptions
from architect_parallel.runs.workspace import Workspace


def containment_of(task: Task, agent: AgentProfile, backend: str, options: RunOptions, here: Workspace) -> Decision:
    """The containment of a worker for `task`.

    Raises:
        UsageError: Its words contradict each other.
        EnvironmentProblem: What was asked for cannot be had here.
    """
    configured = here.settings.backends.get(backend_family(backend))
    request = Wanted(
        flag=options.sandbox,
        task=task.sandbox,
        mode=agent.sandbox_mode,
        network=task.network if options.network is None else Network(options.network),
        hosts=(*options.allow_hosts, *backend_hosts(here, backend)),
        has_host_flag=bool(options.allow_hosts),
        write=configured.home if configured is not None else (),
    )
    return decide(request, here.settings.sandbox, prober(here.environ))


def backend_hosts(here: Workspace, name: str) -> tuple[str, ...]:
    """The hosts that a backend needs: its own, those of its variables, and those that the configuration names."""
    backend = require_backend(here.backends, name)
    configured = here.settings.backends.get(backend_family(name))
    own = hosts_of(relative_name(name), filtered_environment(backend, here.environ))
    return (*own, *(configured.hosts if configured is not None else ()))


def require_containment(spec: WorkerSpec, here: Workspace) -> None:
    """Check that a planned worker can be contained as it was planned, here and now.

    Raises:
        EnvironmentProblem: It cannot: a run is never continued with less.
    """
    if spec.sandbox.is_contained and (problem := prober(here.environ)(spec.sandbox.mechanism)) is not None:
        what = f"worker {spec.worker_id} was contained by {spec.sandbox.mechanism}, which cannot be had here: {problem}"
        raise EnvironmentProblem(what, hint='architect parallel "the task" --sandbox off')
