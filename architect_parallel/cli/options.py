"""Options that several commands share, written once so that help texts agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from architect_parallel.errors import UsageError

RUN_HELP = "A run: its id, how it begins, at least four characters of its end, or `latest`."
Run = Annotated[str, typer.Argument(metavar="RUN", help=RUN_HELP)]
RunOrWorker = Annotated[str, typer.Argument(metavar="RUN", help=f"{RUN_HELP} A number is a worker of the newest run.")]
OptionalRun = Annotated[str | None, typer.Argument(metavar="RUN", help="A run; without it, all or the newest.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; do nothing.")]
Config = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration file to use.")]
Artifacts = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Write result, report, and a patch and a bundle per worker there (`architect import`)."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the final result.")]

# What `parallel` and `eval` both take.
Models = Annotated[str | None, typer.Option(metavar="CSV", help="Models, separated by commas.")]
Backend = Annotated[
    str | None, typer.Option(metavar="NAME", help="Agent CLI to run: see `architect backends` [architect].")
]
Agent = Annotated[str | None, typer.Option(metavar="NAME", help="Agent profile [build].")]
BudgetPerWorker = Annotated[str | None, typer.Option(metavar="USD", help="Cost limit of one worker.")]
Budget = Annotated[str | None, typer.Option(metavar="USD", help="Cost limit of the whole run.")]
TimeoutPerWorker = Annotated[
    str | None, typer.Option(metavar="D", help="Time limit of one worker: seconds, 30s, 5m, 1h.")
]
Timeout = Annotated[str | None, typer.Option(metavar="D", help="Time limit of the whole run.")]
IdleTimeout = Annotated[str | None, typer.Option(metavar="D", help="Stop a worker that printed nothing for so long.")]
MemoryPerWorker = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Memory limit of a worker's process tree, such as 2GiB.")
]
Grace = Annotated[str | None, typer.Option(metavar="D", help="Time between polite signal and kill [5s].")]
MaxSteps = Annotated[str | None, typer.Option(metavar="N", help="Agent steps per worker [50].")]
Retries = Annotated[
    str | None, typer.Option(metavar="N", help="Further attempts after a failure that another may mend [0].")
]
Check = Annotated[
    list[str] | None, typer.Option(metavar="CMD", help="Command that every finished result must pass; repeatable.")
]
CheckTimeout = Annotated[str | None, typer.Option(metavar="D", help="Time limit of each run of a check [10m].")]
Baseline = Annotated[
    bool | None, typer.Option("--baseline/--no-baseline", help="Run the checks on the base commit first [baseline].")
]
Base = Annotated[str, typer.Option(metavar="REF", help="Commit the worktrees start from.")]
IncludeDirty = Annotated[
    bool, typer.Option("--include-dirty", help="Carry the uncommitted state over into the worktrees.")
]
Tripwire = Annotated[
    str | None,
    typer.Option(
        metavar="HOW",
        help="When your checkout changes while agents run: fail who surely did it, warn, off; auto is warn on a"
        " terminal, else fail [auto].",
    ),
]
AllowPartial = Annotated[
    bool | None, typer.Option("--allow-partial/--no-allow-partial", help="Exit 0 if at least one succeeded.")
]


def run_and_workers(run: str, workers: Sequence[str | int]) -> tuple[str, list[int]]:
    """The run and the worker ids that the words of a command line mean.

    Raises:
        UsageError: One of `workers` is no number.
    """
    from architect_parallel.text.names import is_worker_number

    words = [*([run] if is_worker_number(run) else []), *map(str, workers)]
    run = "latest" if is_worker_number(run) else run
    for word in words:
        if not (word.isascii() and word.isdigit()):
            raise UsageError(f"{word!r} is not a worker's number", hint=f"architect status {run}")
    return run, [int(word) for word in words]
