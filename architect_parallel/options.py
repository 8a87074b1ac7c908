"""The options of a run, declared once.

The flags of the commands, the section `parallel_runs` of the configuration with its JSON schema, the variables
`ARCHITECT_*`, `config.example.yaml` and the built-in defaults derive from `RunOptions`. `--help` imports this module,
so it imports nothing of the package.
"""

# ruff: noqa: RUF009 - these calls return dataclasses.field().

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

# The name of an annotation decides how the value is read: in the configuration by the type of this name in
# `config.fields` or `config.schema`, on the command line by `runs.options`.
Count: TypeAlias = int
WorkerCount: TypeAlias = int
"""At most `workers_ceiling`."""
Ceiling: TypeAlias = int
Retries: TypeAlias = int
Duration: TypeAlias = float
"""Seconds."""
Size: TypeAlias = int
"""Bytes."""
Memory: TypeAlias = int
"""Bytes."""
Usd: TypeAlias = float
Boolean: TypeAlias = bool
Identifier: TypeAlias = str
Model: TypeAlias = str
AssignWord: TypeAlias = str
TripwireWord: TypeAlias = str
SandboxWord: TypeAlias = str
NetworkWord: TypeAlias = str
Hosts: TypeAlias = tuple[str, ...]
Checks: TypeAlias = tuple[str, ...]
Agents: TypeAlias = tuple[tuple[str, str | None], ...]
"""Backends, each with a model. `None` means the default model of the backend."""
Variables: TypeAlias = tuple[str, ...]

_T = TypeVar("_T")


def option(
    default: object,
    text: str,
    metavar: str | None = None,
    *,
    null: str | None = None,
    flag: str | None = None,
    is_key: bool = True,
    is_flag: bool = True,
) -> Any:
    """Declare a field of `RunOptions`.

    Args:
        default: What holds when neither a flag nor the configuration gives the option.
        text: Its description, one or more sentences.
        metavar: Placeholder of the flag's value. `None` means that the flag takes no value.
        null: What `None` means, in words.
        flag: Names of the flag, separated by `/` for a positive and a negative one. `None` means the field's name.
        is_key: It is a key of the configuration.
        is_flag: It is a flag of `architect parallel`.
    """
    words = {"text": text, "metavar": metavar, "null": null, "flag": flag, "is_key": is_key, "is_flag": is_flag}
    return field(default=default, metadata=MappingProxyType(words))


def flag(default: object, text: str, metavar: str | None = None, *, name: str | None = None) -> Any:
    """Declare an option that is no key of the configuration."""
    return option(default, text, metavar, flag=name, is_key=False)


