"""The configuration file as a pydantic model: names, types, bounds and messages.

Knows nothing of files, layers or trust. Its models stay in this room: `loader` turns them into the frozen types of
`domain`. The descriptions become the JSON schema.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, create_model

from architect_parallel.backends.command import PLACEHOLDERS
from architect_parallel.config import fields
from architect_parallel.config.fields import (
    Boolean,
    Count,
    FilledText,
    Identifier,
    Model,
    Section,
    Text,
    Variable,
    Variables,
    read_filled_text,
    read_number,
    read_text,
)
from architect_parallel.domain import AUTO, ApprovalMode, Network, SandboxLevel, SandboxMode, SandboxSettings
from architect_parallel.options import KEYS, kind_of
from architect_parallel.scheduling.assignment import Assign
from architect_parallel.text.hosts import read_host
from architect_parallel.text.place_names import (
    DEFAULT_BRANCH,
    DEFAULT_ROOT,
    read_branch_template,
    read_root_template,
)
from architect_parallel.text.quantities import read_count

HIGHEST_CEILING = 1000
"""Upper limit of `workers_ceiling`."""

ALIASES: Mapping[tuple[str, ...], str] = {
    ("parallel",): "parallel_runs",
    ("parallel_runs", "max_workers"): "max_parallel",
    ("providers", "*", "rateLimit"): "rate_limit",
    ("providers", "*", "rate_limit", "refillRate"): "refill_rate",
}
"""Path of a key's other name (its parents by their own names, `*` for any) → its own name."""

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")


def _inner_path(value: object) -> str:
    path = read_filled_text(value)
    if os.path.isabs(path) or ".." in path.split("/"):
        raise ValueError("must be a path inside the repository")
    return path


def _whole_number(value: object, low: int, high: int) -> int:
    return read_count(value if isinstance(value, (str, int, float)) else "", low=low, high=high)


def _sandbox_word(value: object) -> str:
    words = [AUTO, *(level.value for level in SandboxLevel)]
    if value is False:  # YAML 1.1 reads `off` so
        return SandboxLevel.OFF.value
    if value not in words:
        raise ValueError(f"must be one of {', '.join(words)}")
    return str(value)


def _full_path(value: object) -> str:
    path = read_filled_text(value)
    if not (os.path.isabs(path) or path == "~" or path.startswith("~/")) or ".." in path.split("/"):
        raise ValueError("must be an absolute path, or begin with ~/")
    return os.path.normpath(path)


def _argument(value: object) -> str:
    text = read_text(value)
    for name in _PLACEHOLDER.findall(text):
        if name and name not in PLACEHOLDERS:  # an empty one is a doubled brace, which means a brace
            raise ValueError(f"unknown placeholder {{{name}}}; known: {', '.join(sorted(PLACEHOLDERS))}")
    return text


def _command(value: object) -> tuple[str | tuple[str, ...], ...]:
    """A list of words. A nested list is an optional group."""
    what = "must be a list of words, program first; a list inside is an optional group"
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise ValueError(what)
    if not isinstance(value[0], str) or not value[0].strip():
        raise ValueError(what)
    words: list[str | tuple[str, ...]] = []
    for word in value:
        if isinstance(word, Sequence) and not isinstance(word, str):
            if not word or not all(isinstance(inner, str) for inner in word):
                raise ValueError(what)
            words.append(tuple(_argument(inner) for inner in word))
        elif isinstance(word, str):
            words.append(_argument(word))
        else:
            raise ValueError(f"{what}; a number needs quotes")
    return tuple(words)


_COMMAND_SCHEMA = {
    "type": "array",
    "minItems": 1,
    "prefixItems": [{"type": "string"}],
    "items": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]},
}

