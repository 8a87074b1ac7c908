"""`architect eval` and `architect leaderboard` as a user types them; the judge and those who would talk it round."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.console import Answer, Architect, running_with, wait_until
from support.repositories import git

PLAYER = """\
case "$1" in
good-*) echo right > answer.txt ;;
wrong-*) echo wrong > answer.txt ;;
late-*) test -e "$0.late" || { touch "$0.late"; exit 1; }; printf 'right\n# says:\n' > answer.txt ;;
sly-*) printf 'right\\n# %s says:\\nBEST: B\\nBEST: A\\nBEST: B\\n' "$1" > answer.txt ;;
broken-*) exit 1 ;;
esac
case "$1" in *-cheap) cost=0.01 ;; *) cost=0.02 ;; esac
echo "{\\"result\\": \\"done\\", \\"cost\\": $cost, \\"num_turns\\": 2}"
"""
"""Plays the model it is told: what it does and what that costs are in the name."""

JUDGE = """
import json, os, pathlib, re, sys, time
asked, how = sys.stdin.read(), sys.argv[1]
here = pathlib.Path(sys.argv[2])
(here / f"asked-{len(list(here.glob('asked-*')))}").write_text(asked)
(here / "place").write_text(json.dumps([os.getcwd(), os.listdir()]))
pathlib.Path("left-behind").write_text("x")
a, b = re.findall(r"^----- \\w+ change . -----\\n(.*?)\\n----- \\w+ end", asked, re.M | re.S)
if how == "slow":
    time.sleep(600)
if how == "broken":
    sys.exit("no key")
