"""`architect config show|schema|trust`: the effective configuration, its schema, and what a repository may set.

`trust` also confirms what was written into git's configuration while agents ran, see `system.programs`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from architect_parallel.cli import options
from architect_parallel.cli.fast_params import PlainCommand, PlainGroup
from architect_parallel.config.paths import home_dir
from architect_parallel.errors import EnvironmentProblem

if TYPE_CHECKING:
    from architect_parallel.config.loader import ConfigSource, Loaded
    from architect_parallel.system.program_record import Unconfirmed
    from architect_parallel.text.display import Display

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
    from architect_parallel.cli.console import answer, answer_json, display, warn
    from architect_parallel.config.loader import load

    loaded = load(_checkout(), config, os.environ, home_dir())
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
        answer(_table(loaded, display()))


@app.command(cls=PlainCommand)
def schema(
    of: Annotated[str, typer.Argument(metavar="FORMAT", help="config, tasks or spec.", show_default=False)] = "config",
    as_json: options.Json = False,
) -> None:
    """Print the JSON schema of a file format."""
    from architect_parallel.cli.console import answer_json
    from architect_parallel.text.suggest import require_known

    require_known("format", of, ("config", "tasks", "spec"))
    if of == "spec":
        from architect_parallel.specs.schema import spec_schema

        answer_json(spec_schema())
    elif of == "tasks":
        from architect_parallel.config.task_schema import task_file_schema

        answer_json(task_file_schema())
    else:
        from architect_parallel.config.schema import config_schema

        answer_json(config_schema())


@app.command(cls=PlainCommand)
def trust(
    revoke: Annotated[bool, typer.Option("--revoke", help="Withdraw the trust in the file.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be trusted and record nothing.")] = False,
    as_json: options.Json = False,
) -> None:
    """Trust what this repository's files configure.

    The file .architect-parallel.yaml is trusted as it is now: it may set backends, setup commands, checks and agents'
    modes.

    Programs, remotes and credentials that came into git's configuration while agents ran are not used until you trust
    them. If there are such entries, this command trusts only them, and the file when you type it again.
    """
    from architect_parallel.cli.console import answer, answer_json
    from architect_parallel.config.paths import user_config_dir
    from architect_parallel.config.trust import distrust_repository, trust_repository
    from architect_parallel.system.git import open_repository

    repository = open_repository(Path.cwd())
    config_dir = user_config_dir(os.environ, home_dir())
    if revoke:
        path = distrust_repository(config_dir, _require_checkout(repository.checkout))
        if as_json:
            answer_json({"path": str(path), "trusted": False})
        else:
            answer(f"no longer trusted: {path}")
        return
    waiting = repository.programs.unconfirmed()
    if waiting.keys:
        # Only these entries: the user has not reviewed the file, which an agent may have changed as well.
        if not dry_run:
            repository.programs.confirm(waiting)
        if as_json:
            answer_json({"trusted": not dry_run, "git": _plain_waiting(waiting)})
        else:
            answer("\n".join(_waiting_lines(waiting, dry_run)))
        return
    trusted = trust_repository(config_dir, _require_checkout(repository.checkout), dry_run=dry_run)
    if as_json:
        plain = {"sha256": trusted.sha256, "keys": trusted.keys}
        answer_json({"path": str(trusted.path), "trusted": not dry_run, **plain})
        return
    lines = [f"{'would be trusted' if dry_run else 'trusted'} as it is now: {trusted.path}"]
    lines += [f"  {key} = {_value(value)}" for key, value in trusted.keys.items()]
    if not trusted.keys:
        lines.append("  (nothing in it needs trust)")
    answer("\n".join(lines))


def _require_checkout(checkout: Path | None) -> Path:
    if checkout is None:
        raise EnvironmentProblem("a bare repository has no configuration file", hint="cd to a checkout")
    return checkout


def _waiting_lines(waiting: Unconfirmed, dry_run: bool) -> list[str]:
    """The entries of git's configuration that changed while agents ran, with their files."""
    lines = [f"git's configuration, changed while agents ran{'' if dry_run else ', confirmed now'}:"]
    lines += [f"  {_value(entry.key)[1:-1]} = {_value(entry.value)}  ({entry.origin})" for entry in waiting.added]
    lines += [f"  {_value(key)[1:-1]} (an entry was removed)" for key in waiting.removed]
    return lines


def _plain_waiting(waiting: Unconfirmed) -> list[dict[str, str | None]]:
    added = [
        {"key": entry.key, "value": entry.value, "origin": entry.origin, "change": "added"} for entry in waiting.added
    ]
    return [*added, *({"key": key, "value": None, "origin": None, "change": "removed"} for key in waiting.removed)]


def _checkout() -> Path | None:
    """Top directory of the checkout. `None` outside a repository, where defaults and the user's file still hold."""
    from architect_parallel.system.git import open_repository

    try:
        return open_repository(Path.cwd()).checkout
    except EnvironmentProblem:
        return None


def _table(loaded: Loaded, display: Display) -> str:
    from architect_parallel.config.yaml_source import dotted, walk
    from architect_parallel.reports.table import TableColumn, render

    origins = loaded.settings.origins
    rows = [(key, _value(value, 60), origins[key]) for path, value in walk(loaded.document) if (key := dotted(path))]
    lines = [f"# {source.kind}: {source.path} ({_state(source)})" for source in loaded.sources]
    columns = [
        TableColumn(title="SETTING", rank=0),
        TableColumn(title="VALUE", rank=1, least=12),
        TableColumn(title="FROM", rank=2, least=12),
    ]
    heading, *table = render(columns, rows, display)
    return "\n".join([*lines, *([] if display.is_pipe else [heading]), *table])


def _state(source: ConfigSource) -> str:
    if not source.exists:
        return "none"
    return "read" if source.trusted else "read, not trusted"


def _plain_source(source: ConfigSource) -> dict[str, Any]:
    return {"path": str(source.path), "kind": source.kind, "exists": source.exists, "trusted": source.trusted}


def _value(value: Any, limit: int = 2000) -> str:
    """A value as JSON, which is YAML too, on one line."""
    import json

    from architect_parallel.text.sanitize import one_line

    return one_line(json.dumps(value, ensure_ascii=False), limit)
