"""The request of a caller, and the options that follow from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

from architect_parallel.domain import (
    AUTO,
    Cluster,
    Competition,
    Limits,
    Network,
    SandboxLevel,
    Task,
    TaskFile,
    TaskText,
    TripwireMode,
)
from architect_parallel.errors import UsageError
from architect_parallel.hosts.link import require_url
from architect_parallel.options import OPTIONS, RunOptions, flag_of, kind_of
from architect_parallel.scheduling.assignment import Assign
from architect_parallel.scheduling.check_policy import read_command
from architect_parallel.text import names, quantities
from architect_parallel.text.hosts import read_host
from architect_parallel.text.quantities import quoted
from architect_parallel.text.suggest import require_known

LOCAL = "local"
"""The word of `hosts` for this machine, whatever the configuration says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelConfig:
    """The request for a run. `None` means that the task file or the configuration decides.

    The fields from `workers` to `host_timeout` are options of a run, described in
    `architect_parallel.options.RunOptions`. Durations, sizes and amounts may be numbers (seconds, bytes, US dollars) or
    text as on the command line.
    """

    tasks: Sequence[str | Task] = ()
    """The tasks, as text or with a backend, model or limits of their own. At least one unless `file` is given."""
    file: str | os.PathLike[str] | TaskText | None = None
    """A task file (JSON or YAML) instead of `tasks`. The options below beat what it says."""
    foreach: str | None = None
    """A glob. Each task runs once for every matching file of the repository, with its path in place of `{path}`."""
    issues: Sequence[str | int] = ()
    """Numbers or addresses of issues that are tasks, read with `gh` or `glab`."""
    from_issues: str | None = None
    """A search for open issues, such as `label:agent`. Each is a task for one worker."""
    repo: str | None = None
    """`owner/name` of the issues. `None` means the repository of the remote."""
    name: str | None = None
    """Name of the tasks that are given as text, and so of their workers. `None` means that they have none."""
    listed: bool = False
    """`tasks` is a list to work through: a single task is not given to several workers."""
    workers: int | str | None = None
    attempts: int | str | None = None
    max_parallel: int | str | None = None
    model: str | None = None
    models: Sequence[str] = ()
    backend: str | None = None
    agents: Sequence[str] = ()
    """`backend` or `backend:model`, a worker each for every task."""
    agent: str | None = None
    assign: str | None = None
    budget_per_worker: float | str | None = None
    budget: float | str | None = None
    timeout_per_worker: float | str | None = None
    timeout: float | str | None = None
    idle_timeout: float | str | None = None
    memory_per_worker: int | str | None = None
    processes_per_worker: int | str | None = None
    grace: float | str | None = None
    max_steps: int | str | None = None
    retries: int | str | None = None
    refine: bool | None = None
    checks: Sequence[str] = ()
    check_timeout: float | str | None = None
    baseline: bool | None = None
    strict: bool = False
    base: str = "HEAD"
    include_dirty: bool = False
    allow_secrets: bool = False
    fail_fast: bool | None = None
    allow_partial: bool | None = None
    commit: bool | None = None
    tripwire: str | None = None
    sandbox: str | None = None
    network: str | None = None
    allow_hosts: Sequence[str] = ()
    hosts: str | None = None
    tls_dir: str | None = None
    insecure: bool | None = None
    host_timeout: float | str | None = None
    on_terminal: bool = False
    """A person watches: `tripwire` `auto` then warns instead of failing a worker."""
    artifacts: str | os.PathLike[str] | None = None
    """Directory for result, report, patches and bundles at the end of the run. `None` means that none are written."""
    config_file: str | os.PathLike[str] | None = None
    """Configuration file instead of the repository's. `None` means the repository's."""
    competition: Competition | None = None
    """Set by `api.competition.as_competition`. `None` means that the run is no competition."""


def resolve(config: ParallelConfig, settings: RunOptions, file: TaskFile | None = None) -> RunOptions:
    """The options of a run: those of `config` over those of the task file over the configuration.

    Args:
        settings: The configuration.

    Raises:
        UsageError: A value is wrong, with its flag, or two options exclude each other.
    """
    _require_compatible(config)
    written = {spec.name: getattr(config, spec.name) for spec in fields(config) if spec.name in OPTIONS}
    unset = {spec.name: spec.default for spec in fields(config)}
    given = {
        name: _read(name, value, settings) for name, value in written.items() if value not in (unset[name], [], ())
    }
    in_file = {} if file is None else {"max_parallel": file.max_parallel, "fail_fast": file.fail_fast}
    of_file = {name: value for name, value in in_file.items() if value is not None}
    return replace(settings, **(of_file | given), given=frozenset(given))


