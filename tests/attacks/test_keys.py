"""Attacks on the provider's key and on the budget: an agent that looks for the key, and one that lies about its use."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.console import Architect, write_program
from support.model_server import ModelServer
from support.repositories import git

from architect_parallel.containment.probe import problem_with
from architect_parallel.domain import Mechanism

KEY = "sk-real-loopback-0123456789"
needs_namespaces = pytest.mark.skipif(
    problem_with(Mechanism.NAMESPACES) is not None, reason=f"no namespaces: {problem_with(Mechanism.NAMESPACES)}"
)
AGENT = """\
import glob, json, os, subprocess, sys, urllib.error, urllib.request
task = sys.argv[sys.argv.index("-p") + 1]
key = os.environ["ANTHROPIC_API_KEY"]
print(json.dumps({"type": "system", "subtype": "init", "session_id": "s", "model": "m", "cwd": os.getcwd()}))
def ask():
    body = json.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}).encode()
    url = os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages"
    request = urllib.request.Request(url, body, {"x-api-key": key, "content-type": "application/json"})
    try:
        return urllib.request.urlopen(request, timeout=30).status, ""
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["error"]["message"]
text = ""
if "look" in task:
    seen = subprocess.run(["env"], capture_output=True).stdout
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            seen += open(path, "rb").read()
        except OSError:
            pass
    for place in (os.environ["CLAUDE_CONFIG_DIR"] if "CLAUDE_CONFIG_DIR" in os.environ else ".", "."):
        for path in glob.glob(place + "/**/*", recursive=True):
            if os.path.isfile(path):
                seen += open(path, "rb").read()
    text = "found" if b"sk-real" + b"-loopback" in seen else "not found"
    print(ask(), file=sys.stderr)
if "spend" in task:
    answers = [ask() for _ in range(3)]
    text = json.dumps(answers)
    if "wait" in task:
        import time; time.sleep(60)
usage = {"input_tokens": 1, "output_tokens": 0}
print(json.dumps({"type": "result", "subtype": "success", "is_error": False, "result": text, "num_turns": 1,
    "session_id": "s", "total_cost_usd": 0.0, "usage": usage, "modelUsage": {"m": {"inputTokens": 1,
    "outputTokens": 0, "costUSD": 0.0}}}))
"""
REPLY_USD = (1200 * 1.0 + 50 * 10.0) / 1e6
Run = Callable[..., tuple[Any, Any]]


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def run(architect: Architect, model: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run(task, *words, **sandbox)` runs the lying agent as `claude`; returns the answer and its only result."""
    write_program(tmp_path / "claude", AGENT)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", model.url)

    def call(task: str, *words: str, **sandbox: str) -> tuple[Any, Any]:
        config = {
            "backends": {"claude": {"command": [str(tmp_path / "claude")]}},
            "prices": {"m": {"input_per_mtok": 1.0, "output_per_mtok": 10.0}},
            "sandbox": sandbox,
        }
        (tmp_path / "own.yaml").write_text(json.dumps(config))
        options = ("--backend", "claude", "--workers", "1", "--json", "-c", str(tmp_path / "own.yaml"))
        answer = architect("parallel", task, *options, *words)
        return answer, answer.json["results"][0]

    return call


WAYS = {
    "off": ("--sandbox", "off"),
    "write": ("--sandbox", "write"),
    "hosts": ("--sandbox", "write", "--network", "hosts"),
    "none": ("--sandbox", "write", "--network", "none"),
}


@needs_namespaces
@pytest.mark.parametrize("way", WAYS)
def test_an_agent_looks_for_the_key(run: Run, model: ModelServer, checkout: Path, way: str) -> None:
    _, result = run("look", *WAYS[way])
    found_by_root = way == "off"  # without a sandbox, root reads the launcher's own environment
    assert result["status"] == "success", result["error"]
    if not found_by_root:
        assert result["output"] == "not found"
    assert model.keys == [KEY]
    assert (result["usage"]["cost_basis"], result["cost"]) == ("proxy", pytest.approx(REPLY_USD))
    kept = [path for path in (checkout / ".git").rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert kept == []


def test_control_without_the_key_proxy_the_agent_finds_it_and_its_word_counts(run: Run, model: ModelServer) -> None:
    _, result = run("look", key_proxy="off")
    assert result["output"] == "found"
    assert result["usage"]["cost_basis"] == "tokens"
    assert result["cost"] < REPLY_USD / 100


def test_an_agent_that_spends_its_budget_is_refused_and_ends_for_that_reason(
    run: Run, model: ModelServer, checkout: Path
) -> None:
    answer, result = run("spend", "--budget-per-worker", str(REPLY_USD * 1.5))
    assert result["reason"] == "budget"
    assert len(model.requests) == 2
    assert result["cost"] == pytest.approx(2 * REPLY_USD)
    assert answer.code == 1
    assert git(checkout, "status", "--porcelain") == ""


def test_an_agent_that_names_another_address_is_left_alone_aloud(run: Run, model: ModelServer, checkout: Path) -> None:
    (checkout / ".claude").mkdir()
    (checkout / ".claude" / "settings.json").write_text('{"apiKeyHelper": "./key"}')
    git(checkout, "add", "-A")
    git(checkout, "commit", "-qm", "settings")
    _, result = run("spend")
    assert [warning for warning in result["warnings"] if "holds its key itself" in warning] != []
    assert model.keys == [KEY] * 3
    assert result["usage"]["cost_basis"] == "tokens"
