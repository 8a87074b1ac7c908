"""The task file as a pydantic model: names, types, bounds, other names, and the JSON schema.

Knows nothing of files or places. The messages are those of the configuration's schema.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from architect_parallel.config.fields import (
    Boolean,
    Count,
    Duration,
    FilledTexts,
    Identifier,
    Meta,
    Model,
    Name,
    Needs,
    Prompt,
    Retries,
    Scope,
    Section,
    Text,
    Texts,
    Usd,
)
from architect_parallel.config.schema import SandboxWord
from architect_parallel.domain import ApprovalMode, Complexity, Isolation, Network, OutputFormat, SandboxMode


class DefaultsSection(Section):
    """The defaults for every task of the file."""

    backend: Identifier | None = Field(default=None, description="Agent CLI to run: see `architect backends`.")
    model: Model | None = Field(default=None, description="null: the agent profile's, else the backend's default.")
    agent: Identifier | None = Field(default=None, description="Agent profile: build, plan, review, or your own.")
    workdir: Prompt | None = Field(
        default=None,
        description="Directory to start in; relative to where the tool is called. Inside the repository: the same"
        " directory of the task's worktree. Outside: the task runs there, in place.",
    )
    isolation: Isolation | None = Field(
        default=None,
        description="worktree: branch and worktree of its own. none: in its workdir as it is (without one: in the"
        " checkout), without branch, commit or diff. null: by workdir.",
    )
    approval_mode: ApprovalMode | None = Field(
        default=None,
        description="What the agent may do without approval; null: the agent profile's, else none in a worktree and"
        " default in place.",
    )
    sandbox_mode: SandboxMode | None = Field(default=None, description="How far the agent's own sandbox lets it write.")
    sandbox: SandboxWord | None = Field(default=None, description="auto, off, write or closed: docs/containment.md.")
    network: Network | None = Field(default=None, description="Network of the contained agent: open, hosts or none.")
    output_format: OutputFormat | None = Field(default=None, description="What the agent is asked to print.")
    max_tokens: Count | None = Field(default=None, description="Output tokens per model reply.")
    max_turns: Count | None = Field(default=None, description="Agent steps; null: max_steps of the configuration.")
    system_prompt: Text | None = Field(default=None, description="Appended to the agent's own system prompt.")
    timeout: Duration | None = Field(default=None, description="Seconds or 30s, 5m, 1h.")
    budget: Usd | None = Field(default=None, description="USD.")
    tags: FilledTexts = Field(default=(), description="Copied to the result.")
    meta: Meta = Field(default={}, description="Copied to the result.")
    extra: Texts = Field(default=(), description="Further arguments for the agent's command line.")
    files: Scope = Field(
        default=(), description="Paths or globs, from the repository's root, that the task is expected to change."
    )
    critical: Boolean = Field(default=True, description="false: its failure does not fail the run.")
    complexity: Complexity | None = Field(default=None, description="How much of the machine it takes.")
    needs: Needs = Field(
        default={}, description="Labels that its host must have, with amounts: `gpu: 1`. Heeded with --hosts."
    )
    retries: Retries | None = Field(default=None, description="Further attempts after a failure.")
    checks: FilledTexts | None = Field(
        default=None, description="Commands run in the finished worktree; all must pass."
    )
    dependencies: FilledTexts = Field(default=(), description="Names or ids of tasks of this file that come first.")


class TaskSection(DefaultsSection):
    """One task."""

    prompt: Prompt = Field(description="What to do.")
    name: Name | None = Field(default=None, description="Shown in tables and results; unique in the file.")
    id: Name | None = Field(default=None, description="For dependencies; unique in the file.")


def _tasks(value: object) -> object:
    if isinstance(value, list) and not value:
        raise ValueError("is empty: there must be at least one task")
    return value


class TaskFileSection(Section):
    """A whole task file. A list at its top is the list of tasks."""

    schema_: Text | None = Field(default=None, alias="$schema", description="For editors.")
    tasks: Annotated[list[TaskSection], BeforeValidator(_tasks)] = Field(description="At least one.", min_length=1)
    max_parallel: Count | None = Field(default=None, description="How many run at the same time.")
    fail_fast: Boolean | None = Field(default=None, description="Cancel the rest at the first failure.")
    output_dir: Prompt | None = Field(
        default=None, description="Directory for a result file per task and summary.json; made where it is missing."
    )
    defaults: DefaultsSection | None = Field(default=None, description="For tasks without a value of their own.")


def own_name(key: str, known: Collection[str]) -> str:
    """The field that `key` is a name of: `task` is `prompt`, camelCase is snake_case. Another key is returned as it is.

    >>> own_name("systemPrompt", TaskSection.model_fields), own_name("task", TaskSection.model_fields)
    ('system_prompt', 'prompt')
    """
    if key == "task" and "prompt" in known:
        return "prompt"
    snake = snake_name(key)
    return snake if snake in known else key


def snake_name(key: str) -> str:
    """`maxTurns` as `max_turns`."""
    return re.sub(r"(?<=[a-z])[A-Z]", lambda match: f"_{match[0].lower()}", key)


def camel_name(field: str) -> str:
    """`max_turns` as `maxTurns`."""
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), field)


def task_file_schema() -> dict[str, Any]:
    """The JSON schema of a task file, other names included."""
    schema = TaskFileSection.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "architect-parallel task file"
    for section in (schema, schema["$defs"]["TaskSection"], schema["$defs"]["DefaultsSection"]):
        for field in list(section["properties"]):
            if camel_name(field) != field:
                section["properties"][camel_name(field)] = _another(section, field)
    task = schema["$defs"]["TaskSection"]
    task["properties"]["task"] = _another(task, "prompt")
    task["required"] = [item for item in task["required"] if item != "prompt"]
    task["oneOf"] = [{"required": ["prompt"]}, {"required": ["task"]}]
    # A file is the mapping, or the bare list of its tasks.
    whole = {key: schema.pop(key) for key in ("type", "properties", "required", "additionalProperties", "description")}
    schema["anyOf"] = [whole, {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/TaskSection"}}]
    return schema


def _another(section: Mapping[str, Any], field: str) -> dict[str, Any]:
    return {**section["properties"][field], "description": f"Another name of {field}."}
