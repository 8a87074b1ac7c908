"""The effective configuration as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from architect_parallel.domain.plans import AgentProfile, RateLimit
from architect_parallel.domain.sandbox import SandboxSettings
from architect_parallel.options import RunOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A price override, USD per million tokens."""

    input_per_mtok: float
    output_per_mtok: float
    cached_input_per_mtok: float | None = None
    """`None` means the same as `input_per_mtok`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSettings:
    """Settings of a backend. An unknown name makes a new backend."""

    command: tuple[str | tuple[str, ...], ...] | None = None
    """argv template. A nested tuple is dropped as a whole when a placeholder in it has no value."""
    env: tuple[str, ...] = ()
    """Further variable names to pass through."""
    prompt: str = "argument"
    """The way of the prompt if the template has no placeholder for it: `argument`, `stdin` or `file`."""
    output: str = "text"
    """`text`, `json` or `jsonl`."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Our field name → (dotted) key in the tool's JSON."""
    home: tuple[str, ...] = ()
    """Paths that a contained agent of it may write, `~` for the home directory."""
    hosts: tuple[str, ...] = ()
    """Hosts that it needs, as `--allow-host` takes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSettings:
    """The TCP ports that workers get."""

    first: int = 41_000
    """The first port of the first block."""
    count: int = 10
    """Ports of each worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorktreeSettings:
    """The places, names and preparation of new worktrees."""

    root: str = "{repo}"
    """Template of the directory in which worktrees are made, or of a worktree itself (see `text.place_names`)."""
    branch: str = "architect/parallel-{n}"
    """Template of the name of a worker's branch."""
    ports: PortSettings = field(default_factory=PortSettings)
    link: tuple[str, ...] = ()
    """Ignored directories of the main checkout that are linked instead of copied, relative to its top."""
    copy: tuple[str, ...] = ()
    """Paths or globs of ignored files to copy from the main checkout."""
    setup: tuple[str, ...] = ()
    """Shell commands run in the new worktree before the agent."""
    setup_env: tuple[str, ...] = ()
    """Names of further variables that setup commands get. A trailing `*` matches any rest."""
    include_file: str = ".worktreeinclude"
    """File in the main checkout with further patterns to copy, in .gitignore syntax."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """Settings of a provider of models, or of a backend by its name."""

    rate_limit: RateLimit | None = None
    """`None` means that starts are not spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceSettings:
    """Settings of what the user sees and works with."""

    color: str = "auto"
    """Colours on a terminal: `auto`, `always` or `never`."""
    notify: str = "auto"
    """Notifications at the end of a run: `auto` (of a long one), `always` or `never`."""
    editor: str | None = None
    """Command that opens a directory. `None` means $VISUAL, $EDITOR or `code`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective configuration: defaults, files and environment merged. Flags come on top."""

    parallel: RunOptions = field(default_factory=RunOptions)
    agents: Mapping[str, AgentProfile] = field(default_factory=dict)
    backends: Mapping[str, BackendSettings] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)
    providers: Mapping[str, ProviderSettings] = field(default_factory=dict)
    worktrees: WorktreeSettings = field(default_factory=WorktreeSettings)
    sandbox: SandboxSettings = field(default_factory=SandboxSettings)
    ui: InterfaceSettings = field(default_factory=InterfaceSettings)
    on_finish: str | None = None
    """Shell command that gets the result of a run on stdin. `None` means that there is none."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Dotted key → the origin of its value (`default`, a file, `environment NAME`)."""
    warnings: tuple[str, ...] = ()
    """Ignored settings with the reason, for example backend commands of an untrusted file."""
