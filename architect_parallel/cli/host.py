"""`architect host`: other machines as places for agents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, note
from architect_parallel.cli.fast_params import PlainCommand, PlainGroup
from architect_parallel.errors import ExitCode

if TYPE_CHECKING:
    from architect_parallel.api.host_process import HostOptions

app = typer.Typer(
    cls=PlainGroup,
    help="Use other machines as hosts of agents (docs/hosts.md).",
    invoke_without_command=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Root = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", envvar="ARCHITECT_HOST_ROOT", help="Directory for mirrors, worktrees and results of this host."
    ),
]
Slots = Annotated[
    str | None,
    typer.Option(
        metavar="N", envvar="ARCHITECT_HOST_SLOTS", help="Agents at the same time [by processors and memory]."
    ),
]
Name = Annotated[
    str | None, typer.Option(metavar="NAME", envvar="ARCHITECT_HOST_NAME", help="Name of this host [its host name].")
]
Label = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=N", envvar="ARCHITECT_HOST_LABELS", help="What tasks can need, such as gpu=1; repeatable."
    ),
]


@app.callback()
def _host(
    context: typer.Context,
    stdio: Annotated[bool, typer.Option("--stdio", help="Be the far end of ssh://: ssh starts this.")] = False,
    root: Root = None,
    slots: Slots = None,
    name: Name = None,
    label: Label = None,
    keep: Annotated[bool, typer.Option("--keep", hidden=True)] = False,
) -> None:
    """Use other machines as hosts of agents (docs/hosts.md)."""
    if context.invoked_subcommand is not None:
        return
    if not stdio:
        answer(context.get_help())
        return
    from architect_parallel.api.host_process import keep_host, serve_stdio

    host = _options(root, slots, name, label)
    if keep:
        keep_host(host)
        return
    labels = [word for label, count in host.labels.items() for word in ("--label", f"{label}={count}")]
    given = ["--root", str(host.root), "--slots", str(host.slots), "--name", host.name, *labels]
    serve_stdio(host, ["-m", "architect_parallel", "host", "--stdio", "--keep", *given])


@app.command(cls=PlainCommand)
def serve(
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Address to listen on.")] = "127.0.0.1:8786",
    tls_dir: options.TlsDir = None,
    insecure: options.Insecure = False,
) -> None:
    """Run the scheduler of a Dask cluster. Ctrl-C or SIGTERM ends it. Hosts and agents go on without it."""
    from architect_parallel.api.host_process import serve_scheduler

    serve_scheduler(listen, options.link_options(tls_dir, insecure=insecure), answer)


@app.command(cls=PlainCommand)
def join(
    url: Annotated[str, typer.Argument(metavar="URL", help="dask://HOST:PORT of the scheduler.")],
    root: Root = None,
    slots: Slots = None,
    name: Name = None,
    label: Label = None,
    tls_dir: options.TlsDir = None,
    insecure: options.Insecure = False,
) -> None:
    """Run agents of a Dask cluster on this machine.

    SIGTERM or Ctrl-C drains it: it takes no more agents, stops those that run, and hands over their work.
    """
    from architect_parallel.api.host_process import join as join_cluster

    join_cluster(url, _options(root, slots, name, label), options.link_options(tls_dir, insecure=insecure), answer)


@app.command(cls=PlainCommand)
def certs(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory that does not exist yet.")],
) -> None:
    """Make a CA and the certificates of a Dask cluster.

    Scheduler, workers and clients get a certificate each.
    """
    from architect_parallel.hosts.certificates import VALID_DAYS, make_certificates

    make_certificates(directory)
    answer(f"{directory}/scheduler  for `architect host serve`\n{directory}/worker     for `architect host join`")
    answer(f"{directory}/client     for those who start runs: copy it to ~/.config/architect-parallel/tls")
    note(f"valid for {VALID_DAYS} days; ca.key makes further certificates: keep it off the machines")


def _options(root: Path | None, slots: str | None, name: str | None, labels: list[str] | None) -> HostOptions:
    from architect_parallel.api.host_process import host_options

    return host_options(root, slots, name, labels)


@app.command(cls=PlainCommand)
def collect(
    run: Annotated[str, typer.Argument(metavar="RUN", help=options.RUN)] = "latest",
    hosts: Annotated[str | None, typer.Option(metavar="URL", help="Where its hosts are now [where they were].")] = None,
) -> None:
    """Fetch late work of lost hosts that came back after the run.

    No branch moves: the work is kept below `refs/architect/keep/`.
    """
    from architect_parallel.api.collect_late import collect_late
    from architect_parallel.runs.workspace import open_journal

    with open_journal(Path.cwd()) as (repository, journal):
        collection = collect_late(repository, journal, journal.find(run), hosts, answer)
    for worker_id, host in collection.missing.items():
        note(f"worker {worker_id}: {host} does not answer or does not have it")
    if collection.missing:
        raise typer.Exit(ExitCode.NOT_ALL_SUCCEEDED)