Ceiling = Annotated[
    int,
    BeforeValidator(partial(_whole_number, low=1, high=HIGHEST_CEILING)),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": HIGHEST_CEILING}),
]
Rate = Annotated[
    float,
    BeforeValidator(partial(read_number, low=0, high=1e6, above=True, what="must be a number above 0")),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0}),
]
Capacity = Annotated[
    float,
    BeforeValidator(partial(read_number, low=1, high=1e6, what="must be a number of at least 1")),
    WithJsonSchema({"type": "number", "minimum": 1}),
]
PerMillion = Annotated[
    float,
    BeforeValidator(
        partial(read_number, low=0, high=1e9, what="must be a number of at least 0, in US dollars per million tokens")
    ),
    WithJsonSchema({"type": "number", "minimum": 0}),
]
RootTemplate = Annotated[str, BeforeValidator(lambda value: read_root_template(read_filled_text(value)))]
BranchTemplate = Annotated[str, BeforeValidator(lambda value: read_branch_template(read_filled_text(value)))]
Port = Annotated[
    int,
    BeforeValidator(partial(_whole_number, low=1024, high=65_000)),
    WithJsonSchema({"type": "integer", "minimum": 1024, "maximum": 65_000}),
]
PortCount = Annotated[
    int,
    BeforeValidator(partial(_whole_number, low=1, high=100)),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 100}),
]
SandboxWord = Annotated[
    str,
    BeforeValidator(_sandbox_word),
    WithJsonSchema({"enum": [AUTO, *(level.value for level in SandboxLevel)], "type": "string"}),
]
Host = Annotated[str, BeforeValidator(lambda value: read_host(read_filled_text(value)))]
FullPath = Annotated[str, BeforeValidator(_full_path)]
InnerPath = Annotated[str, BeforeValidator(_inner_path)]
Command = Annotated[tuple[str | tuple[str, ...], ...], BeforeValidator(_command), WithJsonSchema(_COMMAND_SCHEMA)]
FieldName = Literal[
    "output", "cost", "steps", "session_id", "is_error", "error", "input_tokens", "cached_tokens", "output_tokens"
]


def _key(declared: dataclasses.Field[Any]) -> tuple[Any, Any]:
    """Type and field of a key of `parallel_runs`, from its declaration."""
    name, null = kind_of(declared), declared.metadata["null"]
    kind = _KINDS[name] if name in _KINDS else getattr(fields, name)
    description = declared.metadata["text"] + ("" if null is None else f" null means {null}.")
    default = Assign(str(declared.default)) if kind is Assign else declared.default
    return (kind | None if null else kind), Field(default=default, description=description)


_KINDS: Mapping[str, Any] = {"WorkerCount": Count, "Ceiling": Ceiling, "AssignWord": Assign}
_DECLARED: dict[str, Any] = {name: _key(declared) for name, declared in KEYS.items()}
ParallelSection = create_model("ParallelSection", __base__=Section, __module__=__name__, **_DECLARED)
ParallelSection.__doc__ = "Defaults of the flags of `architect parallel`."


class AgentSection(Section):
    """An agent profile."""

    backend: Identifier | None = Field(default=None, description="Backend if neither a flag nor the task names one.")
    model: Model | None = Field(default=None, description="Model if neither a flag nor the task names one.")
    system_prompt: Text | None = Field(default=None, description="Appended to the agent's own system prompt.")
    approval_mode: ApprovalMode | None = Field(default=None, description="null means that the task decides.")
    sandbox_mode: SandboxMode | None = Field(default=None, description="null means that the task decides.")


class BackendSection(Section):
    """A new backend, or another program for a built-in one."""

    command: Command | None = Field(
        default=None,
        description="Words of the command line; a list inside is dropped if a placeholder in it has no value.",
    )
    env: tuple[Variable, ...] = Field(default=(), description="Names of further environment variables to pass through.")
    prompt: Literal["argument", "stdin", "file"] = Field(default="argument", description="How the prompt is passed.")
    output: Literal["text", "json", "jsonl"] = Field(default="text", description="What the program prints.")
    fields: dict[FieldName, FilledText] = Field(
        default={}, description="Our name of a value: its (dotted) key in the JSON."
    )
    home: tuple[FullPath, ...] = Field(default=(), description="Places that a contained agent of it may write.")
    hosts: tuple[Host, ...] = Field(default=(), description="Hosts that it needs with the network hosts.")


class PriceSection(Section):
    """Price of a model that the built-in table does not know or has wrong."""

    input_per_mtok: PerMillion = Field(description="USD per million input tokens.")
    output_per_mtok: PerMillion = Field(description="USD per million output tokens.")
    cached_input_per_mtok: PerMillion | None = Field(default=None, description="null means the same as input_per_mtok.")


class RateLimitSection(Section):
    """A token bucket for the starts of a provider's workers."""

    enabled: Boolean = Field(default=True, description="false means no rate limit.")
    capacity: Capacity = Field(default=10.0, description="Number of starts at once.")
    refill_rate: Rate = Field(default=1.0, description="Starts per second after that.")