def _require_compatible(config: ParallelConfig) -> None:
    """Raise `UsageError` for two options that exclude each other."""
    for names_of_pair in (
        ("model", "models"),
        ("agents", "backend"),
        ("agents", "model"),
        ("agents", "models"),
        ("attempts", "workers"),
        ("insecure", "tls_dir"),
    ):
        if all(getattr(config, name) not in (None, (), [], False) for name in names_of_pair):
            first, second = map(flag_of, names_of_pair)
            raise UsageError(f"{first} and {second} exclude each other", hint="leave one of them out")


def worker_limits(options: RunOptions, task: Task | None = None) -> Limits:
    """The limits of one worker. `None` means a worker whose task sets none itself."""
    own = task or Task(prompt="")
    return Limits(
        timeout_s=options.over("timeout_per_worker", own.timeout_s),
        idle_timeout_s=options.idle_timeout,
        memory_bytes=options.memory_per_worker,
        output_bytes=options.output_per_worker,
        processes=options.processes_per_worker,
        max_steps=options.over("max_steps", own.max_turns),
        budget_usd=options.over("budget_per_worker", own.budget_usd),
        grace_s=options.grace,
    )


def read_cluster(options: RunOptions) -> Cluster | None:
    """The hosts that the workers run on. `None` means this machine.

    Raises:
        UsageError: The URL has no known scheme.
    """
    if options.hosts in (None, LOCAL):
        return None
    tls_dir = None if options.tls_dir is None or options.insecure else os.path.expanduser(options.tls_dir)
    return Cluster(
        url=require_url(options.hosts),
        timeout_s=options.host_timeout,
        tls_dir=None if tls_dir is None else os.path.abspath(tls_dir),
        insecure=options.insecure,
    )


def read_tripwire(word: str, *, on_terminal: bool) -> TripwireMode:
    """The response to a change of the main checkout. `auto` warns a person who watches, else fails the worker."""
    if word == "auto":
        return TripwireMode.WARN if on_terminal else TripwireMode.FAIL
    return TripwireMode(word)


def _read(name: str, value: Any, settings: RunOptions) -> Any:
    kind = kind_of(OPTIONS[name])
    if kind == "WorkerCount":
        ceiling = settings.workers_ceiling
        hint = f"set workers_ceiling in the configuration to allow more than {ceiling}"
        return quantities.parse_count(value, flag_of(name), high=ceiling, hint=hint)
    read = _READERS.get(kind)
    return value if read is None else read(value, flag_of(name))


def _model(value: str, flag: str) -> str:
    try:
        return names.read_model(value)
    except ValueError as error:
        raise UsageError(f"{flag} {quoted(value)} {error}") from None


def _hosts(value: Sequence[str], flag: str) -> tuple[str, ...]:
    if isinstance(value, str):
        raise UsageError("allow_hosts must be a list of hosts, not one text")
    for host in value:
        try:
            read_host(host)
        except ValueError as error:
            raise UsageError(f"{flag} {quoted(host)} {error}", hint=f"{flag} api.example.com") from None
    return tuple(value)


def _checks(value: Sequence[str], flag: str) -> tuple[str, ...]:
    if isinstance(value, str):
        raise UsageError("checks must be a list of commands, not one text")
    for command in value:
        try:
            read_command(command)
        except ValueError as error:
            raise UsageError(f"{flag} {quoted(command)}: {error}", hint='--check "make test"') from None
    return tuple(value)


_READERS: Mapping[str, Callable[[Any, str], Any]] = {
    "Count": quantities.parse_count,
    "Retries": partial(quantities.parse_count, low=0, high=quantities.MOST_RETRIES),
    "Duration": quantities.parse_duration,
    "Memory": quantities.parse_size,
    "Usd": quantities.parse_usd,
    "Model": _model,
    "tuple[str, ...]": lambda value, _: tuple(names.split_models(",".join(value))),
    "Agents": lambda value, flag: names.split_agents(",".join(value), flag),
    "AssignWord": lambda value, flag: require_known(flag, value, [how.value for how in Assign]),
    "TripwireWord": lambda value, flag: require_known(flag, value, ["auto", *(mode.value for mode in TripwireMode)]),
    "SandboxWord": lambda value, flag: require_known(flag, value, [AUTO, *(level.value for level in SandboxLevel)]),
    "NetworkWord": lambda value, flag: require_known(flag, value, [network.value for network in Network]),
    "Checks": _checks,
    "Hosts": _hosts,
}
"""How the value of a flag is read, by the name of the option's annotation. Others stay as they are."""
