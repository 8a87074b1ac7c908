"""The containment of a run's workers: everything that is said about it, put together for a decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from architect_parallel.backends.base import Backend
from architect_parallel.backends.environment import filtered_environment
from architect_parallel.backends.hosts import hosts_of
from architect_parallel.backends.registry import require_backend
from architect_parallel.containment.decision import Decision, Wanted, decide
from architect_parallel.containment.probe import prober
from architect_parallel.domain import (
    AgentProfile,
    FlowOrigin,
    Isolation,
    Network,
    SandboxLevel,
    Settings,
    Task,
    WorkerSpec,
)
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.options import RunOptions
from architect_parallel.runs.workspace import Workspace


def containment_of(
    task: Task,
    agent: AgentProfile,
    backend: Backend,
    options: RunOptions,
    settings: Settings,
    environ: Mapping[str, str],
) -> Decision:
    """The containment of a worker for `task`.

    Args:
        environ: The launcher's.

    Raises:
        UsageError: Its words contradict each other.
        EnvironmentProblem: What was asked for cannot be had here.
    """
    request = Wanted(
        flag=options.sandbox,
        task=task.sandbox,
        mode=agent.sandbox_mode,
        network=task.network if options.network is None else Network(options.network),
        hosts=(*options.allow_hosts, *backend_hosts(backend, settings, environ)),
        has_host_flag=bool(options.allow_hosts),
        write=settings.backends[backend.name].home if backend.name in settings.backends else (),
    )
    return decide(request, settings.sandbox, prober(environ))


def backend_hosts(backend: Backend, settings: Settings, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The hosts that a backend needs: its own, those of its variables, and those that the configuration names."""
    configured = settings.backends.get(backend.name)
    own = hosts_of(backend.name, filtered_environment(backend, environ))
    return (*own, *(configured.hosts if configured is not None else ()))


def contained_again(spec: WorkerSpec, planned_backend: str, options: RunOptions, here: Workspace) -> WorkerSpec:
    """A planned worker as it is contained when it runs again: as planned, but for the words of `options`.

    Args:
        planned_backend: The backend that it was planned with. The hosts of another one take the place of its hosts.

    Raises:
        UsageError: The words contradict each other.
        EnvironmentProblem: What was asked for or planned cannot be had here: a run is never continued with less.
    """
    before = spec.sandbox
    if spec.backend == planned_backend and not options.given & {"sandbox", "network", "allow_hosts"}:
        require_containment(spec, here)
        return spec
    level = options.sandbox or before.level
    network = before.network if before.is_contained and level != SandboxLevel.OFF else None
    hosts = options.allow_hosts
    if (options.network or network) == Network.HOSTS:
        own = backend_hosts(require_backend(here.backends, planned_backend), here.settings, here.environ)
        hosts += tuple(host for host in before.hosts if host not in own)
    options = replace(options, sandbox=level, allow_hosts=hosts)
    backend = require_backend(here.backends, spec.backend)
    task = Task(prompt="", network=network)
    decision = containment_of(task, spec.agent, backend, options, here.settings, here.environ)
    sandbox = decision.sandbox_of(spec.limits, in_place=spec.isolation is Isolation.NONE)
    warnings = [] if decision.warning is None else [decision.warning]
    return replace(spec, sandbox=sandbox, warnings=tuple(dict.fromkeys((*spec.warnings, *warnings))))


def with_words(flow: FlowOrigin, options: RunOptions) -> FlowOrigin:
    """A flow's origin with the words of `options` about the sandbox in the place of its own."""
    return replace(
        flow,
        sandbox=options.sandbox or flow.sandbox,
        network=options.network or flow.network,
        allow_hosts=options.allow_hosts or flow.allow_hosts,
    )


def require_containment(spec: WorkerSpec, here: Workspace) -> None:
    """Check that a planned worker can be contained as it was planned, here and now.

    Raises:
        EnvironmentProblem: It cannot: a run is never continued with less.
    """
    if spec.sandbox.is_contained and (problem := prober(here.environ)(spec.sandbox.mechanism)) is not None:
        what = f"worker {spec.worker_id} was contained by {spec.sandbox.mechanism}, which cannot be had here: {problem}"
        raise EnvironmentProblem(what, hint='architect parallel "the task" --sandbox off')
