"""`architect init`: ask for the default agent, the place of worktrees and the checks, and write the configuration."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from architect_parallel.cli import options
from architect_parallel.cli.choose_backend import ask, can_ask, prompt
from architect_parallel.cli.console import answer, answer_json, display, note
from architect_parallel.errors import UsageError

if TYPE_CHECKING:
    from architect_parallel.config.writing import Values
    from architect_parallel.runs.workspace import Workspace

PLACES = {
    "in the repository, as .architect-parallel-N": "{repo}",
    "beside the repository, in ../REPOSITORY.worktrees": "../{repo}.worktrees/{name}",
    "below ~/.local/share": "~/.local/share/architect-parallel/worktrees/{repo}/{name}",
}
"""A place of worktrees in words → `worktrees.root`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The answers of the user, by file. They have only what differs from the configuration of now."""

    user_file: Path
    user: Values
    repository_file: Path | None
    """`None` means that there is no checkout."""
    repository: Values

    @property
    def files(self) -> dict[Path, Values]:
        """Each file to write, with its values."""
        drafts = {self.user_file: self.user}
        if self.repository_file is not None:
            drafts[self.repository_file] = self.repository
        return {path: values for path, values in drafts.items() if values}


def init(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take the defaults.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written and write nothing.")] = False,
    json: options.Json = False,
) -> None:
    """Ask three questions and write the configuration.

    They ask which agent runs by default, where worktrees go, and which checks every result must pass.

    The agent and the place go into your own configuration, the checks into .architect-parallel.yaml of the repository.
    What is configured already is the default of each question.
    """
    from architect_parallel.config.writing import changed_text, write_values
    from architect_parallel.runs.workspace import load_workspace

    asks = not (yes or json)
    if asks and not can_ask():
        raise UsageError("init asks questions, and there is no terminal", hint="architect init --yes")
    here = load_workspace(Path.cwd())
    choices = _choose(here, asks=asks)
    if not json:
        for path, values in choices.files.items():
            answer(f"# {path}\n{changed_text('', values).rstrip()}\n")
        if not choices.files:
            answer("nothing to write: everything is configured already")
    if asks and choices.files and not dry_run and (prompt("Write this? [Y/n] ") or "y").lower() not in ("y", "yes"):
        note("nothing was written")
        return
    trusted = False
    if not dry_run:
        trusted = _was_trusted(choices)
        for path, values in choices.files.items():
            write_values(path, values)
        if choices.repository and trusted:
            _trust(here)
    if json:
        answer_json(
            {
                "files": [{"path": str(path), "values": _nested(v)} for path, v in choices.files.items()],
                "dry_run": dry_run,
            }
        )
    elif choices.files and not dry_run:
        if choices.repository and not trusted:
            note("the repository's file had other entries: look at it, then `architect config trust`")
        answer('written; next: architect parallel "what to do"')


def _choose(here: Workspace, *, asks: bool) -> Choices:
    from architect_parallel.config.paths import REPOSITORY_FILE, USER_FILE, home_dir, user_config_dir

    checkout = here.repository.checkout
    user: dict[tuple[str, str], Any] = {}
    if (backend := _backend(here, asks=asks)) is not None and backend != here.settings.parallel.backend:
        user["parallel_runs", "backend"] = backend
    root = here.settings.worktrees.root
    if (chosen := _root(root, asks=asks)) != root:
        user["worktrees", "root"] = chosen
    checks = () if checkout is None else _checks(here, checkout, asks=asks)
    changed = checkout is not None and checks != here.settings.parallel.checks
    return Choices(
        user_file=user_config_dir(here.environ, home_dir()) / USER_FILE,
        user=user,
        repository_file=None if checkout is None else checkout / REPOSITORY_FILE,
        repository={("parallel_runs", "checks"): list(checks)} if changed else {},
    )


def _backend(here: Workspace, *, asks: bool) -> str | None:
    """The default agent. `None` means that none is ready."""
    from architect_parallel.runs.ready_backends import ready_agents

    ready = ready_agents(here)
    configured = here.settings.parallel.backend
    if configured is not None and configured not in ready:
        ready = (*ready, configured)
    if not ready:
        note("no agent is ready here; `architect backends` says what each lacks")
        return None
    lacking = [name for name, backend in here.backends.items() if backend.availability(here.environ).missing]
    if asks and lacking:
        words = f"Not ready here: {', '.join(lacking)} (`architect backends` says why)"
        note("\n".join(display(sys.stderr).wrap(words, hanging="  ")))
    default = ready.index(configured) if configured is not None else 0
    if not asks:
        return ready[default] if configured is not None or len(ready) == 1 else None
    return ask("Which agent runs tasks when none is named?", ready, default=default) or ready[default]


def _root(now: str, *, asks: bool) -> str:
    if not asks:
        return now
    places = PLACES if now in PLACES.values() else {f"as configured: {now}": now, **PLACES}
    default = list(places.values()).index(now)
    return places[ask("Where do worktrees go?", tuple(places), default=default) or tuple(places)[default]]


def _checks(here: Workspace, checkout: Path, *, asks: bool) -> tuple[str, ...]:
    """The commands that every result must pass: the configured ones, else those that the repository suggests."""
    from architect_parallel.config.found_checks import find_checks

    checks = here.settings.parallel.checks or find_checks(checkout)
    if not asks:
        return checks
    if checks:
        note("Commands that every result must pass:")
        for check in checks:
            note(f"  {check}")
    question = "Enter keeps these; or type others, separated by commas; - means none: "
    typed = prompt(question if checks else "A command that every result must pass; Enter means none: ")
    if not typed:
        return checks
    return () if typed == "-" else tuple(check.strip() for check in typed.split(",") if check.strip())


def _was_trusted(choices: Choices) -> bool:
    """The repository's file holds nothing, or the user trusts it as it is: it may be trusted with what is added."""
    from architect_parallel.config.paths import home_dir, user_config_dir
    from architect_parallel.config.trust import is_trusted

    path = choices.repository_file
    if path is None or not path.exists():
        return True
    return is_trusted(user_config_dir(os.environ, home_dir()), path, path.read_bytes())


def _trust(here: Workspace) -> None:
    from architect_parallel.config.paths import home_dir, user_config_dir
    from architect_parallel.config.trust import trust_repository

    if here.repository.checkout is not None:
        trust_repository(user_config_dir(here.environ, home_dir()), here.repository.checkout)


def _nested(values: Values) -> Mapping[str, Any]:
    nested: dict[str, dict[str, Any]] = {}
    for (section, key), value in values.items():
        nested.setdefault(section, {})[key] = value
    return nested
