"""The spec as a pydantic model: names, types, bounds, other names, and the JSON schema.

Knows nothing of files or places. A task is that of a task file, with what makes a graph of tasks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from architect_parallel.config.fields import Boolean, Count, Identifier, Meta, Name, Prompt, Retries, Section, Text
from architect_parallel.config.schema import RateLimitSection
from architect_parallel.config.task_schema import DefaultsSection, camel_name, own_name
from architect_parallel.domain import OnPartial
from architect_parallel.text.quantities import MOST_RETRIES, read_count

LONGEST_MS = 7 * 24 * 3600 * 1000


def _milliseconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= LONGEST_MS:
        raise ValueError("must be a number of milliseconds, at least 0 and at most 7 days")
    return float(value)


def _factor(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= 100:
        raise ValueError("must be a number from 1 to 100")
    return float(value)


def _attempts(value: object) -> int:
    return read_count(value if isinstance(value, (str, int, float)) else "", high=MOST_RETRIES + 1)


Milliseconds = Annotated[
    float, BeforeValidator(_milliseconds), WithJsonSchema({"type": "number", "minimum": 0, "maximum": LONGEST_MS})
]
Factor = Annotated[float, BeforeValidator(_factor), WithJsonSchema({"type": "number", "minimum": 1, "maximum": 100})]
Attempts = Annotated[
    int, BeforeValidator(_attempts), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MOST_RETRIES + 1})
]


class ExecutionSection(Section):
    """The execution of the graph."""

    max_concurrent_agents: Count | None = Field(default=None, description="How many run at the same time; null: 4.")


class SpecProviderSection(Section):
    """The starts of one provider's workers in this run."""

    rate_limit: RateLimitSection | None = Field(default=None, description="null: the value of the configuration.")


class RetrySection(Section):
    """The repetition of failed tasks, whatever their failure."""

    max_attempts: Attempts = Field(default=3, description="In all, the first one included.")
    initial_delay: Milliseconds = Field(default=1000.0, description="Milliseconds before the second attempt.")
    backoff_factor: Factor = Field(default=2.0, description="Factor by which each wait is longer than the one before.")
    max_delay: Milliseconds = Field(default=10000.0, description="Milliseconds; no wait is longer.")


class DebuggerSection(Section):
    """The agent that explains the failures of several tasks."""

    agent: Name = Field(description="Agent profile, or a role for the default profile.")


class RecoverySection(Section):
    """The further attempts after a task has failed for good."""

    retries: Retries = Field(default=1, description="Further attempts.")
    refine: Boolean = Field(default=True, description="Give them the error, the state and the results of others.")
    debugger: DebuggerSection | None = Field(default=None, description="Explains the failures of several tasks.")
    on_all_failed: Literal["escalate", "retry"] = Field(
        default="escalate", description="escalate: a group that failed alike is left to a person. retry: tried again."
    )


class MergeSection(Section):
    """The merge of the results."""

    strategy: Literal["sequential"] = Field(default="sequential", description="sequential.")
    into: Prompt = Field(description="Branch to land on; made where it is missing.")
    check: Prompt | None = Field(default=None, description="Command that must pass after each step.")


class CoordinatorSection(Section):
    """A last task that gets the results of all others. Its final text is the synthesis of the run."""

    task: Prompt = Field(
        default="Synthesise the results, name the conflicts between them, recommend what to do.",
        description="What to do. {{ results }} is put at its end where it is not in it.",
    )
    agent: Name | None = Field(default=None, description="Agent profile, or a role for the default profile.")


class SpecTaskSection(DefaultsSection):
    """One task of the graph."""

    name: Name | None = Field(default=None, description="Unique in the file; id or name is required.")
    id: Name | None = Field(default=None, description="Another name for dependencies; unique in the file.")
    prompt: Prompt | None = Field(default=None, description="What to do; null: its name.")
    agent: Name | None = Field(default=None, description="Agent profile, or a role for the default profile.")
    on_partial: OnPartial | None = Field(
        default=None, description="continue: go on when something it depends on did not succeed."
    )


def _tasks(value: object) -> object:
    if isinstance(value, list) and not value:
        raise ValueError("is empty: there must be at least one task")
    return value


class SpecSection(Section):
    """A whole spec."""

    schema_: Text | None = Field(default=None, alias="$schema", description="For editors.")
    name: Name | None = Field(default=None, description="null: the file's name.")
    description: Text | None = Field(default=None, description="For people.")
    policy: Meta | None = Field(default=None, description="Ignored, with a warning.")
    execution: ExecutionSection | None = Field(default=None)
    providers: dict[Identifier, SpecProviderSection] | None = Field(default=None, description="By provider.")
    retry: RetrySection | None = Field(default=None)
    recovery: RecoverySection | None = Field(default=None)
    state_file: Prompt | None = Field(
        default=None,
        description="A report in Markdown, written during the run; relative to where the tool is called. "
        "It replaces an earlier report and no other file.",
    )
    merge: MergeSection | None = Field(default=None)
    coordinator: CoordinatorSection | None = Field(default=None)
    on_partial: OnPartial | None = Field(default=None, description="For tasks without a value of their own.")
    defaults: DefaultsSection | None = Field(default=None, description="For tasks without a value of their own.")
    tasks: Annotated[list[SpecTaskSection], BeforeValidator(_tasks)] = Field(description="At least one.", min_length=1)


SECTIONS: Mapping[tuple[str, ...], type[Section]] = {
    (): SpecSection,
    ("execution",): ExecutionSection,
    ("providers", "*"): SpecProviderSection,
    ("providers", "*", "rate_limit"): RateLimitSection,
    ("retry",): RetrySection,
    ("recovery",): RecoverySection,
    ("recovery", "debugger"): DebuggerSection,
    ("merge",): MergeSection,
    ("coordinator",): CoordinatorSection,
    ("defaults",): DefaultsSection,
    ("tasks", "*"): SpecTaskSection,
}
"""The section at each path, parents first. `*` is any key or index."""

_ALIASES: Mapping[str, str] = {"deps": "dependencies", "depends_on": "dependencies"}


def own_spec_name(key: str, known: Collection[str]) -> str:
    """The field that `key` is a name of. Another key is returned as it is.

    >>> own_spec_name("dependsOn", SpecTaskSection.model_fields), own_spec_name("deps", RetrySection.model_fields)
    ('dependencies', 'deps')
    """
    alias = _ALIASES.get(own_name(key, [*known, *_ALIASES]))
    return alias if alias is not None and alias in known else own_name(key, known)


def spec_schema() -> dict[str, Any]:
    """The JSON schema of a spec, other names included."""
    schema = SpecSection.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "architect-parallel spec"
    named = {"SpecSection": schema, **schema["$defs"]}
    for kind in SECTIONS.values():
        properties = named[kind.__name__]["properties"]
        for field in list(properties):
            others = [camel_name(field)] if camel_name(field) != field else []
            others += ["task"] if field == "prompt" else []
            others += ["deps", "dependsOn", "depends_on"] if field == "dependencies" else []
            for other in others:
                properties[other] = properties[field] | {"description": f"Another name of {field}."}
    named["SpecTaskSection"]["anyOf"] = [{"required": ["name"]}, {"required": ["id"]}]
    return schema
