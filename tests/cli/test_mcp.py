"""`architect mcp`: another program fans out work over the Model Context Protocol, within bounds."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters
from support.console import SCRIPT, Architect
from support.dispatching import spec
from support.repositories import git

from architect_parallel.api.orchestrator import Orchestrator
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.runs.options import ParallelConfig
from architect_parallel.workers.nesting import BUDGET, DEPTH, depth, inherited_budget_usd, nesting_variables


def with_client(checkout: Path, *flags: str, steps: Callable[[Client], Awaitable[None]]) -> None:
    """Run `steps` with a client of `architect mcp` in the checkout."""

    async def session() -> None:
        server = StdioServerParameters(command=str(SCRIPT), args=["mcp", *flags], cwd=checkout, env=dict(os.environ))
        async with Client(server) as client:
            await steps(client)

    anyio.run(session)


async def ask(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The answer of a tool. It must not be an error."""
    answered = await client.call_tool(tool, arguments)
    assert not answered.is_error, answered.content
    content: dict[str, Any] | None = answered.structured_content
    assert content is not None
    return content


def test_a_client_runs_looks_and_merges_only_in_a_dry_run(architect: Architect) -> None:
    main = git(architect.cwd, "rev-parse", "main")
    reports: list[tuple[float, float | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        reports.append((progress, total))

    async def steps(client: Client) -> None:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert tools == {"run_parallel", "status", "result", "diff", "compare", "merge", "cancel"}
        ran = await client.call_tool(
            "run_parallel",
            {"tasks": ["echo a > a; sleep 0.5", "echo b > b"], "backend": "shell", "checks": ["true"]},
            progress_callback=note,
        )
        assert ran.structured_content is not None, ran.content
        run = ran.structured_content
        assert [worker["status"] for worker in run["results"]] == ["success", "success"]
        assert reports[-1] == (2, 2)
        assert (await ask(client, "status"))["runs"][0]["run_id"] == run["run_id"]
        assert (await ask(client, "result"))["completed"] == 2
        assert "+b" in (await ask(client, "diff", worker=2, run=run["run_id"]))["patch"]
        assert (await ask(client, "compare"))["proposed"] == [1, 2]
        merged = await ask(client, "merge", workers=[1], dry_run=False)
        assert (merged["dry_run"], merged["merged"]) == (True, [1])
        assert "merges are not allowed here" in merged["warnings"][-1]
        refused = await client.call_tool("run_parallel", {"tasks": ["x"], "backend": "shel"})
        assert refused.is_error
        assert "did you mean 'shell'" in str(refused.content)
        assert (await client.call_tool("diff", {"worker": 7})).is_error

    with_client(architect.cwd, steps=steps)
    assert git(architect.cwd, "rev-parse", "main") == main


def test_merges_that_the_user_allowed_move_the_branch(architect: Architect) -> None:
    async def steps(client: Client) -> None:
        await ask(client, "run_parallel", tasks=["echo a > a"], backend="shell")
        assert not (await ask(client, "merge", pick="best", dry_run=False))["dry_run"]

    with_client(architect.cwd, "--allow-merge", steps=steps)
    assert git(architect.cwd, "show", "main:a") == "a"


def test_a_run_ends_when_it_is_cancelled_and_when_the_client_leaves(architect: Architect) -> None:
    async def steps(client: Client) -> None:
        begun = await ask(client, "run_parallel", tasks=["sleep 600"], backend="shell", wait=False)
        assert (await ask(client, "cancel", run=begun["run_id"]))["ended"]
        await ask(client, "run_parallel", tasks=["sleep 600"], backend="shell", wait=False)

    with_client(architect.cwd, steps=steps)
    runs = architect("status", "--json").json["runs"]
    assert [run["status"] for run in runs] == ["canceled", "canceled"]


def test_a_cancelled_request_cancels_its_run(architect: Architect) -> None:
    async def steps(client: Client) -> None:
        with anyio.CancelScope() as scope:

            async def leave(progress: float, total: float | None, message: str | None) -> None:
                scope.cancel()

            words = {"tasks": ["sleep 600"], "backend": "shell"}
            await client.call_tool("run_parallel", words, progress_callback=leave)
        assert scope.cancelled_caught
        while (run := (await ask(client, "status"))["runs"][0])["status"] == "running":
            await anyio.sleep(0.05)
        assert run["status"] == "canceled"

    with_client(architect.cwd, steps=steps)


def test_a_worker_starts_runs_only_where_that_is_allowed_and_within_its_budget(checkout: Path) -> None:
    config = ParallelConfig(tasks=["echo a > a"], backend="shell", budget=5)
    worker = dict(os.environ) | {DEPTH: "1", BUDGET: "2.0"}
    with pytest.raises(EnvironmentProblem, match="a worker's agent may not start runs here"):
        Orchestrator(checkout, environ=worker).start(config)
    nested = Orchestrator(checkout, environ=worker, nested=1, allow_merge=True)
    run = nested.start(config)
    run.wait_started()
    assert run.plan is not None
    assert run.plan.budget_usd == 2.0, "the worker's own budget is the limit"
    run.join()
    foreign = Orchestrator(checkout).start(config)
    with pytest.raises(EnvironmentProblem, match="only runs that it started"):
        nested.cancel(foreign.wait_started())
    foreign.join()
    assert nested.merge("latest", [], "best", None, dry_run=False)["dry_run"]
    spent = Orchestrator(checkout, environ=worker | {BUDGET: "0"}, nested=1)
    with pytest.raises(EnvironmentProblem, match="nothing is left of the worker's budget"):
        spent.start(config)
    deeper = Orchestrator(checkout, environ=worker | {DEPTH: "2"}, nested=1)
    with pytest.raises(EnvironmentProblem, match="may not start runs here"):
        deeper.start(config)


def test_an_agent_is_told_its_depth_and_the_smallest_budget() -> None:
    limits = spec(1).limits
    assert nesting_variables({}, limits) == {DEPTH: "1"}
    inherited = nesting_variables({DEPTH: "1", BUDGET: "3.0"}, limits)
    assert inherited == {DEPTH: "2", BUDGET: "3.0"}
    assert [inherited_budget_usd({BUDGET: text}) for text in ("1.5", "nan", "-1", "x")] == [1.5, 0.0, 0.0, None]


def test_a_worker_is_known_even_without_its_environment(architect: Architect, home: Path) -> None:
    script = "import sys; from pathlib import Path; from architect_parallel.workers.nesting import depth; "
    script += "print(depth({}, Path.cwd()))"
    look = f'env -i PATH="$PATH" HOME="$HOME" {sys.executable} -c "{script}" > depth; echo $ARCHITECT_WORKER_DEPTH >&2'
    done = architect("parallel", "--backend", "shell", look, "--workers", "1", "--json")
    worktree = Path(done.json["results"][0]["worktree_path"])
    assert (worktree / "depth").read_text().split() == ["1"]
    assert "1" in architect("logs", done.json["run_id"], "1").out.split()
    assert depth({}, worktree) == 0, "no agent runs there any more"
