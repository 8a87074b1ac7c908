"""A Model Context Protocol server on stdio: an agent or an editor fans out work by itself, within bounds.

The tools are those of `api.orchestrator`. The official Python SDK speaks the protocol. It is imported only for this
command (extra `[mcp]`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

from architect_parallel import __version__
from architect_parallel.api.orchestrator import BackgroundRun, Orchestrator
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.reports.json import envelope
from architect_parallel.runs.options import ParallelConfig

LOOK_S = 0.2
INSTRUCTIONS = """\
architect-parallel runs coding agents in parallel. Each works in its own git worktree on its own branch, where its
changes are committed. Start with run_parallel. Look at the results with compare and diff. Only `merge` moves a branch,
and it is a dry run unless the user allowed merges.\
"""

Answer = TypeVar("Answer")
Run = Annotated[str, Field(description="A run's id, the start or end of one, or `latest`.")]


def serve(root: Path, *, config_file: Path | None, allow_merge: bool, nested: int) -> None:
    """Answer requests on stdin until its end. Runs that are not over then are stopped.

    Args:
        root: Any directory of the repository.
        config_file: `None` means the repository's configuration.
        allow_merge: See `Orchestrator`, as `nested`.
    """
    orchestrator = Orchestrator(root, config_file=config_file, allow_merge=allow_merge, nested=nested)
    try:
        make_server(orchestrator).run("stdio")
    finally:
        orchestrator.close()


def make_server(orchestrator: Orchestrator) -> MCPServer[Any]:
    """A server whose tools are the operations of `orchestrator`."""
    server: MCPServer[Any] = MCPServer(
        "architect-parallel", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING"
    )
    _add_run_tool(server, orchestrator)
    _add_look_tools(server, orchestrator)
    _add_acting_tools(server, orchestrator)
    return server


def _add_run_tool(server: MCPServer[Any], orchestrator: Orchestrator) -> None:
    @server.tool()
    async def run_parallel(
        ctx: Context[Any],
        tasks: Annotated[list[str], Field(min_length=1, description="One task for each worker, or one for all.")],
        backend: Annotated[str | None, Field(description="Agent that runs the tasks; null means the default.")] = None,
        models: Annotated[list[str] | None, Field(description="Models to compare, a worker for each.")] = None,
        workers: Annotated[int | None, Field(description="Number of workers; null means one for each task.")] = None,
        checks: Annotated[list[str] | None, Field(description="Commands that every result must pass.")] = None,
        budget: Annotated[float | None, Field(description="Limit of the run's cost in US dollars.")] = None,
        budget_per_worker: Annotated[float | None, Field(description="The same for each worker.")] = None,
        timeout: Annotated[str | None, Field(description="Time limit of the run: 90s, 10m, 1h.")] = None,
        timeout_per_worker: Annotated[str | None, Field(description="The same for each worker.")] = None,
        base: Annotated[str, Field(description="Commit that the worktrees start from.")] = "HEAD",
        wait: Annotated[
            bool, Field(description="Return at the end of the run. Otherwise follow it with result.")
        ] = True,
    ) -> dict[str, Any]:
        """Run tasks in parallel, each by an agent in its own git worktree and branch, and return the results."""
        config = ParallelConfig(
            tasks=tasks,
            listed=len(tasks) > 1,
            backend=backend,
            models=models or [],
            workers=workers,
            checks=checks or [],
            budget=budget,
            budget_per_worker=budget_per_worker,
            timeout=timeout,
            timeout_per_worker=timeout_per_worker,
            base=base,
        )
        run = await _in_thread(lambda: orchestrator.start(config))
        run_id = await _in_thread(run.wait_started)
        if not wait:
            return {"run_id": run_id, "status": "running"}
        return await _followed(ctx, orchestrator, run)


def _add_look_tools(server: MCPServer[Any], orchestrator: Orchestrator) -> None:
    looks = ToolAnnotations(read_only_hint=True)

    @server.tool(annotations=looks)
    async def status() -> dict[str, Any]:
        """List the runs of this repository, newest first."""
        return await _in_thread(orchestrator.status)

    @server.tool(annotations=looks)
    async def result(run: Run = "latest") -> dict[str, Any]:
        """Return a run with the result of each of its workers, live or ended."""
        return await _in_thread(lambda: orchestrator.result(run))

    @server.tool(annotations=looks)
    async def diff(worker: int, run: Run = "latest") -> dict[str, Any]:
        """Return the changed files and the patch of one worker."""
        return await _in_thread(lambda: orchestrator.diff(run, worker))

    @server.tool(annotations=looks)
    async def compare(run: Run = "latest") -> dict[str, Any]:
        """Tell which results of a run conflict with each other, and which merge cleanly together."""
        return await _in_thread(lambda: orchestrator.compare(run))


def _add_acting_tools(server: MCPServer[Any], orchestrator: Orchestrator) -> None:
    @server.tool(annotations=ToolAnnotations(destructive_hint=False))
    async def merge(
        run: Run = "latest",
        workers: Annotated[list[int] | None, Field(description="Workers to merge, with pick `named`.")] = None,
        pick: Annotated[
            Literal["named", "best", "all"], Field(description="The workers named, the best one, or all that fit.")
        ] = "named",
        into: Annotated[str | None, Field(description="Target branch; null means the current one.")] = None,
        dry_run: Annotated[bool, Field(description="Only show what would happen.")] = True,
    ) -> dict[str, Any]:
        """Merge results into a branch. It is a dry run unless `dry_run` is false and the user allowed merges."""
        return await _in_thread(lambda: orchestrator.merge(run, workers or [], pick, into, dry_run=dry_run))

    @server.tool(annotations=ToolAnnotations(destructive_hint=True))
    async def cancel(
        run: Run, worker: Annotated[int | None, Field(description="One worker; null means the whole run.")] = None
    ) -> dict[str, Any]:
        """Stop a live run, or one worker of it. The work so far is kept."""
        return await _in_thread(lambda: orchestrator.cancel(run, worker))


async def _in_thread(operation: Callable[[], Answer]) -> Answer:
    """Run a blocking operation. Its error becomes the text that the agent reads, with what to do next."""
    try:
        return await anyio.to_thread.run_sync(operation)
    except ArchitectParallelError as error:
        raise ToolError(error.message + (f" (try: {error.hint})" if error.hint else "")) from error


async def _followed(ctx: Context[Any], orchestrator: Orchestrator, run: BackgroundRun) -> dict[str, Any]:
    """Report progress until the run's end, and return the run. A cancelled request cancels the run."""
    assert run.plan is not None
    total, shown = len(run.plan.workers), ""
    try:
        while not run.is_over:
            await anyio.sleep(LOOK_S)
            if run.latest != shown:
                shown = run.latest
                await ctx.report_progress(run.ended, total, f"{run.ended}/{total} done: {shown}")
    except anyio.get_cancelled_exc_class():
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: orchestrator.stop(run))
        raise
    return envelope(await _in_thread(run.join))
