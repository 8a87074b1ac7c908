"""Options that several commands share. Those of a run are made from their declaration."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from architect_parallel.errors import UsageError
from architect_parallel.options import FLAGS, kind_of, show_value

if TYPE_CHECKING:
    from architect_parallel.runs.options import ParallelConfig

RUN_HELP = "A run: its id, the start of its id, at least four characters of its end, or `latest`."
Run = Annotated[str, typer.Argument(metavar="RUN", help=RUN_HELP)]
RunOrWorker = Annotated[str, typer.Argument(metavar="RUN", help=f"{RUN_HELP} A number is a worker of the newest run.")]
OptionalRun = Annotated[str | None, typer.Argument(metavar="RUN", help="A run; without it, all or the newest.")]
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
CHECK = "Command that every finished result must pass; repeatable."
"""Help text of `--check`, which takes one of the `checks` at a time."""
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the final result.")]


Command = Callable[..., None]

_FLAG_TYPES: Mapping[str, Any] = {
    "Boolean": bool | None,
    "bool": bool,
    "str": str,
    "Checks": list[str] | None,
    "Hosts": list[str] | None,
}
"""The type of a flag's parameter by the option's annotation; any other flag is optional text."""


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


def run_and_workers(run: str, workers: Sequence[str | int]) -> tuple[str, list[int]]:
    """The run and the worker ids that arguments of a command line mean.

    Raises:
        UsageError: One of `workers` is not a number.
    """
    from architect_parallel.text.names import is_worker_number

    words = [*([run] if is_worker_number(run) else []), *map(str, workers)]
    run = "latest" if is_worker_number(run) else run
    for word in words:
        if not (word.isascii() and word.isdigit()):
            raise UsageError(f"{word!r} is not a worker's number", hint=f"architect status {run}")
    return run, [int(word) for word in words]
