"""The real agent CLIs where something is asked of them beside the tasks: debugger, judge, resolver of conflicts.

The first two may only look. Here the model itself tries to write and to run commands, and the user's own settings would
let it (`allow_everything`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from real_agents.test_reading_only import READING
from real_agents.test_real_agents import MODELS, reply_cost
from support.console import Architect, working_in
from support.model_server import Asked, ModelServer
from support.repositories import git

pytestmark = [
    pytest.mark.real_agents,
    pytest.mark.timeout(300),
    pytest.mark.parametrize("agent", ["claude", "codex"]),
]

TRIES = "MOCK:write seen.txt MOCK:run touch here.txt MOCK:run touch {home}/escaped {checkout}/escaped"
TRACES = ("seen.txt", "here.txt", "escaped")


@pytest.fixture(autouse=True)
def allow_everything(home: Path) -> None:
    """A user's settings by which claude need not ask for any tool."""
    (home / ".claude").mkdir()
    allowed = {"permissions": {"allow": ["Bash", "Bash(touch:*)", "Edit", "Write"]}}
    (home / ".claude" / "settings.json").write_text(json.dumps(allowed))


@pytest.fixture
def tries(home: Path, checkout: Path) -> str:
    """Directives to change something; three replies of the model."""
    return TRIES.format(home=home, checkout=checkout)


@pytest.fixture
def config(agent: str, tmp_path: Path) -> Path:
    """Whoever is asked has the model whose price `reply_cost` tells."""
    model = MODELS[agent][0]
    file = tmp_path / "config.yaml"
    profiles = {"build": {"model": model}, "review": {"model": model}, "sleuth": {"backend": agent, "model": model}}
    file.write_text(json.dumps({"agents": profiles}))
    return file


def spec(directory: Path, *tasks: dict[str, object]) -> Path:
    file = directory / "s.spec.yaml"
    recovery = {"retries": 1, "debugger": {"agent": "sleuth"}}
    file.write_text(json.dumps({"name": "s", "recovery": recovery, "tasks": tasks}))
    return file


def require_untouched(agent: str, asked: Sequence[Asked], places: Sequence[Path]) -> None:
    """Nothing but reading was offered to those who were `asked`, they tried what they were told, and nothing came of
    it."""
    assert max(each.step for each in asked) == 3
    assert [file for place in places for name in TRACES for file in place.rglob(name)] == []
    if agent != "codex":
        assert {tool for each in asked for tool in each.tools} <= READING[agent]


def test_a_worker_is_let_do_what_they_try(
    agent: str, architect: Architect, config: Path, tries: str, checkout: Path, home: Path
) -> None:
    """The control of `require_untouched`."""
    words = ("parallel", tries, "--backend", agent, "--workers", "1", "--tripwire", "warn", "-c", config, "--json")
    answer = architect(*words)
    assert answer.json["results"][0]["files_modified"] == ["here.txt", "seen.txt"], answer.err
    assert (home / "escaped").exists()
    assert (checkout / "escaped").exists()


def questions(model: ModelServer, words: str) -> list[Asked]:
    return [each for each in model.requests if words in each.prompt and each.tools]


def test_a_debugger_looks_and_cannot_change_anything(
    agent: str, architect: Architect, model: ModelServer, config: Path, tries: str, tmp_path: Path
) -> None:
    """What the tasks were told stands in its question; it does as they say, as far as it is let."""
    file = spec(
        tmp_path,
        {"name": "a", "backend": "shell", "task": f"echo no login >&2; exit 1 # {tries}"},
        {"name": "b", "backend": "shell", "task": "echo no disk >&2; exit 1 # MOCK:text No network.\\nRELATED: yes"},
    )
    answer = architect("spec", "run", file, "-c", config, "--json")
    assert (answer.code, answer.json["status"]) == (1, "escalated"), answer.err
    assert [each["attempts"] for each in answer.json["results"]] == [1, 1]
    assert "What the debugger said:\nNo network.\nRELATED: yes" in answer.json["briefing"]
    cost = 4 * reply_cost(MODELS[agent][0])
    assert f"warning: the debugger says: No network. RELATED: yes (${cost:.4f})" in answer.err
    assert answer.json["total_cost"] == pytest.approx(cost, rel=0.01)  # the commands cost nothing
    require_untouched(agent, questions(model, "Several tasks of one run failed"), [tmp_path])
    assert working_in(tmp_path) == []


