"""Options that several commands share. Those of a run are made from their declaration."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from architect_parallel.options import FLAGS, kind_of, show_value

if TYPE_CHECKING:
    from architect_parallel.hosts.link import LinkOptions
    from architect_parallel.journal.selection import Selection
    from architect_parallel.runs.options import ParallelConfig

RUN = "RUN is a run's id, the start of its id, at least four characters of its end, or `latest`; without it, the newest"
WORKER = "N is a worker's number, name or branch"
Workers = Annotated[list[str] | None, typer.Argument(metavar="[RUN] [N]...", help=f"{RUN}. {WORKER}; without it, all.")]
OneWorker = Annotated[
    list[str] | None,
    typer.Argument(metavar="[RUN] N", help=f"{RUN}. {WORKER}; the only worker of a run needs none."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done and do nothing.")]
Config = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration file to use.")]
Artifacts = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Write result, report, and a patch and a bundle per worker to this directory (`architect import`).",
    ),
]
TlsDir = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="ca.crt, tls.crt and tls.key [~/.config/architect-parallel/tls]."),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Without encryption: anyone on the network can run programs.")
]
CHECK = "Command that every finished result must pass; repeatable."
"""Help text of `--check`, which takes one of the `checks` at a time."""
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the final result.")]


Command = Callable[..., int | None]

_FLAG_TYPES: Mapping[str, Any] = {
    "Boolean": bool | None,
    "bool": bool,
    "str": str,
    "Checks": list[str] | None,
    "Hosts": list[str] | None,
}
"""The type of a flag's parameter by the option's annotation. Any other flag is optional text."""


CONTAINMENT = ("sandbox", "network", "allow_hosts")
"""The options of a run that say what agents may reach."""
HOSTS = ("hosts", "tls_dir", "insecure", "host_timeout")
"""The options of a run that say on which machines its workers run."""


def run_options(*names: str, before: str = "artifacts", **texts: str) -> Callable[[Command], Command]:
    """Give a command the flags of the named options of a run. It receives them in its `**flags`.

    Args:
        names: In the order in which they are shown. None means every flag of `architect parallel`.
        before: The parameter of the command before which they are shown.
        texts: Help texts that differ from the declared ones.
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [spec for spec in signature.parameters.values() if spec.kind is not spec.VAR_KEYWORD]
        place = next(index for index, spec in enumerate(own) if spec.name == before)
        own[place:place] = [_parameter(name, texts.get(name)) for name in names or FLAGS]
        command.__signature__ = signature.replace(parameters=own)  # type: ignore[attr-defined]  # typer reads it
        return command

    return decorate


def request(flags: Mapping[str, Any], **more: Any) -> ParallelConfig:
    """The request that the flags of `run_options` and the further fields make."""
    from architect_parallel.runs.options import ParallelConfig
    from architect_parallel.text.names import split_models

    models = flags.get("models")
    repeated = {name: tuple(flags.get(name) or ()) for name in ("checks", "allow_hosts")}
    lists = {"models": split_models(models) if models else (), **repeated}
    if agents := flags.get("agents"):
        lists["agents"] = tuple(agents.split(","))
    elif "agents" in flags:
        lists["agents"] = ()
    return ParallelConfig(on_terminal=sys.stderr.isatty(), **{**flags, **lists, **more})


def _parameter(name: str, text: str | None) -> inspect.Parameter:
    declared = FLAGS[name]
    kind = kind_of(declared)
    shown = declared.metadata["flag"] or f"--{name.replace('_', '-')}"
    names = [f"{shown}/--no-{shown[2:]}"] if kind == "Boolean" else shown.split("/")
    info = typer.Option(*names, metavar=declared.metadata["metavar"], help=text or _help(declared))
    default = declared.default if kind in ("bool", "str") else None
    annotation: Any = Annotated[_FLAG_TYPES.get(kind, str | None), info]
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)


def _help(declared: Field[Any]) -> str:
    """The description, with what holds without the flag in brackets before its last full stop."""
    text, null, default = declared.metadata["text"], declared.metadata["null"], declared.default
    if kind_of(declared) == "Boolean":
        without = declared.name if default else None
    elif default is None:
        without = null if null != "no limit" else None
    else:
        without = show_value(default, kind_of(declared)) if declared.metadata["is_key"] and default != () else None
    return text if without is None else f"{text.removesuffix('.')} [{without}]."


def link_options(tls_dir: Path | None, *, insecure: bool) -> LinkOptions:
    """How a link is opened. A connection without encryption is warned about each time."""
    from architect_parallel.cli.console import warn
    from architect_parallel.errors import UsageError
    from architect_parallel.hosts.link import LinkOptions

    if insecure and tls_dir is not None:
        raise UsageError("--insecure and --tls-dir exclude each other")
    if insecure:
        warn("--insecure: no encryption, and anyone who reaches the port can run programs on every host")
    return LinkOptions(tls_dir=tls_dir, insecure=insecure)


def selected(words: Sequence[str] | None) -> Selection:
    """The run and the workers that the words `[RUN] [N]...` select here. Raises as `select`."""
    from architect_parallel.journal.selection import select
    from architect_parallel.runs.workspace import open_journal

    with open_journal(Path.cwd()) as (_, journal):
        return select(journal, words or ())


def selected_workers(words: Sequence[str] | None, command: str) -> Selection:
    """The run and at least one worker. Raises as `selected`.

    Args:
        command: The words before `[RUN] N...`, for the hint.

    Raises:
        UsageError: No worker is named in a run of several.
    """
    from architect_parallel.journal.selection import Selection, no_worker_given, select
    from architect_parallel.runs.workspace import open_journal

    with open_journal(Path.cwd()) as (_, journal):
        selection = select(journal, words or ())
        planned = () if selection.worker_ids else journal.planned(selection.run_id)
    if len(planned) == 1:
        return Selection(run_id=selection.run_id, worker_ids=(planned[0].worker_id,))
    if planned:
        raise no_worker_given(selection.run_id, planned, f"{command} {selection.run_id} N")
    return selection


def selected_worker(words: Sequence[str] | None) -> tuple[str, int]:
    """The run and the one worker that the words `[RUN] N` select here. Raises as `select_worker`."""
    from architect_parallel.journal.selection import select_worker
    from architect_parallel.runs.workspace import open_journal

    with open_journal(Path.cwd()) as (_, journal):
        selection = select_worker(journal, words or ())
        return selection.run_id, selection.worker_ids[0]
