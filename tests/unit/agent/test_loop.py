"""The loop ends when the model is done or a limit is reached, and always with a report."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from architect_parallel.agent.conversation import Finish, ModelFailure, Reply, ToolCall, ToolResult
from architect_parallel.agent.loop import Agent, Report
from architect_parallel.agent.progress import ProgressLog
from architect_parallel.agent.shared_budget import SharedBudget
from architect_parallel.agent.tools import ConfirmMode, Toolbox, tools_of
from architect_parallel.agent.workspace import WorkingDirectory
from architect_parallel.domain import Limits, Reason, Status, Usage

PER_REPLY = Usage(input_tokens=100, cached_tokens=20, output_tokens=10)


def calling(path: str, cost: float | None = 0.01) -> Reply:
    call = ToolCall(id="1", tool="write", arguments={"path": path, "content": "x"})
    return Reply(text=f"writing {path}", calls=(call,), usage=PER_REPLY, cost=cost)


class Canned:
    """Gives its replies in order; an exception among them is raised; `None` never answers."""

    model = "canned"

    def __init__(self, *replies: Reply | Exception | None) -> None:
        self._replies = list(replies)
        self.heard: list[ToolResult] = []

    async def start(self, task: str) -> Reply:
        reply = self._replies.pop(0)
        if reply is None:
            await asyncio.sleep(60)
        if isinstance(reply, Exception):
            raise reply
        assert reply is not None
        return reply

    async def proceed(self, results: tuple[ToolResult, ...]) -> Reply:
        self.heard += results
        return await self.start("")

    def saved(self) -> int:
        return len(self.heard)

    def take_up(self, said: object) -> None:
        raise ValueError(said)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


def agent(tree: Path, conversation: Canned, limits: Limits | None = None, *, read_only: bool = False) -> Agent:
    toolbox = Toolbox(WorkingDirectory(tree), tools_of(read_only, ConfirmMode.YOLO), {})
    return Agent(conversation=conversation, toolbox=toolbox, limits=limits or Limits(), session_id="s")


def run(tree: Path, conversation: Canned, limits: Limits | None = None) -> Report:
    return asyncio.run(agent(tree, conversation, limits).run("task"))


def test_a_reply_without_calls_is_the_end(tree: Path) -> None:
    report = run(tree, Canned(calling("a"), Reply(text="done", usage=PER_REPLY, cost=0.02)))
    assert (report.status, report.reason, report.output) == (Status.SUCCESS, Reason.COMPLETED, "done")
    assert report.steps == 2
    assert report.cost == pytest.approx(0.03)
    assert (report.usage.input_tokens, report.usage.cached_tokens, report.usage.output_tokens) == (200, 40, 20)
    assert (tree / "a").read_text() == "x"


def test_the_budget_is_overshot_by_one_reply_at_most_and_the_work_is_kept(tree: Path) -> None:
    report = run(tree, Canned(*(calling(str(n)) for n in range(9))), Limits(budget_usd=0.025))
    assert (report.status, report.reason, report.steps) == (Status.PARTIAL, Reason.BUDGET, 3)
    assert report.cost == pytest.approx(0.03)
    assert sorted(each.name for each in tree.iterdir()) == ["0", "1"]


def test_steps_are_replies(tree: Path) -> None:
    report = run(tree, Canned(*(calling(str(n)) for n in range(9))), Limits(max_steps=2))
    assert (report.status, report.reason, report.steps) == (Status.PARTIAL, Reason.MAX_STEPS, 2)


def test_an_answer_in_the_last_allowed_step_is_a_success(tree: Path) -> None:
    report = run(tree, Canned(calling("a"), Reply(text="done", cost=9.0)), Limits(max_steps=2, budget_usd=1.0))
    assert report.status is Status.SUCCESS


def test_an_unknown_price_is_no_zero_and_holds_no_budget(tree: Path) -> None:
    report = run(tree, Canned(calling("a", cost=None), calling("b"), Reply(text="done")), Limits(budget_usd=0.001))
    assert (report.status, report.cost) == (Status.SUCCESS, None)
    assert report.warnings == ("the price of canned is unknown: the budget was not enforced",)


def test_the_time_limit_ends_a_model_that_never_answers(tree: Path) -> None:
    report = run(tree, Canned(calling("a"), None), Limits(timeout_s=0.05))
    assert (report.status, report.reason, report.steps) == (Status.PARTIAL, Reason.WORKER_TIMEOUT, 1)


def test_nothing_done_before_the_end_is_a_failure(tree: Path) -> None:
    report = run(tree, Canned(None), Limits(timeout_s=0.05))
    assert (report.status, report.reason) == (Status.FAILED, Reason.WORKER_TIMEOUT)


def test_a_cancelled_run_still_reports(tree: Path) -> None:
    async def cancelled() -> Report:
        running = asyncio.create_task(agent(tree, Canned(calling("a"), None)).run("task"))
        while not (tree / "a").exists():
            await asyncio.sleep(0.001)
        running.cancel()
        return await running

    report = asyncio.run(cancelled())
    assert (report.status, report.reason, report.steps) == (Status.PARTIAL, Reason.INTERRUPTED, 1)


@pytest.mark.parametrize(("limited", "reason"), [(True, Reason.RATE_LIMITED), (False, Reason.AGENT_ERROR)])
def test_a_model_that_fails_is_told_apart(tree: Path, limited: bool, reason: Reason) -> None:
    failure = ModelFailure("HTTP 4xx", rate_limited=limited, retry_after_s=3.0 if limited else None)
    report = run(tree, Canned(calling("a"), failure))
    assert (report.status, report.reason, report.error) == (Status.FAILED, reason, "HTTP 4xx")
    assert report.retry_after_s == (3.0 if limited else None)


@pytest.mark.parametrize(("finish", "status"), [(Finish.CUT, Status.PARTIAL), (Finish.REFUSED, Status.FAILED)])
def test_a_last_reply_that_was_cut_is_no_success(tree: Path, finish: Finish, status: Status) -> None:
    assert run(tree, Canned(Reply(text="half a", finish=finish))).status is status


BAD_CALLS = {
    "unknown": ToolCall(id="1", tool="fly", arguments={}),
    "no object": ToolCall(id="1", tool="write", arguments=None),
    "missing": ToolCall(id="1", tool="write", arguments={"path": "a"}),
    "extra": ToolCall(id="1", tool="read", arguments={"path": "a", "mode": "x"}),
    "kind": ToolCall(id="1", tool="read", arguments={"path": 3}),
    "bool for int": ToolCall(id="1", tool="read", arguments={"path": "a", "limit": True}),
    "surrogate": ToolCall(id="1", tool="write", arguments={"path": "\ud800", "content": "x"}),
    "too long": ToolCall(id="1", tool="write", arguments={"path": "a" * 5000, "content": "x"}),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_a_bad_call_is_answered_and_the_model_goes_on(tree: Path, name: str) -> None:
    conversation = Canned(Reply(calls=(BAD_CALLS[name],)), Reply(text="done"))
    assert run(tree, conversation).status is Status.SUCCESS
    assert conversation.heard[0].failed
    assert conversation.heard[0].text.startswith("error: ")


@pytest.mark.parametrize("tool", ["write", "edit", "shell"])
def test_a_read_only_profile_withholds_what_changes_something(tree: Path, tool: str) -> None:
    arguments = {"path": "a", "content": "x"} if tool == "write" else {"command": "touch a"}
    conversation = Canned(Reply(calls=(ToolCall(id="1", tool=tool, arguments=arguments),)), Reply(text="done"))
    report = asyncio.run(agent(tree, conversation, read_only=True).run("task"))
    assert "not allowed" in conversation.heard[0].text
    assert report.warnings == (f"not allowed by the profile or --confirm-mode, and asked for: {tool}",)
    assert list(tree.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        (ConfirmMode.YOLO, {"read", "list", "grep", "write", "edit", "shell"}),
        (ConfirmMode.SENSITIVE, {"read", "list", "grep", "write", "edit"}),
        (ConfirmMode.ALL, {"read", "list", "grep"}),
    ],
)
def test_a_confirm_mode_withholds_what_would_need_a_question(mode: ConfirmMode, names: set[str]) -> None:
    assert {each.name for each in tools_of(False, mode)} == names
    assert {each.name for each in tools_of(True, mode)} == {"read", "list", "grep"}


class Working(Canned):
    """Lets others go on while it thinks, a different time for each reply."""

    def __init__(self, dice: random.Random, *replies: Reply) -> None:
        super().__init__(*replies)
        self._dice = dice

    async def start(self, task: str) -> Reply:
        for _ in range(self._dice.randrange(6)):
            await asyncio.sleep(0)
        return await super().start(task)


def spend_together(tree: Path, seed: int, *, shared: bool) -> tuple[float, float]:
    """Agents of one run that never end by themselves: USD over the run's budget, one reply of each."""
    dice = random.Random(seed)
    costs = [dice.uniform(0.01, 0.1) for _ in range(dice.randint(1, 4))]
    budget = dice.uniform(0.01, 0.5)
    purse = tree.parent / f"purse-{seed}"
    purse.write_text(f"{budget!r}\n")
    team = [
        replace(
            agent(tree, Working(dice, *[calling("a", cost)] * 60), Limits(max_steps=60)),
            purse=SharedBudget(purse if shared else None),
        )
        for cost in costs
    ]

    async def work() -> list[Report]:
        return await asyncio.gather(*(each.run("task") for each in team))

    reports = asyncio.run(work())
    if shared:
        assert {report.reason for report in reports} == {Reason.RUN_BUDGET}
    return sum(report.cost or 0.0 for report in reports) - budget, sum(costs)


def test_a_hundred_runs_go_over_their_budget_by_one_reply_of_each_agent_at_most(tree: Path) -> None:
    for seed in range(100):
        over, one_each = spend_together(tree, seed, shared=True)
        assert 0 <= over <= one_each + 1e-9


def test_without_a_shared_purse_they_go_far_beyond(tree: Path) -> None:
    found = [spend_together(tree, seed, shared=False) for seed in range(5)]
    assert all(over > one_each for over, one_each in found)


def test_progress_lines_carry_totals(tree: Path) -> None:
    file = tree.parent / "progress"
    worker = agent(tree, Canned(calling("a"), Reply(text="d\x1b[31mone\n" * 999, usage=PER_REPLY, cost=0.02)))
    worker.progress = ProgressLog(file)
    asyncio.run(worker.run("task"))
    worker.progress.close()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0] == {"session": "s", "model": "canned"}
    assert lines[-1]["steps"] == 2
    assert lines[-1]["cost"] == pytest.approx(0.03)
    assert lines[-1]["input_tokens"] == 200
    assert len(lines[-1]["text"]) == 500
    assert "\x1b" not in lines[-1]["text"]