def key(default: object, text: str) -> Any:
    """Declare an option that is a key of the configuration and no flag."""
    return option(default, text, is_flag=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of a run: flags over the task file over the configuration over the defaults below.

    `Settings.parallel` holds the configuration alone, `runs.options.resolve` puts the rest on top. The flags of
    `architect parallel` come in this order.
    """

    workers: WorkerCount | None = option(
        None, "Number of workers.", "N", null="as many as tasks or models, else 3", flag="--workers/-n"
    )
    attempts: WorkerCount | None = flag(None, "Number of workers for each task and model; not with --workers.", "N")
    workers_ceiling: Ceiling = key(10, "Upper limit of workers and max_parallel, at most 1000.")
    max_parallel: WorkerCount | None = option(
        None, "Number of workers that run at the same time.", "N", null="workers if given, else 3"
    )
    model: Model | None = option(
        None, "Model of every worker.", "NAME", null="the model of the agent profile or backend", flag="--model/-m"
    )
    models: tuple[str, ...] = flag((), "Models to compare, separated by commas; not with --model.", "CSV")
    backend: Identifier | None = option(
        None,
        "Agent CLI to run: see `architect backends`.",
        "NAME",
        null="the only one that is ready",
        flag="--backend/-b",
    )
    agents: Agents = flag(
        (), "Agent CLIs to run every task with, each with its model if wanted: claude,codex:gpt-5-codex.", "LIST"
    )
    agent: Identifier = option("build", "Agent profile: build, plan, review, or your own.", "NAME")
    assign: AssignWord = option("fill", "Assign tasks and models to workers: fill, round-robin or cross.", "HOW")
    budget_per_worker: Usd | None = option(None, "Cost limit of one worker, in US dollars.", "USD", null="no limit")
    budget: Usd | None = option(None, "Cost limit of the whole run, in US dollars.", "USD", null="no limit")
    timeout_per_worker: Duration | None = option(
        None, "Time limit of one worker: seconds, 30s, 5m, 1h.", "D", null="no limit"
    )
    timeout: Duration | None = option(None, "Time limit of the whole run.", "D", null="no limit")
    idle_timeout: Duration | None = option(None, "Stop a worker after this long without output.", "D", null="no limit")
    memory_per_worker: Memory | None = option(
        None, "Memory limit of a worker's process tree, such as 2GiB, at least 64MiB.", "SIZE", null="no limit"
    )
    output_per_worker: Size = key(1024**3, "Output limit of one worker.")
    processes_per_worker: Count = option(1000, "Number of processes that one worker may have at the same time.", "N")
    grace: Duration = option(5.0, "Time between the polite signal and the kill.", "D")
    max_steps: Count = option(50, "Step limit of one worker's agent.", "N")
    retries: Retries = option(0, "Number of further attempts after a failure that another attempt may avoid.", "N")
    refine: Boolean = option(False, "Tell each further attempt what went wrong before.")
    rate_limit_wait: Duration = key(1800.0, "Longest total wait of one worker for its provider; no retry is used up.")
    min_free_memory: Size = key(512 * 1024**2, "Start no worker beside others with less free memory than this.")
    min_free_disk: Size = key(
        512 * 1024**2,
        "Start no worker with less free disk space than this, and below a quarter of it stop the one that wrote most.",
    )
    checks: Checks = option(
        (), "Commands that every finished result must pass; in a text, one on each line.", "CMD", flag="--check"
    )
    check_timeout: Duration = option(600.0, "Time limit of each run of a check.", "D")
    checks_env: Variables = key((), "Names of further environment variables that checks get, such as PGHOST or PG*.")
    baseline: Boolean = option(True, "Run the checks on the base commit first.")
    strict: bool = flag(False, "Refuse tasks whose `files` overlap.")
    base: str = flag("HEAD", "Start the worktrees from this commit.", "REF")
    include_dirty: bool = flag(False, "Carry uncommitted changes over into the worktrees.")
    fail_fast: Boolean = option(False, "Cancel the rest at the first failure.")
    allow_partial: Boolean = option(False, "Exit 0 if at least one worker succeeded.")
    commit: Boolean = option(True, "Commit what the agent left uncommitted.")
    tripwire: TripwireWord = option(
        "auto",
        "Response to a change of your checkout while agents run: fail the worker that surely made it, warn, or off;"
        " auto is warn on a terminal, else fail.",
        "HOW",
    )
    allow_secrets: bool = flag(False, "Accept results that hold a key which the agent was given.")
    sandbox: SandboxWord | None = flag(
        None,
        "Contain agents and their checks: auto, off, write or closed (docs/containment.md) [as configured].",
        "LEVEL",
    )
    network: NetworkWord | None = flag(None, "Network of contained agents: open, hosts or none [as configured].", "HOW")
    allow_hosts: Hosts = flag(
        (),
        "With --network hosts: a further host, HOST[:PORT], *.DOMAIN or packages; repeatable.",
        "HOST",
        name="--allow-host",
    )
    given: frozenset[str] = frozenset()
    """Names of the options that a flag gave."""

    def over(self, name: str, task: _T | None) -> _T:
        """The value of option `name` for a task that sets `task` itself. A flag beats the task.

        Args:
            task: `None` means that the task does not set it.
        """
        value: _T = getattr(self, name)
        return value if task is None or name in self.given else task


OPTIONS: dict[str, Field[Any]] = {item.name: item for item in fields(RunOptions) if item.metadata}
"""Every option by name."""
KEYS = {name: declared for name, declared in OPTIONS.items() if declared.metadata["is_key"]}
"""The keys of the section `parallel_runs`."""
FLAGS = {name: declared for name, declared in OPTIONS.items() if declared.metadata["is_flag"]}
"""The flags of `architect parallel`."""


def kind_of(declared: Field[Any]) -> str:
    """The name of an option's annotation without its `None`.

    >>> kind_of(OPTIONS["timeout"]), kind_of(OPTIONS["grace"])
    ('Duration', 'Duration')
    """
    return str(declared.type).removesuffix(" | None")


def flag_of(name: str) -> str:
    """The flag of an option, for messages.

    >>> flag_of("max_steps"), flag_of("checks"), flag_of("model")
    ('--max-steps', '--check', '--model')
    """
    return (OPTIONS[name].metadata["flag"] or f"--{name.replace('_', '-')}").partition("/")[0]


def show_value(value: object, kind: str) -> str:
    """A default as a user would write it.

    >>> show_value(600.0, "Duration"), show_value(512 * 1024**2, "Size"), show_value((), "Checks")
    ('10m', '512MiB', '[]')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value / 60:g}m" if value >= 60 else f"{value:g}s"
    if isinstance(value, int) and kind in ("Size", "Memory"):
        return f"{value // 1024**3}GiB" if value % 1024**3 == 0 else f"{value // 1024**2}MiB"
    return "[]" if value == () else str(value)
