"""The real `claude` and `codex` through `architect parallel`, against a model on loopback.

Run with `pytest -m real_agents`. The agents are fetched from the npm registry once (about 800 MB).
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
from console import Answer, Architect, wait_until
from model_server import ModelServer
from real_agents.conftest import Proxy
from repositories import git

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

MODELS = {"claude": "claude-sonnet-4-6", "codex": "gpt-5.5"}
COST_OF_REPLY = {"claude": 0.00381, "codex": 0.0066}
"""USD of 1000 fresh and 200 cached input tokens and 50 output tokens, at list price."""


@pytest.fixture(params=["claude", "codex"])
def agent(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(architect: Architect, agent: str, *words: str, workers: int = 1) -> Answer:
    # A model is named always: codex' newest ones want their tools in a form the loopback model does not know.
    models = ",".join([MODELS[agent]] * workers)
    return architect("parallel", "--backend", agent, "--json", "--models", models, *words, timeout_s=240)


def only(answer: Answer) -> dict[str, Any]:
    (result,) = answer.json["results"]
    assert isinstance(result, dict)
    return result


def left_in(checkout: Path) -> list[str]:
    """Processes that still work in one of the worktrees."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline"]):
        if str(process.info["cwd"]).startswith(f"{checkout}/.architect-parallel-"):
            found.append(f"{process.pid} {process.info['cmdline']}")
    return found


def test_three_workers_write_and_are_committed_merged_and_cleaned_up(
    architect: Architect, agent: str, checkout: Path
) -> None:
    names = ("one.txt", "two.txt", "three.txt")
    tasks = [word for name in names for word in ("--task", f"MOCK:write {name} MOCK:run git status --short")]
    answer = run(architect, agent, *tasks, workers=3)
    assert answer.code == 0, answer.err
    results = answer.json["results"]
    for result, name in zip(results, names, strict=True):
        assert (result["status"], result["reason"], result["error"]) == ("success", "completed", None)
        assert result["files_modified"] == [name]
        assert result["output"] == "Done after 2 tool call(s)."
        assert result["steps"] == 3
        usage = result["usage"]
        assert [usage[key] for key in ("input_tokens", "cached_tokens", "output_tokens")] == [3600, 600, 150]
        assert result["cost"] == pytest.approx(3 * COST_OF_REPLY[agent])
        assert result["leaked"] == 0
        assert f"hello from {MODELS[agent]}" in git(checkout, "show", f"{result['branch']}:{name}")
    assert len({result["session_id"] for result in results}) == 3
    assert None not in {result["session_id"] for result in results}
    assert answer.json["total_cost"] == pytest.approx(9 * COST_OF_REPLY[agent])
    assert git(checkout, "status", "--porcelain").strip() == ""

    run_id = answer.json["run_id"]
    merged = architect("merge", run_id, "2", "--json")
    assert merged.code == 0, merged.err
    assert (checkout / "two.txt").read_text() == f"hello from {MODELS[agent]}\n"
    cleaned = architect("parallel-cleanup", "--json")
    assert cleaned.code == 0, cleaned.err
    assert list(checkout.glob(".architect-parallel-*")) == []
    branches = git(checkout, "for-each-ref", "--format=%(refname:short)", "refs/heads/architect").split()
    assert branches == [results[0]["branch"], results[2]["branch"]]  # unmerged work stays
    assert left_in(checkout) == []


def test_a_long_task_that_begins_with_a_dash_arrives_whole(
    architect: Architect, agent: str, model: ModelServer
) -> None:
    task = "- [ ] a list\n" + "word " * 60_000 + "\nMOCK:write long.txt"
    answer = architect(
        "parallel", "-", "--backend", agent, "--models", MODELS[agent], "--workers", "1", "--json", stdin=task.encode()
    )
    assert answer.code == 0, answer.err
    assert only(answer)["files_modified"] == ["long.txt"]
    assert any(task in asked.prompt for asked in model.requests)


def test_a_rate_limit_is_told_as_one(architect: Architect, agent: str) -> None:
    answer = run(architect, agent, "MOCK:error 429", "--workers", "1")
    assert answer.code == 1
    result = only(answer)
    assert (result["status"], result["reason"]) == ("failed", "rate_limited")
    assert "429" in result["error"]
    assert result["files_modified"] == []


