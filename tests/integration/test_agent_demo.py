"""The demo's repository is the same everywhere, and its three scripted models do what is said of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from architect_parallel.agent.demo import BUDGET_PER_WORKER_USD, MODELS, WHAT_THEY_DO, prepare_demo
from architect_parallel.agent.loop import Report
from architect_parallel.agent.run import AgentRequest, run_embedded_agent
from architect_parallel.domain import AgentProfile, Limits, Reason, Status


def passes(repository: Path) -> bool:
    tests = subprocess.run([sys.executable, "-m", "unittest"], cwd=repository, capture_output=True, check=False)
    assert b"Ran 4 tests" in tests.stderr
    return tests.returncode == 0


def changed(repository: Path) -> list[str]:
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=repository, capture_output=True, text=True, check=True
    )
    return status.stdout.splitlines()


def play(model: str, repository: Path, environ: dict[str, str]) -> Report:
    request = AgentRequest(
        task="Mend it.",
        directory=repository,
        agent=AgentProfile(name="build"),
        model=model,
        limits=Limits(max_steps=50, budget_usd=BUDGET_PER_WORKER_USD),
    )
    report, signal_number = run_embedded_agent(request, environ)
    assert signal_number is None
    return report


@pytest.fixture
def environ() -> dict[str, str]:
    """As little as a machine with Python and git has."""
    return {"PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"}


def test_the_repository_is_the_same_everywhere(tmp_path: Path) -> None:
    first, second = prepare_demo(tmp_path / "one"), prepare_demo(tmp_path / "two words")
    assert first.base_commit == second.base_commit
    assert changed(first.path) == []
    assert not passes(first.path)
    assert changed(first.path) == [], "what running the tests leaves is ignored"


def test_the_users_git_settings_do_not_change_it(tmp_path: Path, home: Path) -> None:
    plain = prepare_demo(tmp_path / "plain").base_commit
    (home / ".gitconfig").write_text(
        "[core]\n\tautocrlf = true\n\thooksPath = /nowhere\n\texcludesFile = ~/ignore\n[commit]\n\tgpgSign = true\n"
        "[init]\n\tdefaultBranch = trunk\n[user]\n\tuseConfigOnly = true\n"
    )
    (home / "ignore").write_text("*.py\n")
    assert prepare_demo(tmp_path / "theirs").base_commit == plain


def test_every_model_is_described() -> None:
    assert set(WHAT_THEY_DO) == set(MODELS)


def test_diligent_is_right(tmp_path: Path, environ: dict[str, str]) -> None:
    repository = prepare_demo(tmp_path / "demo").path
    report = play("scripted:diligent", repository, environ)
    assert (report.status, report.steps) == (Status.SUCCESS, 5)
    assert report.cost is not None
    assert 0 < report.cost < BUDGET_PER_WORKER_USD
    assert changed(repository) == [" M pricelist/amounts.py"]
    assert passes(repository)


def test_hasty_claims_a_success_that_is_none(tmp_path: Path, environ: dict[str, str]) -> None:
    repository = prepare_demo(tmp_path / "demo").path
    report = play("scripted:hasty", repository, environ)
    assert (report.status, report.output) == (Status.SUCCESS, "Fixed the thousands separator. All tests pass now.")
    assert changed(repository) == [" M pricelist/amounts.py"]
    assert not passes(repository)


def test_wanderer_is_stopped_by_the_budget_and_its_work_is_kept(tmp_path: Path, environ: dict[str, str]) -> None:
    repository = prepare_demo(tmp_path / "demo").path
    report = play("scripted:wanderer", repository, environ)
    assert (report.status, report.reason) == (Status.PARTIAL, Reason.BUDGET)
    assert report.cost is not None
    assert BUDGET_PER_WORKER_USD <= report.cost < 1.3 * BUDGET_PER_WORKER_USD
    assert changed(repository) == ["?? NOTES.md"]
