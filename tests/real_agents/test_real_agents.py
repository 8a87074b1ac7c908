"""The real agent CLIs through `architect parallel`, three workers at a time, against a model on loopback.

Run with `pytest -m real_agents`. The agents are fetched from the npm registry once (about 1.5 GB).
`docs/real-agents.md` is the table of what was measured here.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from real_agents.conftest import PACKAGES, Proxy, agent_variables, require_agent
from support.console import Answer, Architect, wait_until
from support.model_server import CACHED_TOKENS, INPUT_TOKENS, OUTPUT_TOKENS, ModelServer
from support.repositories import git

from architect_parallel.backends.base import Request, Session, Tokens
from architect_parallel.backends.environment import filtered_environment
from architect_parallel.backends.registry import load_backends
from architect_parallel.domain import Outcome, Settings, Usage
from architect_parallel.system.prices import cost_usd

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(600)]

MODELS = {
    "claude": ("claude-sonnet-4-6", "claude-haiku-4-5", "claude-opus-4-5"),
    # Its newest ones want their tools in a form the loopback model does not know.
    "codex": ("gpt-5.5", "gpt-5-codex", "gpt-5"),
    "gemini": ("gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"),
    "opencode": ("openai/gpt-4o", "openai/gpt-4o-mini", "openai/gpt-4.1"),
    "qwen": ("gpt-4o", "gpt-4o-mini", "gpt-4.1"),
    "copilot": ("gpt-4o", "gpt-4o-mini", "gpt-4.1"),
}
"""The first is the one that the other tests use."""
SILENT = ("opencode", "qwen")
"""Those that try again for minutes without a word when the provider refuses."""


def reply_cost(model: str) -> float:
    """USD of one reply of the loopback model, at list price."""
    usage = Usage(input_tokens=INPUT_TOKENS, cached_tokens=CACHED_TOKENS, output_tokens=OUTPUT_TOKENS)
    cost = cost_usd(usage, model, {})
    assert cost is not None, model
    return cost


def run(architect: Architect, agent: str, *words: str, models: Sequence[str] | None = None, workers: int = 3) -> Answer:
    named = ",".join(models or [MODELS[agent][0]] * workers)
    count = str(len(models) if models else workers)
    answer = architect(
        "parallel", "--backend", agent, "--json", "--models", named, "--workers", count, *words, timeout_s=500
    )
    ends = [f"{each['status']}/{each['reason']} x{each['attempts']}" for each in answer.json["results"]]
    print(f"{agent}: {', '.join(ends)}")  # `-rA` shows it: the table of docs/real-agents.md is made of these
    return answer


def each(text: str, workers: int = 3) -> list[str]:
    """A task for every worker; `{n}` is its number."""
    return [word for n in range(1, workers + 1) for word in ("--task", text.replace("{n}", str(n)))]


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


def test_success_is_committed_merged_and_cleaned_up(
    architect: Architect, agent: str, checkout: Path, home: Path
) -> None:
    answer = run(architect, agent, *each("MOCK:write file{n}.txt MOCK:run git status --short"))
    assert answer.code == 0, answer.err
    results, cost = answer.json["results"], 3 * reply_cost(MODELS[agent][0])
    for number, result in enumerate(results, 1):
        assert (result["status"], result["reason"], result["error"]) == ("success", "completed", None)
        assert result["files_modified"] == [f"file{number}.txt"]
        assert result["output"] == "Done after 2 tool call(s)."
        assert result["steps"] == 3
        usage = result["usage"]
        assert [usage[key] for key in ("input_tokens", "cached_tokens", "output_tokens")] == [3600, 600, 150]
        assert result["cost"] == pytest.approx(cost, rel=0.01)
        assert result["leaked"] == 0
        assert "hello from" in git(checkout, "show", f"{result['branch']}:file{number}.txt")
    sessions = {result["session_id"] for result in results}
    assert len(sessions) == 3
    assert None not in sessions
    assert answer.json["total_cost"] == pytest.approx(3 * cost, rel=0.01)
    assert git(checkout, "status", "--porcelain").strip() == ""
    assert agent == "claude" or sessions_in(home, sessions) == []  # claude's are kept apart by their directory

    run_id = answer.json["run_id"]
    merged = architect("merge", run_id, "2", "--json")
    assert merged.code == 0, merged.err
    assert (checkout / "file2.txt").exists()
    cleaned = architect("parallel-cleanup", "--json")
    assert cleaned.code == 0, cleaned.err
    assert list(checkout.glob(".architect-parallel-*")) == []
    branches = git(checkout, "for-each-ref", "--format=%(refname:short)", "refs/heads/architect").split()
    assert branches == [results[0]["branch"], results[2]["branch"]]  # unmerged work stays
    assert left_in(checkout) == []


def sessions_in(home: Path, sessions: set[str]) -> list[Path]:
    """Files of the user's home that were named after a session or hold one."""
    files = [path for path in home.rglob("*") if path.is_file() and ".cache/copilot" not in str(path)]
    found = []
    for path in files:
        data = path.read_bytes()
        if any(session in path.name or session.encode() in data for session in sessions) and path.suffix != ".log":
            found.append(path)
    return found