def test_what_a_debugger_says_reaches_those_that_try_again(
    agent: str, architect: Architect, model: ModelServer, config: Path, tmp_path: Path
) -> None:
    def script(asked: Asked) -> str | None:
        if "Several tasks of one run failed" in asked.prompt:
            return "MOCK:text A file is missing.\\nRELATED: no"
        mended = "What a debugger says of these failures:\nA file is missing." in asked.prompt
        return "MOCK:write mended.txt" if mended else None

    model.script = script
    once = "test -e ../../once || { touch ../../once; exit 1; }"
    file = spec(
        tmp_path,
        {"name": "a", "backend": agent, "task": "MOCK:text done", "checks": ["test -e mended.txt"]},
        {"name": "b", "backend": "shell", "task": once},
    )
    answer = architect("spec", "run", file, "-c", config, "--json")
    assert answer.code == 0, answer.err
    assert [each["attempts"] for each in answer.json["results"]] == [2, 2]
    assert answer.json["results"][0]["files_modified"] == ["mended.txt"]
    # The worker: one reply, then two; the debugger: one.
    assert answer.json["total_cost"] == pytest.approx(4 * reply_cost(MODELS[agent][0]), rel=0.01)
    assert working_in(tmp_path) == []


NUMBER = "echo ${PWD##*-} > made.txt"
"""A command whose results conflict: each worker writes its own number."""


def test_a_judge_chooses_in_both_orders_and_cannot_change_anything(
    agent: str,
    architect: Architect,
    model: ModelServer,
    config: Path,
    tries: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    temporary = tmp_path / "tmp"

    def script(asked: Asked) -> str | None:
        change = re.search(r"change A -----\n(.*?)----- \w+ end of change A", asked.prompt, re.DOTALL)
        if change is None:
            return None
        made.extend(temporary.glob("architect-judge-*/*"))  # its directory goes with it
        return f"{tries} MOCK:text Two is more.\\n**BEST: {'A' if '+2' in change[1] else 'B'}**"

    made: list[Path] = []
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    model.script = script
    words = (f"{NUMBER} # MOCK:", "--backend", "shell", "--models", "m-one,m-two", "--judge", agent, "-c", config)
    answer = architect("eval", *words, "--json")
    assert answer.code == 0, answer.err
    assert made == []
    cost = 4 * reply_cost(MODELS[agent][0])
    assert [(each["best"], each["error"]) for each in answer.json["judged"]] == [(2, None)] * 2
    assert {(each["a"], each["b"]) for each in answer.json["judged"]} == {(1, 2), (2, 1)}
    assert [each["cost"] for each in answer.json["judged"]] == [pytest.approx(cost, rel=0.01)] * 2
    assert answer.json["total_cost"] == pytest.approx(2 * cost, rel=0.01)  # the commands cost nothing
    assert "preferred by the judge" in answer.json["ranking"][0]["reason"]
    asked = questions(model, "Two programmers were given the same task")
    assert not [each for each in asked if re.search("m-one|m-two|architect/parallel", each.prompt)]
    require_untouched(agent, asked, [tmp_path])
    assert list(temporary.glob("architect-judge-*")) == []
    assert working_in(tmp_path) == []


def test_conflicts_are_resolved_by_an_agent_whose_word_counts_for_nothing(
    agent: str, architect: Architect, model: ModelServer, config: Path, checkout: Path, tmp_path: Path
) -> None:
    words = ["MOCK:text I have resolved everything."]
    model.script = lambda asked: words[0] if "A git merge is under way in this directory" in asked.prompt else None
    assert architect("parallel", f"{NUMBER} # MOCK:", "--backend", "shell", "--workers", "2").code == 0
    merge = ("merge", "latest", "--all", "--resolve", agent, "-c", config, "--json")
    believed = architect(*merge)
    assert believed.code == 5, believed.err
    assert (believed.json["merged"], believed.json["cost"]) == ([1], pytest.approx(reply_cost(MODELS[agent][0])))
    assert f"worker 2 is left out: {agent} left conflict markers in made.txt" in believed.json["warnings"]

    words[0] = "MOCK:run git status --short > ../../status; seq 2 > made.txt; git add made.txt"
    answer = architect(*merge)
    assert answer.code == 0, answer.err
    cost = 2 * reply_cost(MODELS[agent][0])
    assert answer.json["cost"] == pytest.approx(cost)
    assert f"{agent} is done with worker 2: ${cost:.4f}" in answer.err
    assert (answer.json["merged"], answer.json["left_out"]) == ([2], [])
    assert answer.json["warnings"] == ["main already has everything of worker 1"]
    assert (tmp_path / "status").read_text() == "AA made.txt\n"
    assert (checkout / "made.txt").read_text() == "1\n2\n"
    assert f"Conflicts resolved by {agent}" in git(checkout, "log", "-1", "--format=%b")
    assert git(checkout, "status", "--porcelain") == ""
    assert working_in(tmp_path) == []