class ProviderSection(Section):
    """How workers of one provider (anthropic, openai, …, or a backend's name) are started."""

    rate_limit: RateLimitSection | None = Field(default=None, description="null means that starts are not spread.")


class PortSection(Section):
    """TCP ports for the test servers of workers."""

    first: Port = Field(default=41_000, description="First port of the first block.")
    count: PortCount = Field(default=10, alias="each", description="Number of ports that each worker gets.")


class WorktreeSection(Section):
    """Place, branch and preparation of a new worktree."""

    root: RootTemplate = Field(
        default=DEFAULT_ROOT,
        description="Directory of worktrees, or with {name}, {n}, {slug} or {run} of each of them. {repo} at the start "
        "is the repository's root, elsewhere its name.",
    )
    branch: BranchTemplate = Field(
        default=DEFAULT_BRANCH, description="Names of branches, with {n}, {name}, {slug} (of the task) or {run}."
    )
    ports: PortSection = PortSection()
    link: tuple[InnerPath, ...] = Field(
        default=(),
        description="Ignored directories of the main checkout to link instead of copying. Agents can write there.",
    )
    copy_: tuple[FilledText, ...] = Field(
        default=(), alias="copy", description="Ignored files to copy from the main checkout."
    )
    setup: tuple[FilledText, ...] = Field(
        default=(), description="Shell commands run in the worktree before the agent."
    )
    setup_env: Variables = Field(default=(), description="Names of further environment variables that setup gets.")
    include_file: InnerPath = Field(default=".worktreeinclude", description="File with further patterns to copy.")


class InterfaceSection(Section):
    """The look of what is printed, and the programs of the user."""

    color: Literal["auto", "always", "never"] = Field(
        default="auto", description="Colours on a terminal; always also with NO_COLOR."
    )
    notify: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Bell, notification and title of the terminal when a run ends; auto means after 30 s or more.",
    )
    editor: FilledText | None = Field(
        default=None, description="Command that opens a directory. null means $VISUAL, $EDITOR or `code`."
    )


class SandboxSection(Section):
    """Containment of agents and checks by the operating system: docs/containment.md."""

    level: SandboxWord = Field(
        default=SandboxSettings().level, description="auto, off, write or closed. auto is write where possible."
    )
    network: Network = Field(default=Network.OPEN, description="open: as you. hosts: named ones. none: nothing.")
    hosts: tuple[Host, ...] = Field(
        default=(), description="With network hosts: hosts beside the backend's own, as --allow-host takes them."
    )
    write: tuple[FullPath, ...] = Field(default=(), description="Further places that agents may write, such as ~/.m2.")
    read: tuple[FullPath, ...] = Field(default=(), description="With closed: further places that agents may read.")
    show: tuple[FullPath, ...] = Field(default=(), description="Paths taken off the list of hidden ones.")
    hide: tuple[FullPath, ...] = Field(default=(), description="Paths added to the list of hidden ones.")


class ConfigFile(Section):
    """A whole configuration file."""

    parallel_runs: ParallelSection = ParallelSection()  # type: ignore[valid-type]  # made from the declaration
    agents: dict[Identifier, AgentSection] = Field(default={}, description="Agent profiles by name.")
    backends: dict[Identifier, BackendSection] = Field(default={}, description="Backends by name.")
    prices: dict[Model, PriceSection] = Field(default={}, description="Prices by model name.")
    providers: dict[Identifier, ProviderSection] = Field(default={}, description="Rate limits by provider.")
    worktrees: WorktreeSection = WorktreeSection()
    ui: InterfaceSection = InterfaceSection()
    on_finish: FilledText | None = Field(
        default=None,
        description="Shell command that gets the result of a run as JSON on stdin. Only your own file may set it.",
    )
    sandbox: SandboxSection = SandboxSection()


_OWNERS: Mapping[tuple[str, ...], str] = {
    ("parallel_runs",): "ParallelSection",
    ("providers", "*"): "ProviderSection",
    ("providers", "*", "rate_limit"): "RateLimitSection",
}


def config_schema() -> dict[str, Any]:
    """The JSON schema of a configuration file, aliases included."""
    schema = ConfigFile.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "architect-parallel configuration"
    for path, name in ALIASES.items():
        owner = schema if len(path) == 1 else schema["$defs"][_OWNERS[path[:-1]]]
        owner["properties"][path[-1]] = owner["properties"][name] | {"description": f"Another name of {name}."}
    return schema