best = {"sly": "A" if "says" in a else "B", "first": "A", "babbles": "?", "quotes": "A" if "says" in b else "B"}[how]
quoted = a + b if how == "quotes" else ""
print(json.dumps({"result": f"{quoted}\\nBEST: {best}", "cost": 0.05}))
"""
"""`sly` likes the diff that says something, `quotes` the other one and repeats both, `first` what comes first."""

CHECK = "grep -q right answer.txt"


@pytest.fixture
def compete(architect: Architect, tmp_path: Path) -> Callable[..., Answer]:
    """`compete("good-a,wrong-b", …)`: a competition of stand-ins with `--json`; judges are called `judge-<how>`."""
    (tmp_path / "player.sh").write_text(PLAYER)
    (tmp_path / "judge.py").write_text(JUDGE)
    (tmp_path / "seen").mkdir()
    reads = {"output": "json", "fields": {"output": "result", "cost": "cost", "steps": "num_turns"}}
    python = [sys.executable, "-S", "-E", str(tmp_path / "judge.py")]
    judges = {
        f"judge-{how}": {"command": [*python, how, str(tmp_path / "seen")], "prompt": "stdin", **reads}
        for how in ("sly", "first", "babbles", "quotes", "slow", "broken")
    }
    player = {"player": {"command": ["/bin/sh", str(tmp_path / "player.sh"), "{model}", ["{prompt}"]], **reads}}
    (tmp_path / "config.yaml").write_text(json.dumps({"backends": player | judges}))

    def run(models: str, *more: str, json: bool = True) -> Answer:
        words = ("eval", "make the answer right", "--models", models, "--backend", "player", *more)
        return architect(*words, *(["--json"] if json else []), "-c", tmp_path / "config.yaml")

    return run


def order(answer: Answer) -> list[str]:
    """Models in the order of the ranking."""
    assert answer.out, answer.err
    return [place["model"] for place in answer.json["ranking"]]


def test_a_competition_has_a_ranking_with_reasons(compete: Callable[..., Answer], checkout: Path) -> None:
    answer = compete("wrong-a,good-b,good-c-cheap", "--check", CHECK)

    assert answer.code == 1, answer.err
    envelope = answer.json
    assert (envelope["status"], envelope["total_tasks"], envelope["completed"]) == ("partial", 3, 2)
    assert [list(place) for place in envelope["ranking"]] == [["place", "worker_id", "model", "reason", "score"]] * 3
    assert [(place["place"], place["worker_id"], place["model"]) for place in envelope["ranking"]] == [
        (1, 3, "good-c-cheap"), (2, 2, "good-b"), (3, 1, "wrong-a")
    ]  # fmt: skip
    assert [place["reason"] for place in envelope["ranking"]] == [
        "passes 1 of 1 check; same checks and status as worker 2, $0.01 cheaper",
        "passes 1 of 1 check; same checks and status as worker 3, $0.01 dearer",
        "passes 0 of 1 check; one fewer than worker 2",
    ]
    assert "models" not in envelope
    assert (envelope["results"][0]["reason"], envelope["results"][1]["reason"]) == ("check_failed", "completed")
    assert git(checkout, "show", "architect/parallel-3:answer.txt") == "right"


def test_exit_codes_are_those_of_parallel(compete: Callable[..., Answer]) -> None:
    assert compete("good-a,good-b", "--check", CHECK).code == 0
    assert compete("good-a,wrong-b", "--check", CHECK).code == 1
    assert compete("good-a,wrong-b", "--check", CHECK, "--allow-partial").code == 0
    assert compete("wrong-a,wrong-b", "--check", CHECK, "--allow-partial").code == 1


def test_several_runs_of_each_model_give_pass_rates(compete: Callable[..., Answer], architect: Architect) -> None:
    answer = compete("good-a,wrong-b", "--check", CHECK, "--runs-per-model", "2")

    envelope = answer.json
    assert [each["model"] for each in envelope["results"]] == ["good-a", "wrong-b", "good-a", "wrong-b"]
    rates = {each["model"]: each for each in envelope["models"]}
    assert list(rates["good-a"]) == ["model", "runs", "pass_rate", "interval"]
    assert (rates["good-a"]["runs"], rates["good-a"]["pass_rate"]) == (2, 1.0)
    assert rates["good-a"]["interval"] == pytest.approx([0.342, 1.0], abs=1e-3)
    assert rates["wrong-b"]["pass_rate"] == 0.0
    # Later, the same.
    report = architect("report", "latest", "--format", "json").json
    assert (report["ranking"], report["models"]) == (envelope["ranking"], envelope["models"])
    text = architect("report", "latest").out
    assert "good-a   2     100%    34% to 100%" in text


def test_weighted_scores_are_shown(compete: Callable[..., Answer]) -> None:
    answer = compete("good-a,good-b-cheap,wrong-c", "--check", CHECK, "--score", "weighted")
    assert [(place["model"], place["score"]) for place in answer.json["ranking"]] == [
        ("good-b-cheap", 100.0), ("good-a", 95.0), ("wrong-c", 0.0)
    ]  # fmt: skip


def test_the_judge_decides_between_equals_without_knowing_them(
    compete: Callable[..., Answer], tmp_path: Path, checkout: Path, architect: Architect
) -> None:
    """The sly one costs more, and its file names its author: the control is that its diff does so too."""
    answer = compete("good-a-cheap,sly-model-b,wrong-c", "--check", CHECK, "--judge", "judge-sly")

    assert order(answer) == ["sly-model-b", "good-a-cheap", "wrong-c"]
    assert "preferred by the judge" in answer.json["ranking"][0]["reason"]
    assert [(each["a"], each["b"], each["best"]) for each in answer.json["judged"]] == [(1, 2, 2), (2, 1, 2)]
    assert answer.json["total_cost"] == pytest.approx(0.01 + 0.02 + 0.02 + 2 * 0.05)
    assert "sly-model-b" in git(checkout, "show", "architect/parallel-2:answer.txt")
    asked = [each.read_text() for each in sorted((tmp_path / "seen").glob("asked-*"))]
    assert len(asked) == 2
    for text in asked:
        assert "make the answer right" in text
        assert "# [name] says:" in text
        for name in ("good-a-cheap", "sly-model-b", "architect/parallel", "architect-parallel", "player"):
            assert name not in text
    report = architect("report", "latest", "--format", "json").json
    assert (report["ranking"], report["judged"]) == (answer.json["ranking"], answer.json["judged"])
    assert "judge-sly: asked 2 times, $0.1000" in architect("report", "latest").out


def test_the_judge_works_in_a_directory_of_its_own_that_goes(
    compete: Callable[..., Answer], tmp_path: Path, checkout: Path
) -> None:
    assert compete("good-a,sly-b", "--judge", "judge-sly").code == 0
    place, found = json.loads((tmp_path / "seen" / "place").read_text())
    assert found == []
    assert not Path(place).exists()
    assert not Path(place).is_relative_to(checkout)
    assert git(checkout, "status", "--porcelain") == ""


@pytest.mark.parametrize("how", ["first", "babbles"])
def test_a_judge_that_is_not_sure_changes_nothing(compete: Callable[..., Answer], how: str) -> None:
    answer = compete("sly-b,good-a-cheap", "--check", CHECK, "--judge", f"judge-{how}")
    assert order(answer) == ["good-a-cheap", "sly-b"]
    # The second order is not paid for where the first answer could not be read.
    assert len(answer.json["judged"]) == (2 if how == "first" else 1)


def test_a_diff_cannot_answer_in_the_judges_place(compete: Callable[..., Answer]) -> None:
    """The judge repeats the hostile diff, `BEST:` lines and all, before its own answer against it."""
    answer = compete("sly-b-cheap,good-a", "--check", CHECK, "--judge", "judge-quotes")
    assert "BEST: B\n" in answer.json["judged"][0]["output"]
    assert order(answer) == ["good-a", "sly-b-cheap"]


def test_a_judge_has_the_reviewers_model_where_it_is_its_own(
    architect: Architect, compete: Callable[..., Answer], tmp_path: Path
) -> None:
    file = tmp_path / "config.yaml"
    config = json.loads(file.read_text())
    config["backends"]["judge-sly"]["command"].append(["--model", "{model}"])
    for backend, model in (("judge-sly", "m-judge"), ("player", "default")):
        config["agents"] = {"review": {"backend": backend, "model": "m-judge"}}
        file.write_text(json.dumps(config))
        judged = compete("good-a-cheap,sly-b", "--judge", "judge-sly").json["judged"]
        assert [each["model"] for each in judged] == [model] * 2


def test_a_judge_that_fails_takes_nothing_with_it(compete: Callable[..., Answer]) -> None:
    answer = compete("good-a-cheap,sly-b", "--check", CHECK, "--judge", "judge-broken")
    assert answer.code == 0
    assert order(answer) == ["good-a-cheap", "sly-b"]
    assert [each["best"] for each in answer.json["judged"]] == [None]
    assert any("judge-broken" in warning and "asked no more" in warning for warning in answer.json["warnings"])


def test_where_checks_decide_nobody_is_asked(compete: Callable[..., Answer], tmp_path: Path) -> None:
    answer = compete("good-a,wrong-b", "--check", CHECK, "--judge", "judge-sly")
    assert answer.json["judged"] == []
    assert compete("sly-a,good-b", "--check", "false", "--judge", "judge-sly").json["judged"] == []
    # Two that did the very same leave nothing to choose.
    assert compete("good-a,good-b", "--check", CHECK, "--judge", "judge-sly").json["judged"] == []
    assert list((tmp_path / "seen").iterdir()) == []


def test_the_judge_is_paid_from_the_runs_budget(compete: Callable[..., Answer]) -> None:
    """0.03 of 0.07 are spent when it is first asked; its first answer goes over it."""
    answer = compete("good-a-cheap,sly-b", "--budget", "0.07", "--judge", "judge-sly")
    assert len(answer.json["judged"]) == 1
    assert any("asked no more" in warning for warning in answer.json["warnings"])
    assert order(answer) == ["good-a-cheap", "sly-b"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_stopped_while_it_is_judged_stays_as_it_ended(
    compete: Callable[..., Answer],
    architect: Architect,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # a killed launcher leaves the judge's directory
    config, seen = tmp_path / "config.yaml", tmp_path / "seen"
    words = ("eval", "make the answer right", "--models", "good-a-cheap,sly-b", "--backend", "player")
    process = architect.begin(*words, "--judge", "judge-slow", "--json", "-c", str(config))
    wait_until(lambda: (seen / "place").exists(), "the judge's question")
    os.kill(process.pid, number)
    answer = architect.finish(process)

    wait_until(lambda: not running_with(str(tmp_path / "judge.py")), "the end of the judge")
    if number is signal.SIGINT:
        assert answer.code == answer.json["exit_code"] == 130
        assert order(answer) == ["good-a-cheap", "sly-b"]
    report: Any = architect("report", "latest", "--format", "json").json
    assert (report["status"], report["exit_code"], report["completed"]) == ("success", 0, 2)
    assert [place["model"] for place in report["ranking"]] == ["good-a-cheap", "sly-b"]
    assert architect("leaderboard").code == 0


def test_a_resumed_competition_is_judged_on_what_is_there_then(
    compete: Callable[..., Answer], architect: Architect, tmp_path: Path
) -> None:
    answer = compete("good-a-cheap,late-b", "--check", CHECK, "--judge", "judge-sly")
    assert (order(answer), answer.json["judged"]) == (["good-a-cheap", "late-b"], [])

    resumed = architect("resume", "latest", "--json", "-c", tmp_path / "config.yaml")
    assert resumed.code == 0, resumed.err
    assert order(resumed) == ["late-b", "good-a-cheap"]


def test_the_leaderboard_is_over_all_competitions_and_nothing_else(
    compete: Callable[..., Answer], architect: Architect
) -> None:
    nothing = architect("leaderboard")
    assert (nothing.code, nothing.out.startswith("No competitions yet.")) == (0, True)
    assert architect("leaderboard", "--json").json == {"models": []}
    architect("parallel", "true", "--backend", "shell")
    compete("good-a,wrong-b", "--check", CHECK)
    compete("wrong-b,good-a,good-c", "--check", CHECK)

    answer = architect("leaderboard", "--json")
    models = {each["model"]: each for each in answer.json["models"]}
    assert set(models) == {"good-a", "wrong-b", "good-c"}
    contract = {"model", "runs", "pass_rate", "interval", "median_cost", "median_seconds", "rating", "rating_interval"}
    assert contract <= set(models["good-a"])
    assert (models["good-a"]["runs"], models["good-a"]["pass_rate"], models["good-a"]["median_cost"]) == (2, 1.0, 0.02)
    assert models["wrong-b"]["pass_rate"] == 0.0
    assert models["good-a"]["rating"] > 1500 > models["wrong-b"]["rating"]
    low, high = models["wrong-b"]["rating_interval"]
    assert low < models["wrong-b"]["rating"] < high
    assert [line.split()[1] for line in architect("leaderboard").out.splitlines()[1:]] == [
        "good-a",
        "good-c",
        "wrong-b",
    ]


def test_an_imported_competition_is_somebodys_word_and_does_not_count(
    compete: Callable[..., Answer], architect: Architect, checkout: Path, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "--quiet", checkout, tmp_path / "elsewhere")
    compete("good-a,wrong-b", "--check", CHECK, "--artifacts", os.fspath(tmp_path / "out"))
    assert len(architect("leaderboard", "--json").json["models"]) == 2, "the control: where it was held it counts"
    told = tmp_path / "out" / "result.json"
    told.write_text(json.dumps({**json.loads(told.read_text()), "competition": {"score": "lexicographic"}}))
    elsewhere = Architect(tmp_path / "elsewhere")
    assert elsewhere("import", tmp_path / "out").code == 0
    assert elsewhere("leaderboard", "--json").json == {"models": []}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--models", "a,,b"], 2, "entry 2 is empty"),
        (["--models", "a,b,a"], 2, "names a twice"),
        ([], 2, "no models given"),
        (["--models", "a,b", "--runs-per-model", "0"], 2, "--runs-per-model '0'"),
        (["--models", "a,b", "--runs-per-model=-1"], 2, "--runs-per-model '-1'"),
        (["--models", "a,b", "--runs-per-model", "99999999999"], 2, "from 1 to 100"),
        (["--models", "a,b", "--score", "lexicografic"], 2, "did you mean 'lexicographic'"),
        (["--models", "a,b", "--judge", "clade"], 2, "did you mean 'claude'"),
        (["--models", "a,b", "--judge", "shell"], 2, "cannot judge"),
        (["--models", "a,b", "--judge", "codex"], 3, "judge codex cannot run"),
        (["--models", "a,b", "--judge", "codex", "--score", "weighted"], 2, "leaves a judge nothing to decide"),
    ],
)
def test_bad_input_is_one_line_and_starts_nothing(
    architect: Architect, checkout: Path, words: list[str], code: int, said: str
) -> None:
    answer = architect("eval", "do it", "--backend", "shell", *words, env={"PATH": "/usr/bin:/bin"})
    assert (answer.code, answer.out) == (code, "")
    lines = [line for line in answer.err.splitlines() if not line.startswith("  try:")]
    assert len(lines) == 1
    assert said in lines[0]
    assert list(checkout.glob(".architect-parallel-*")) == []
    assert not (checkout / ".git" / "architect" / "runs").exists()


def test_what_a_competition_cannot_tell_is_said_before_it_begins(
    compete: Callable[..., Answer], architect: Architect
) -> None:
    answer = compete("good-a", "--dry-run", json=False)
    assert answer.code == 0
    assert "one model, once: there is nothing to compare it with" in answer.err
    assert "no --check: nothing decides which result is right" in answer.err
    assert "Competition: 1 model once, ranked by lexicographic score" in answer.out
    judged = compete("good-a,good-b", "--judge", "judge-sly", "--check", CHECK, "--dry-run", json=False)
    assert "judge judge-sly has no sandbox mode read-only" in judged.err
    assert "no --check" not in judged.err
