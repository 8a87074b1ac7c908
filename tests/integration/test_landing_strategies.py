"""Several results made one: in order, checked after each step, the target last, and undone without a trace."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.landing_runs import Files, begin_run, commit, ended_run, everything, write
from support.repositories import git, make_repository

from architect_parallel.backends.command import CommandBackend
from architect_parallel.domain import AgentProfile, BackendSettings, Limits, Reason, RunStatus, Status
from architect_parallel.errors import EnvironmentProblem, NothingToDo
from architect_parallel.journal import Journal
from architect_parallel.landing import cleanup, undo
from architect_parallel.landing.conflicts import Resolver
from architect_parallel.landing.integration import Interrupted
from architect_parallel.landing.integration_worktree import IntegrationContext
from architect_parallel.landing.merge import MergeOutcome, Method, Pick, execute, plan_merge
from architect_parallel.system.git import Repository, open_repository


@pytest.fixture
def journal(repository: Repository) -> Iterator[Journal]:
    with Journal.open(repository.state_dir) as opened:
        yield opened


def workshop(journal: Journal, resolver: Resolver | None = None) -> IntegrationContext:
    return IntegrationContext(run_dir=journal.run_dir("run"), environ=os.environ, resolver=resolver)


def land(
    repository: Repository, journal: Journal, *workers: int, shop: IntegrationContext | None = None, **options: object
) -> MergeOutcome:
    plan = plan_merge(repository, journal, "run", *workers, **options)  # type: ignore[arg-type]  # passed on
    return execute(repository, journal, plan, shop or workshop(journal))


def take_back(repository: Repository, journal: Journal) -> None:
    undo.execute(repository, journal, undo.plan_undo(repository, journal))


def left_out(outcome: MergeOutcome) -> list[tuple[int, str, tuple[str, ...]]]:
    return [(each.worker_id, each.reason, each.files) for each in outcome.left_out]


def ignored(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.name.startswith(".architect"))


def test_all_successes_land_but_what_conflicts(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = begin_run(repository, journal, "run", workers=5)
    work: list[Files | None] = [{"a.txt": "a\n"}, {"README.md": "2\n"}, {"README.md": "3\n", "c.txt": "c\n"}, None]
    work.append({"e.txt": "e\n"})
    for worker_id, files in enumerate(work, start=1):
        place = run.start(worker_id)
        if files is not None:
            commit(place, files)
        run.finish(worker_id, Status.TIMEOUT if worker_id == 5 else Status.SUCCESS)
    run.end(RunStatus.PARTIAL)
    ours = commit(checkout, {"mine.txt": "m\n"})
    before, places = everything(checkout), ignored(checkout)

    outcome = land(repository, journal, pick=Pick.ALL)
    assert outcome.merged == (1, 2)
    assert left_out(outcome) == [(5, "not_successful", ()), (3, "conflict", ("README.md",))]
    assert outcome.branch == "architect/merged-run"
    assert git(checkout, "rev-parse", "main", "architect/merged-run").split() == [outcome.commit, outcome.commit]
    assert outcome.files == ("README.md", "a.txt")
    assert (checkout / "a.txt").exists()
    assert (checkout / "README.md").read_text() == "2\n"
    assert git(checkout, "status", "--porcelain") == ""
    assert git(checkout, "merge-base", ours, "main") == ours
    landing = journal.result("run").merge
    assert landing is not None
    assert (landing.merged, landing.target, landing.commit) == ((1, 2), "main", outcome.commit)
    assert ignored(checkout) == places

    take_back(repository, journal)
    assert everything(checkout) == before
    assert journal.result("run").merge is None
    kept = git(checkout, "for-each-ref", f"--points-at={outcome.commit}", "refs/architect/keep")
    assert kept, "what undo takes away is kept"


def test_named_ones_in_the_proposed_order_with_each_method(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"}, {"c.txt": "c\n"})
    before = everything(checkout)
    first = git(checkout, "rev-parse", "main")
    for method, commits in ((Method.SQUASH, 2), (Method.REBASE, 2), (Method.MERGE, 3)):
        outcome = land(repository, journal, 3, 1, 3, method=method)
        assert outcome.merged == (1, 3)
        assert git(checkout, "rev-list", "--count", f"{first}..main") == str(commits)
        assert sorted(outcome.files) == ["a.txt", "c.txt"]
        take_back(repository, journal)
        assert everything(checkout) == before


def test_where_everything_conflicts_nothing_moves(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(repository, journal, "run", {"README.md": "1\n"}, {"README.md": "2\n"})
    commit(checkout, {"README.md": "mine\n"})
    before = everything(checkout)
    outcome = land(repository, journal, pick=Pick.ALL)
    assert (outcome.commit, outcome.merged, outcome.branch) == (None, (), None)
    assert [each[:2] for each in left_out(outcome)] == [(1, "conflict"), (2, "conflict")]
    assert everything(checkout) == before
    assert journal.operations() == []


def test_best_is_a_success_where_there_is_one(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = begin_run(repository, journal, "run", workers=3)
    commit(run.start(1), {"a.txt": "a\n"})
    run.finish(1, Status.PARTIAL, Reason.BUDGET)
    run.start(2)
    run.finish(2)
    commit(run.start(3), {"c.txt": "c\n"})
    run.finish(3)
    run.end(RunStatus.PARTIAL)
    plan = plan_merge(repository, journal, "run", pick=Pick.BEST)
    assert (plan.merged, plan.warnings) == ((3,), ())
    assert plan.because
    assert not plan.needs_branch, "one result lands as it is"

    none = begin_run(repository, journal, "none", first=4)
    commit(none.start(1), {"a.txt": "a\n"})
    none.finish(1, Status.FAILED, Reason.AGENT_ERROR)
    none.end(RunStatus.FAILED)
    plan = plan_merge(repository, journal, "none", pick=Pick.BEST)
    assert plan.merged == (1,)
    assert "no worker with changes succeeded" in plan.warnings[0]
    with pytest.raises(NothingToDo, match="no worker of run none succeeded"):
        plan_merge(repository, journal, "none", pick=Pick.ALL)


def test_best_of_several_tasks_is_the_best_of_each(checkout: Path, repository: Repository, journal: Journal) -> None:
    """The control: one ranking over all of them would land a single result and leave the other tasks out."""
    run = begin_run(repository, journal, "run", workers=5, tasks=("a", "b", "a", "b", "c"))
    for worker_id in range(1, 6):
        commit(run.start(worker_id), {f"{worker_id}.txt": "\n" * worker_id})
        failed = worker_id in (1, 5)
        run.finish(worker_id, *((Status.FAILED, Reason.AGENT_ERROR) if failed else (Status.SUCCESS, Reason.COMPLETED)))
    run.end(RunStatus.PARTIAL)
    outcome = land(repository, journal, pick=Pick.BEST)
    assert (outcome.merged, sorted(outcome.files)) == ((2, 3), ["2.txt", "3.txt"])
    assert [each[:2] for each in left_out(outcome)] == [(5, "not_successful")]
    assert not (checkout / "5.txt").exists()

    none = begin_run(repository, journal, "none", workers=2, first=6, tasks=("a", "b"))
    for worker_id in (1, 2):
        commit(none.start(worker_id), {"x.txt": "x\n"})
        none.finish(worker_id, Status.FAILED, Reason.AGENT_ERROR)
    none.end(RunStatus.FAILED)
    with pytest.raises(NothingToDo, match="no worker of run none with changes succeeded"):
        plan_merge(repository, journal, "none", pick=Pick.BEST)


def test_what_the_target_has_already_is_passed_over(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"}, {"c.txt": "c\n"})
    land(repository, journal, 1)
    land(repository, journal, 2, method=Method.SQUASH)
    plan = plan_merge(repository, journal, "run", pick=Pick.ALL)
    assert plan.merged == (3,)
    assert plan.left_out == ()
    assert list(plan.warnings) == ["main already has everything of worker 1", "main already has everything of worker 2"]
    land(repository, journal, 3)
    with pytest.raises(NothingToDo, match="already has everything of worker"):
        plan_merge(repository, journal, "run", pick=Pick.ALL)


# Checks


def test_step_that_breaks_a_check_is_taken_out(checkout: Path, repository: Repository, journal: Journal) -> None:
    commit(checkout, {"wish.txt": "1\n"})
    ended_run(
        repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"}, {"c.txt": "c\n"},
        checks=("test ! -e a.txt || test ! -e b.txt", "! cat nothing-there"),
    )  # fmt: skip
    before, places = everything(checkout), ignored(checkout)
    plan = plan_merge(repository, journal, "run", pick=Pick.ALL)
    assert plan.merged == (1, 2, 3), "the control: without checks all three would land"
    outcome = execute(repository, journal, plan, workshop(journal))
    assert outcome.merged == (1, 3)
    assert left_out(outcome) == [(2, "check", ())]
    assert "test ! -e a.txt" in (outcome.left_out[0].detail or "")
    assert sorted(outcome.files) == ["a.txt", "c.txt"]
    assert not (checkout / "b.txt").exists()
    assert ignored(checkout) == places
    take_back(repository, journal)
    assert everything(checkout) == before


def test_the_last_of_all_is_checked_with_those_that_are_in_already(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    ended_run(
        repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"}, checks=("! test -e a.txt || ! test -e b.txt",)
    )
    assert land(repository, journal, 1).merged == (1,)
    before = everything(checkout)
    outcome = land(repository, journal, pick=Pick.ALL)
    assert (outcome.commit, left_out(outcome)) == (None, [(2, "check", ())])
    assert everything(checkout) == before
    assert land(repository, journal, 2).merged == (2,), "the control: one that was asked for lands"


def test_check_that_fails_on_the_target_is_no_steps_fault(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"}, checks=("test -e b.txt",))
    outcome = land(repository, journal, pick=Pick.ALL)
    assert outcome.merged == (1, 2)
    assert outcome.warnings == ("check `test -e b.txt` failed (exit code 1), as it did on main",)


def test_what_a_check_does_never_lands(checkout: Path, repository: Repository, journal: Journal) -> None:
    commit(checkout, {".gitignore": "cache\n"})
    spoil = (
        "test ! -e junk.txt && ! grep -q bad a.txt && echo junk > junk.txt && echo bad > a.txt"
        " && git commit -qam bad && git checkout -q -B architect/merged-run HEAD && mkdir -p cache && date > cache/d"
        " && echo 'gitdir: /nowhere' > .git"
    )
    ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"}, {"c.txt": "c\n"}, checks=(spoil,))
    before = everything(checkout)
    outcome = land(repository, journal, pick=Pick.ALL)
    assert outcome.merged == (1, 2, 3)
    assert sorted(outcome.files) == ["a.txt", "b.txt", "c.txt"]
    assert (checkout / "a.txt").read_text() == "a\n"
    assert "bad" not in git(checkout, "log", "--format=%s", "main").split("\n")
    take_back(repository, journal)
    assert everything(checkout) == before


def test_checkout_that_became_dirty_meanwhile_keeps_its_edit(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    write(checkout, {})
    ended_run(
        repository,
        journal,
        "run",
        {"a.txt": "a\n"},
        {"b.txt": "b\n"},
        checks=(f"echo edited > '{checkout}/README.md'",),
    )
    tip = git(checkout, "rev-parse", "main")
    with pytest.raises(EnvironmentProblem, match=r"README\.md.*combined on architect/merged-run"):
        land(repository, journal, pick=Pick.ALL)
    assert git(checkout, "rev-parse", "main") == tip
    assert (checkout / "README.md").read_text() == "edited\n"
    assert git(checkout, "rev-list", "--count", f"{tip}..architect/merged-run") == "3"
    git(checkout, "checkout", "-q", "README.md")
    take_back(repository, journal)
    assert git(checkout, "for-each-ref", "refs/heads/architect/merged-run") == ""


def test_stop_leaves_nothing(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"}, checks=("sleep 60",))
    before = everything(checkout)
    plan = plan_merge(repository, journal, "run", pick=Pick.ALL)
    shop = workshop(journal)
    threading.Timer(1.0, shop.stop_token.stop, (Reason.INTERRUPTED,)).start()
    with pytest.raises(Interrupted):
        execute(repository, journal, plan, shop)
    assert everything(checkout) == before
    assert all(each.undone for each in journal.operations())
    assert not journal.is_live("run")


# Conflicts resolved by an agent

GOOD = "sed -i '/^<<<<<<<\\|^|||||||\\|^=======$\\|^>>>>>>>/d' README.md"


def mender(tmp_path: Path, script: str, **limits: float) -> Resolver:
    program = tmp_path / "mender.sh"
    program.write_text(
        f"#!/bin/sh\ncp \"$1\" '{tmp_path}/prompt'\ngit status --short > '{tmp_path}/status'\n{script}\n"
    )
    program.chmod(0o755)
    backend = CommandBackend(
        name="mender", settings=BackendSettings(command=(str(program), "{prompt_file}")), environ=os.environ
    )
    return Resolver(backend=backend, agent=AgentProfile(name="build"), limits=Limits(**limits))  # type: ignore[arg-type]  # numbers


def conflicting(checkout: Path, repository: Repository, journal: Journal, checks: tuple[str, ...] = ()) -> None:
    commit(checkout, {"README.md": "start\n", "picture.bin": b"\0old"})
    ended_run(
        repository,
        journal,
        "run",
        {"README.md": "start\none\n"},
        {"README.md": "start\ntwo\n", "b.txt": "b\n"},
        checks=checks,
    )


@pytest.mark.parametrize("method", Method)
def test_resolved_conflict_lands(
    checkout: Path, repository: Repository, journal: Journal, tmp_path: Path, method: Method
) -> None:
    conflicting(checkout, repository, journal, ("grep -q start README.md",))
    before = everything(checkout)
    shop = workshop(journal, mender(tmp_path, f"{GOOD}; git add README.md"))
    outcome = land(repository, journal, 1, 2, shop=shop, resolve=True, method=method)
    assert (outcome.merged, outcome.left_out) == ((1, 2), ())
    assert (checkout / "README.md").read_text() == "start\none\ntwo\n"
    assert "Conflicts resolved by mender" in git(checkout, "log", "-1", "--format=%b")
    assert len(git(checkout, "log", "-1", "--format=%P").split()) == (2 if method is Method.MERGE else 1)
    assert "teach it ü" in (tmp_path / "prompt").read_text()
    assert "  README.md" in (tmp_path / "prompt").read_text()
    assert "UU README.md" in (tmp_path / "status").read_text()
    take_back(repository, journal)
    assert everything(checkout) == before


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'I have resolved everything'", "left conflict markers in README.md"),
        ("sed -i '/^<<<<<<</d' README.md; git add -A", "left conflict markers in README.md"),
        ("mv README.md moved.md; git add -A", "left conflict markers in moved.md"),
        (f"{GOOD}; exit 3", "did not succeed: failed (agent_error)"),
        ("git checkout --theirs README.md; git add README.md", "check `grep -q one README.md` failed"),
    ],
    ids=["words only", "half", "elsewhere", "failed", "breaks a check"],
)
def test_what_is_no_resolution_is_left_out(
    checkout: Path, repository: Repository, journal: Journal, tmp_path: Path, script: str, told: str
) -> None:
    conflicting(checkout, repository, journal, ("grep -q one README.md || test ! -e b.txt", "grep -q one README.md"))
    outcome = land(repository, journal, 1, 2, shop=workshop(journal, mender(tmp_path, script)), resolve=True)
    assert outcome.merged == (1,)
    assert outcome.left_out[0].worker_id == 2
    assert told.replace("check `grep -q one README.md` failed", "failed") in (outcome.left_out[0].detail or "")
    assert (checkout / "README.md").read_text() == "start\none\n"
    assert git(checkout, "status", "--porcelain") == ""


def test_conflict_without_markers_needs_a_decision(
    checkout: Path, repository: Repository, journal: Journal, tmp_path: Path
) -> None:
    commit(checkout, {"picture.bin": b"\0old", "gone.txt": "old\n"})
    ended_run(
        repository, journal, "run", {"picture.bin": b"\0one", "gone.txt": None},
        {"picture.bin": b"\0two", "gone.txt": "new\n"},
    )  # fmt: skip
    lazy = land(repository, journal, 1, 2, shop=workshop(journal, mender(tmp_path, "true")), resolve=True)
    assert "did not decide on gone.txt, picture.bin" in (lazy.left_out[0].detail or "")
    take_back(repository, journal)
    decide = "git checkout --theirs picture.bin && git add picture.bin && git rm -q gone.txt"
    outcome = land(repository, journal, 1, 2, shop=workshop(journal, mender(tmp_path, decide)), resolve=True)
    assert outcome.merged == (1, 2)
    assert (checkout / "picture.bin").read_bytes() == b"\0two"
    assert not (checkout / "gone.txt").exists()


def test_agent_that_wrecks_the_worktree_spoils_nothing(
    checkout: Path, repository: Repository, journal: Journal, tmp_path: Path
) -> None:
    conflicting(checkout, repository, journal)
    tip = git(checkout, "rev-parse", "main")
    wreck = f"{GOOD}; git commit -qam mine; git checkout -qB architect/merged-run; git config core.hooksPath /x"
    outcome = land(
        repository, journal, 1, 2, shop=workshop(journal, mender(tmp_path, f"{wreck}; rm .git")), resolve=True
    )
    assert outcome.merged == (1, 2)
    assert (checkout / "README.md").read_text() == "start\none\ntwo\n"
    assert "mine" not in git(checkout, "log", "--format=%s", f"{tip}..main").split("\n")
    assert git(checkout, "config", "core.hooksPath", check=False) == ""


def test_what_a_resolver_changes_in_the_main_checkout_is_told_and_saved(
    checkout: Path, repository: Repository, journal: Journal, tmp_path: Path
) -> None:
    conflicting(checkout, repository, journal)
    script = f"{GOOD}; echo out > ../beside.txt"
    told: list[str] = []
    shop = replace(workshop(journal, mender(tmp_path, script)), warn=told.append)
    outcome = land(repository, journal, 1, 2, shop=shop, resolve=True)
    assert outcome.merged == (1, 2)
    (warning,) = outcome.warnings
    assert told == [warning]
    assert warning.startswith("while mender resolved, the main checkout changed: beside.txt (it or you; nothing was")
    patch = journal.run_dir("run") / "resolve-2-main-checkout.patch"
    assert str(patch) in warning
    git(checkout, "apply", "-R", str(patch))
    assert not (checkout / "beside.txt").exists()


def test_a_resolver_that_stays_in_its_place_is_no_warning(
    checkout: Path, repository: Repository, journal: Journal, tmp_path: Path
) -> None:
    conflicting(checkout, repository, journal)
    outcome = land(repository, journal, 1, 2, shop=workshop(journal, mender(tmp_path, GOOD)), resolve=True)
    assert (outcome.warnings, outcome.cost) == ((), None)  # a program that does not tell what it costs
    assert list(journal.run_dir("run").glob("*.patch")) == []


def test_single_result_that_conflicts_can_be_resolved(
    checkout: Path, repository: Repository, journal: Journal, tmp_path: Path
) -> None:
    ended_run(repository, journal, "run", {"README.md": "theirs\n"})
    commit(checkout, {"README.md": "mine\n"})
    before = everything(checkout)
    slow = workshop(journal, mender(tmp_path, "sleep 60", timeout_s=0.5))
    assert land(repository, journal, 1, shop=slow, resolve=True).commit is None
    assert everything(checkout) == before
    outcome = land(repository, journal, 1, shop=workshop(journal, mender(tmp_path, GOOD)), resolve=True)
    assert outcome.merged == (1,)
    assert "mine\n" in (checkout / "README.md").read_text()
    take_back(repository, journal)
    assert everything(checkout) == before


# The branch of the combination


def test_merged_branch_goes_with_cleanup_when_it_is_merged(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"})
    land(repository, journal, pick=Pick.ALL)
    landed = everything(checkout)
    done = cleanup.execute(repository, journal, cleanup.plan_cleanup(repository, journal))
    assert [each.branch for each in done.removed][-1] == "architect/merged-run"
    assert git(checkout, "for-each-ref", "refs/heads/architect") == ""
    take_back(repository, journal)
    assert everything(checkout) == landed


def test_unmerged_combination_does_not_make_its_workers_merged(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"})
    land(repository, journal, pick=Pick.ALL)
    git(checkout, "reset", "-q", "--hard", "HEAD@{1}")
    done = cleanup.execute(repository, journal, cleanup.plan_cleanup(repository, journal))
    stays = [each.name for each in done.stays]
    assert stays == ["architect/parallel-1", "architect/parallel-2", "architect/merged-run"]


def test_taken_name_is_not_taken_over(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"}, {"c.txt": "c\n"})
    git(checkout, "branch", "architect/merged-run")
    mine = git(checkout, "rev-parse", "architect/merged-run")
    assert land(repository, journal, 1, 2).branch == "architect/merged-run-2"
    assert git(checkout, "rev-parse", "architect/merged-run") == mine


def test_branch_the_user_went_on_with_stays(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"})
    land(repository, journal, pick=Pick.ALL)
    git(checkout, "checkout", "-q", "architect/merged-run")
    added = commit(checkout, {"mine.txt": "m\n"})
    git(checkout, "checkout", "-q", "main")
    plan = undo.plan_undo(repository, journal)
    undo.execute(repository, journal, plan)
    assert any("it has moved to" in line for line in plan.lines)
    assert git(checkout, "rev-parse", "architect/merged-run") == added


NAMES = st.sampled_from(["a.txt", "d/b.txt", "README"])
WORK = st.dictionaries(NAMES, st.sampled_from(["1\n", "1\n2\n", "2\n1\n", "3\n"]), min_size=1, max_size=2)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    work=st.lists(WORK, min_size=2, max_size=3),
    method=st.sampled_from(Method),
    checked=st.booleans(),
    moved=st.booleans(),
)
def test_merge_and_undo_leave_the_repository_as_it_was(
    work: list[dict[str, str]], method: Method, checked: bool, moved: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = make_repository(Path(folder) / "repo", {"README": "r\n"})
        repository = open_repository(root)
        with Journal.open(repository.state_dir) as journal:
            ended_run(repository, journal, "run", *work, checks=("test ! -e d/b.txt",) if checked else ())
            if moved:
                commit(root, {"README": "1\n"})
            write(root, {"untracked": "u\n"})
            before, places = everything(root), ignored(root)
            try:
                outcome = land(repository, journal, pick=Pick.ALL, method=method)
            except NothingToDo:
                return
            assert set(outcome.merged) | {each.worker_id for each in outcome.left_out} <= set(range(1, len(work) + 1))
            if outcome.commit is not None:
                assert git(root, "rev-parse", "main") == outcome.commit
                take_back(repository, journal)
            assert (everything(root), ignored(root)) == (before, places)