def test_a_broken_provider_is_an_agent_error(architect: Architect, agent: str) -> None:
    answer = run(architect, agent, "MOCK:error 500", "--workers", "1")
    assert answer.code == 1
    result = only(answer)
    assert (result["status"], result["reason"]) == ("failed", "agent_error")
    assert result["error"]


def test_a_provider_that_never_answers_ends_with_the_time_limit(
    architect: Architect, agent: str, checkout: Path
) -> None:
    answer = run(architect, agent, "MOCK:hang", "--workers", "1", "--timeout-per-worker", "4s", "--grace", "5s")
    assert answer.code == 1
    result = only(answer)
    assert (result["status"], result["reason"]) == ("timeout", "worker_timeout")
    assert result["duration"] >= 4
    assert left_in(checkout) == []


def test_an_endless_loop_ends_with_the_budget_and_keeps_its_work(
    architect: Architect, agent: str, checkout: Path
) -> None:
    budget = 5.5 * COST_OF_REPLY[agent]
    answer = run(
        architect, agent, "MOCK:write kept.txt MOCK:loop MOCK:sleep 0.3",
        "--workers", "1", "--budget-per-worker", f"{budget:.6f}", "--max-steps", "100",
    )  # fmt: skip
    assert answer.code == 1
    result = only(answer)
    assert (result["status"], result["reason"]) == ("partial", "budget")
    assert result["files_modified"] == ["kept.txt"]
    assert budget <= result["cost"] < 50 * COST_OF_REPLY[agent]  # a reply takes 0.3 s: there is time to stop it
    assert left_in(checkout) == []


def test_steps_are_counted_and_stopped_from_outside(architect: Architect, agent: str) -> None:
    answer = run(architect, agent, "MOCK:loop MOCK:sleep 0.2", "--workers", "1", "--max-steps", "3")
    assert answer.code == 1
    result = only(answer)
    assert result["reason"] == "max_steps"
    assert 3 <= result["steps"] < 50


def test_ctrl_c_ends_every_agent_and_the_rest_is_recorded(
    architect: Architect, agent: str, model: ModelServer, checkout: Path
) -> None:
    task = "MOCK:write early.txt MOCK:run timeout 100 tail -f /dev/null"
    models = ",".join([MODELS[agent]] * 3)
    process = architect.begin("parallel", task, "--backend", agent, "--models", models, "--json")
    wait_until(lambda: len([asked for asked in model.requests if asked.step == 1]) >= 3, "the second replies", 90)
    wait_until(lambda: any("tail" in each for each in left_in(checkout)), "a running tool")
    process.send_signal(signal.SIGINT)
    answer = architect.finish(process)
    assert answer.code == 130
    assert [result["status"] for result in answer.json["results"]] == ["canceled"] * 3
    for result in answer.json["results"]:
        assert result["reason"] == "interrupted"
        assert result["files_modified"] == ["early.txt"]
        assert result["session_id"]
    assert left_in(checkout) == []
    again = architect("status", answer.json["run_id"], "--json")
    assert again.json["results"] == answer.json["results"]


def test_keys_are_in_no_file_of_the_run(architect: Architect, agent: str, checkout: Path) -> None:
    variable = {"claude": "ANTHROPIC_API_KEY", "codex": "OPENAI_API_KEY"}[agent]
    answer = run(architect, agent, f"MOCK:run echo key=${variable}= MOCK:text done", "--workers", "1")
    assert answer.code == 0, answer.err
    log = Path(only(answer)["log_path"]).read_text()
    assert "key=[redacted]=" in log
    told = [path for path in (checkout / ".git" / "architect").glob("*.db*") if b"sk-loopback" in path.read_bytes()]
    assert told == []
    assert "sk-loopback" not in answer.out + log


def test_codex_without_our_settings_reaches_beyond_loopback(
    agents_path: Path, codex_home: Path, checkout: Path, proxy: Proxy
) -> None:
    """The control of the check that every test here makes at its end."""
    argv = ["codex", "exec", "--json", "-m", MODELS["codex"], "MOCK:sleep 2 MOCK:text done"]
    path = f"{agents_path}{os.pathsep}{os.environ['PATH']}"
    environ = (
        os.environ | proxy.variables | {"PATH": path, "OPENAI_API_KEY": "sk-loopback", "CODEX_HOME": str(codex_home)}
    )
    done = subprocess.run(argv, cwd=checkout, env=environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 0
    assert any(b"CONNECT" in each for each in proxy.heard)