def test_every_worker_has_the_model_it_was_given(architect: Architect, agent: str, model: ModelServer) -> None:
    models = MODELS[agent]
    answer = run(architect, agent, "MOCK:write hello.txt", models=models)
    assert answer.code == 0, answer.err
    for result, name in zip(answer.json["results"], models, strict=True):
        assert result["model"] == name
        assert result["cost"] == pytest.approx(2 * reply_cost(name), rel=0.01)
        assert result["files_modified"] == ["hello.txt"]
    asked = {request.model for request in model.requests if request.tools}
    assert asked == {name.rpartition("/")[2] for name in models}


def test_a_long_task_that_begins_with_a_dash_arrives_whole(
    architect: Architect, agent: str, model: ModelServer
) -> None:
    task = '- [ ] a "list"\n' + "word " * 60_000 + "\nMOCK:write long.txt"
    answer = architect(
        "parallel", "-", "--backend", agent, "--models", MODELS[agent][0], "--workers", "1", "--json",
        stdin=task.encode(), timeout_s=200,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert only(answer)["files_modified"] == ["long.txt"]
    assert any(task in asked.prompt for asked in model.requests)


def test_a_refused_key_is_an_agent_error(architect: Architect, agent: str) -> None:
    answer = run(architect, agent, *each("worker {n} MOCK:error 401"))
    assert answer.code == 1
    for result in answer.json["results"]:
        assert (result["status"], result["reason"]) == ("failed", "agent_error")
        assert result["error"]
        assert result["files_modified"] == []


def test_a_rate_limit_that_passes_is_waited_for(architect: Architect, agent: str, model: ModelServer) -> None:
    answer = run(architect, agent, *each("MOCK:write file{n}.txt MOCK:error 429 1"))
    assert len(model.refused) >= 3
    assert answer.code == 0, answer.err  # also of those that never try again: their workers wait in our queue
    for result in answer.json["results"]:
        assert (result["status"], result["reason"]) == ("success", "completed")
        assert result["cost"] == pytest.approx(2 * reply_cost(MODELS[agent][0]), rel=0.01)


def test_a_rate_limit_that_stays_is_told_as_one(
    architect: Architect, agent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHITECT_RATE_LIMIT_WAIT", "1s")  # else its workers wait half an hour for the provider
    silent = agent in SILENT
    stop = ("--idle-timeout", "15s") if silent else ()
    answer = run(architect, agent, *each("worker {n} MOCK:error 429"), *stop)
    assert answer.code == 1
    for result in answer.json["results"]:
        wanted = ("timeout", "idle_timeout") if silent else ("failed", "rate_limited")
        assert (result["status"], result["reason"]) == wanted
        assert result["error"]
        assert result["files_modified"] == []


def test_a_broken_provider_is_an_agent_error(architect: Architect, agent: str) -> None:
    silent = agent in SILENT
    stop = ("--idle-timeout", "15s") if silent else ()
    answer = run(architect, agent, *each("worker {n} MOCK:error 500"), *stop)
    assert answer.code == 1
    for result in answer.json["results"]:
        wanted = ("timeout", "idle_timeout") if silent else ("failed", "agent_error")
        assert (result["status"], result["reason"]) == wanted
        assert result["error"]


def test_a_provider_that_never_answers_ends_with_the_time_limit(
    architect: Architect, agent: str, checkout: Path
) -> None:
    answer = run(architect, agent, *each("worker {n} MOCK:hang"), "--timeout-per-worker", "12s", "--grace", "5s")
    assert answer.code == 1
    for result in answer.json["results"]:
        assert (result["status"], result["reason"]) == ("timeout", "worker_timeout")
        assert result["duration"] >= 12
    assert left_in(checkout) == []


def test_an_endless_loop_ends_with_the_budget_and_keeps_its_work(
    architect: Architect, agent: str, checkout: Path
) -> None:
    budget = 5.5 * reply_cost(MODELS[agent][0])
    answer = run(
        architect, agent, *each("MOCK:write kept{n}.txt MOCK:loop MOCK:sleep 0.5"),
        "--budget-per-worker", f"{budget:.6f}", "--max-steps", "100",
    )  # fmt: skip
    assert answer.code == 1
    for number, result in enumerate(answer.json["results"], 1):
        assert (result["status"], result["reason"]) == ("partial", "budget")
        assert result["files_modified"] == [f"kept{number}.txt"]
        # A reply takes 0.5 s: there is time to stop it.
        assert budget <= result["cost"] < 50 * reply_cost(MODELS[agent][0])
    assert left_in(checkout) == []


def test_steps_are_counted_and_stopped_from_outside(architect: Architect, agent: str) -> None:
    answer = run(architect, agent, "MOCK:loop MOCK:sleep 0.3", "--max-steps", "3", workers=1)
    assert answer.code == 1
    result = only(answer)
    assert result["reason"] == "max_steps"
    assert 3 <= result["steps"] < 50


def test_ctrl_c_ends_every_agent_and_the_rest_is_recorded(
    architect: Architect, agent: str, model: ModelServer, checkout: Path
) -> None:
    task = "MOCK:write early.txt MOCK:run timeout 100 tail -f /dev/null"
    models = ",".join([MODELS[agent][0]] * 3)
    process = architect.begin("parallel", task, "--backend", agent, "--models", models, "--json")
    wait_until(lambda: len([asked for asked in model.requests if asked.step == 1]) >= 3, "the second replies", 120)
    wait_until(lambda: sum("tail" in each for each in left_in(checkout)) >= 3, "running tools", 60)
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


def test_a_session_goes_on_where_it_was(architect: Architect, agent: str, model: ModelServer, checkout: Path) -> None:
    answer = run(architect, agent, *each("remember PEACOCK{n} MOCK:write first.txt"))
    assert answer.code == 0, answer.err
    backend = load_backends(Settings(), dict(os.environ))[agent]
    for number, result in enumerate(answer.json["results"], 1):
        asked_before = len(model.requests)
        prompt_file = checkout.parent / f"prompt-{number}"
        prompt_file.write_text("MOCK:write second.txt")
        run_dir = checkout / ".git" / "architect" / "runs" / answer.json["run_id"]
        request = Request(
            prompt=prompt_file.read_text(),
            prompt_file=prompt_file,
            worktree=Path(result["worktree_path"]),
            state_dir=run_dir / "state" / f"worker-{number}",
            model=MODELS[agent][0],
            session_id=result["session_id"],
            worker_id=number,
            contained=result["sandbox"]["level"] != "off",
        )
        line, reader = backend.command(request), backend.reader(request)
        stdin = line.stdin_file.open("rb") if line.stdin_file else None
        done = subprocess.run(
            line.argv, cwd=request.worktree, stdin=stdin or subprocess.DEVNULL, capture_output=True, timeout=120,
            env=filtered_environment(backend, os.environ) | dict(line.env), check=False,
        )  # fmt: skip
        if stdin is not None:
            stdin.close()
        facts = [fact for each in done.stdout.splitlines() for fact in reader.line(each)] + list(reader.poll())
        ending = reader.ending(done.returncode, done.stderr.decode())
        assert ending.outcome is Outcome.COMPLETED, ending
        assert (request.worktree / "second.txt").exists()
        assert result["session_id"] in {fact.session_id for fact in facts if isinstance(fact, Session)}
        # What was said before is part of the new conversation, and is not paid for twice.
        assert any(f"PEACOCK{number}" in text for asked in model.requests[asked_before:] for text in asked.texts)
        usage = [fact.usage for fact in facts if isinstance(fact, Tokens)][-1]
        assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (2400, 400, 100)


def test_a_session_that_a_cleanup_took_begins_anew(architect: Architect, agent: str) -> None:
    run_id = run(architect, agent, "MOCK:write first.txt", workers=1).json["run_id"]
    assert architect("parallel-cleanup", "--force").code == 0
    assert architect("undo").code == 0
    again = architect("parallel", "--continue", run_id, "1", "MOCK:write second.txt", "--json", timeout_s=200)
    assert again.code == 0, again.err
    result = only(again)
    assert (result["status"], result["files_modified"]) == ("success", ["first.txt", "second.txt"])
    # Not contained, claude keeps sessions with the user's own: there it goes on.
    goes_on = agent == "claude" and result["sandbox"]["level"] == "off"
    assert any("begins anew" in warning for warning in result["warnings"]) is not goes_on


def test_keys_are_in_no_file_of_the_run(architect: Architect, agent: str, checkout: Path, home: Path) -> None:
    variables = {"claude": "ANTHROPIC_API_KEY", "gemini": "GEMINI_API_KEY", "copilot": "COPILOT_PROVIDER_API_KEY"}
    variable = variables.get(agent, "OPENAI_API_KEY")
    answer = run(architect, agent, f"MOCK:run echo key=${variable}= MOCK:text done", workers=1)
    assert answer.code == 0, answer.err
    log = Path(only(answer)["log_path"]).read_text()
    assert "sk-loopback" not in answer.out + log
    assert agent in ("gemini", "opencode", "copilot") or "key=[redacted]=" in log  # the others keep it from their tools
    told = [path for path in (checkout / ".git" / "architect").glob("*.db*") if b"sk-loopback" in path.read_bytes()]
    assert told == []


def test_agents_are_listed_with_their_versions(architect: Architect, agent: str) -> None:
    answer = architect("backends", "--json")
    assert answer.code == 0, answer.err
    (row,) = [each for each in answer.json["backends"] if each["name"] == agent]
    assert row["ready"]
    assert row["version"] == PACKAGES[agent].rpartition("@")[2]


def test_codex_without_our_settings_reaches_beyond_loopback(
    codex_home: Path, checkout: Path, proxy: Proxy, model: ModelServer, home: Path
) -> None:
    """The control of the check that every test here makes at its end."""
    argv = ["codex", "exec", "--json", "-m", MODELS["codex"][0], "MOCK:sleep 2 MOCK:text done"]
    path = f"{require_agent('codex')}{os.pathsep}{os.environ['PATH']}"
    environ = os.environ | proxy.variables | agent_variables("codex", model, home)
    environ |= {"PATH": path, "CODEX_HOME": str(codex_home)}
    done = subprocess.run(argv, cwd=checkout, env=environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 0
    assert any(b"CONNECT" in each for each in proxy.heard)


@pytest.mark.parametrize("agent", ["gemini"], indirect=True)
def test_without_a_model_gemini_asks_one_which_to_take(architect: Architect, model: ModelServer) -> None:
    """That answer has a form; given another it asks five times, for over a minute, and looks as if it hung."""
    answer = architect("run", "MOCK:text the end", "--backend", "gemini", "--confirm-mode", "yolo", "--json")
    assert (answer.code, answer.json["output"].strip()) == (0, "the end"), answer
    assert len([asked for asked in model.requests if asked.form]) == 1
    assert answer.json["steps"] == 1


def test_a_run_in_place_is_resumed_with_what_was_said(agent: str, architect: Architect, model: ModelServer) -> None:
    words = ("--backend", agent, "--model", MODELS[agent][0], "--confirm-mode", "yolo", "--json")
    first = architect("run", "MOCK:text the first end", *words)
    assert first.code == 0, first
    session = first.json["session_id"]
    seen = len(model.requests)
    second = architect("run", "MOCK:text the second end", *words, "--resume", session)
    assert (second.code, second.json["output"].strip()) == (0, "the second end"), second
    resumed = "\n".join("\n".join(each.texts) for each in model.requests[seen:])
    seen = len(model.requests)
    assert architect("run", "MOCK:text the second end", *words).code == 0
    anew = "\n".join("\n".join(each.texts) for each in model.requests[seen:])
    # The control: without --resume nothing of the first conversation is sent.
    assert ("the first end" in resumed, "the first end" in anew) == (True, False)
