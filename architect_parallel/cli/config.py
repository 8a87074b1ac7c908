"""`architect config show|schema|trust`: the effective configuration, its schema, and what a repository may set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from architect_parallel.cli import options
from architect_parallel.cli.plain_values import PlainCommand, PlainGroup
from architect_parallel.errors import EnvironmentProblem

if TYPE_CHECKING:
    from architect_parallel.config.load import ConfigSource, Loaded

app = typer.Typer(
    cls=PlainGroup,
    help="Show the configuration, or trust a repository's.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(cls=PlainCommand)
def show(config: options.Config = None, as_json: options.Json = False) -> None:
    """Print the effective configuration, each value with its origin."""
    from architect_parallel.cli.output import answer, answer_json, warn
    from architect_parallel.config.load import load

    loaded = load(_checkout(), config, os.environ, Path.home())
    for warning in loaded.settings.warnings:
        warn(warning)
    if as_json:
        answer_json(
            {
                "schema_version": 1,
                "settings": loaded.document,
                "origins": loaded.settings.origins,
                "files": [_plain_source(source) for source in loaded.sources],
                "warnings": loaded.settings.warnings,
            }
        )
    else:
        answer(_table(loaded))


@app.command(cls=PlainCommand)
def schema(
    of: Annotated[str, typer.Argument(metavar="FORMAT", help="config, tasks or spec.", show_default=False)] = "config",
    as_json: options.Json = False,
) -> None:
    """Print the JSON schema of a file format: the configuration's, a task file's or a spec's (always JSON)."""
    from architect_parallel.cli.output import answer_json
    from architect_parallel.planning.suggest import require_known

    require_known("format", of, ("config", "tasks", "spec"))
    if of == "spec":
        from architect_parallel.config.spec_schema import spec_schema

        answer_json(spec_schema())
    elif of == "tasks":
        from architect_parallel.config.task_schema import task_file_schema

        answer_json(task_file_schema())
    else:
        from architect_parallel.config.schema import config_schema

        answer_json(config_schema())


@app.command(cls=PlainCommand)
def trust(
    revoke: Annotated[bool, typer.Option("--revoke", help="Take the trust back.")] = False,
    as_json: options.Json = False,
) -> None:
    """Let this repository's .architect-parallel.yaml, as it is now, set backends, setup commands and agents' modes."""
    from architect_parallel.cli.output import answer, answer_json
    from architect_parallel.config.places import user_config_dir
    from architect_parallel.config.trust import distrust_repository, trust_repository
    from architect_parallel.system.git import open_repository

    checkout = open_repository(Path.cwd()).checkout
    if checkout is None:
        raise EnvironmentProblem("a bare repository has no configuration file", hint="cd to a checkout")
    config_dir = user_config_dir(os.environ, Path.home())
    if revoke:
        path = distrust_repository(config_dir, checkout)
        if as_json:
            answer_json({"path": str(path), "trusted": False})
        else:
            answer(f"no longer trusted: {path}")
        return
    trusted = trust_repository(config_dir, checkout)
    if as_json:
        answer_json({"path": str(trusted.path), "trusted": True, "sha256": trusted.sha256, "keys": trusted.keys})
        return
    lines = [f"trusted as it is now: {trusted.path}"]
    lines += [f"  {key} = {_value(value)}" for key, value in trusted.keys.items()]
    if not trusted.keys:
        lines.append("  (nothing in it needs trust)")
    answer("\n".join(lines))


def _checkout() -> Path | None:
    """Top directory of the checkout; `None` outside a repository, where defaults and the user's file still hold."""
    from architect_parallel.system.git import open_repository

    try:
        return open_repository(Path.cwd()).checkout
    except EnvironmentProblem:
        return None


def _table(loaded: Loaded) -> str:
    from architect_parallel.config.source import dotted, walk

    origins = loaded.settings.origins
    rows = [(key, _value(value, 60), origins[key]) for path, value in walk(loaded.document) if (key := dotted(path))]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"# {source.kind}: {source.path} ({_state(source)})" for source in loaded.sources]
    lines += [f"{key:{widths[0]}}  {value:{widths[1]}}  {origin}" for key, value, origin in rows]
    return "\n".join(lines)


def _state(source: ConfigSource) -> str:
    if not source.exists:
        return "none"
    return "read" if source.trusted else "read, not trusted"


def _plain_source(source: ConfigSource) -> dict[str, Any]:
    return {"path": str(source.path), "kind": source.kind, "exists": source.exists, "trusted": source.trusted}


def _value(value: Any, limit: int = 2000) -> str:
    """A value as JSON, which is YAML too, on one line."""
    import json

    from architect_parallel.planning.plain_text import one_line

    return one_line(json.dumps(value, ensure_ascii=False), limit)
