"""Cleanup takes what the tool made, keeps what is not landed, and loses nothing even by force."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.landing_runs import MadeRun, begin_run, commit, ended_run, everything, write
from support.repositories import git, make_repository

from architect_parallel.domain import RunStatus
from architect_parallel.errors import NothingToDo
from architect_parallel.events import AgentExited, AgentStarted
from architect_parallel.journal import Journal
from architect_parallel.landing import merge
from architect_parallel.landing.cleanup import CleanupOutcome, execute, plan_cleanup
from architect_parallel.repository.registry import write_owner
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.system.git import Repository, open_repository
from architect_parallel.worktrees.places import highest_number
from architect_parallel.worktrees.temporary import temporary_worktree_path


@pytest.fixture
def journal(repository: Repository) -> Iterator[Journal]:
    with Journal.open(repository.state_dir) as opened:
        yield opened


def clean(repository: Repository, journal: Journal, **options: object) -> CleanupOutcome:
    return execute(repository, journal, plan_cleanup(repository, journal, **options))  # type: ignore[arg-type]  # as given


def branches(checkout: Path) -> list[str]:
    listed = git(checkout, "for-each-ref", "--format=%(refname:short)", "refs/heads/architect").splitlines()
    return [name.removeprefix("architect/parallel-") for name in listed]


def stays(outcome: CleanupOutcome) -> list[tuple[int | None, str, str]]:
    return [(each.worker_id, each.what, each.reason) for each in outcome.stays]


def kept(checkout: Path, run_id: str, number: int) -> list[str]:
    """Commits under the keep refs of this number."""
    listed = git(checkout, "for-each-ref", "--format=%(refname) %(objectname)", f"refs/architect/keep/{run_id}")
    found = [line.split() for line in listed.splitlines()]
    return [commit_id for ref, commit_id in found if ref.split("/")[-1].split("-")[0] == str(number)]


def test_merged_and_empty_go_and_unmerged_branches_stay(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    run = ended_run(repository, journal, "run", {"a.txt": "a\n"}, None, {"c.txt": "c\n"})
    merge.execute(repository, journal, merge.plan_merge(repository, journal, "run", 1))
    outcome = clean(repository, journal)
    assert [run.worktree(n).exists() for n in (1, 2, 3)] == [False, False, False]
    assert branches(checkout) == ["3"]
    assert stays(outcome) == [(3, "branch", "it is not merged")]
    assert outcome.stays[0].hint is not None
    assert "architect merge run 3" in outcome.stays[0].hint
    assert git(checkout, "worktree", "list", "--porcelain").count("worktree ") == 1
    assert git(checkout, "status", "--porcelain") == ""
    again = clean(repository, journal)
    assert again.removed == ()
    assert stays(again) == stays(outcome)


@pytest.mark.parametrize("how", ["squash", "rebase", "merge", "cherry-pick one by one"])
def test_work_that_landed_counts_as_merged_however_it_landed(
    checkout: Path, repository: Repository, journal: Journal, how: str
) -> None:
    run = begin_run(repository, journal, "run")
    place = run.start(1)
    commit(place, {"a.txt": "a\n"}, "one")
    commit(place, {"README.md": "changed\n"}, "two")
    run.finish(1)
    run.end()
    commit(checkout, {"mine.txt": "m\n"})
    match how:
        case "squash":
            git(checkout, "merge", "-q", "--squash", run.branch(1))
            git(checkout, "commit", "-q", "-m", "squashed")
        case "rebase":
            plan = merge.plan_merge(repository, journal, "run", 1, method=merge.Method.REBASE)
            merge.execute(repository, journal, plan)
        case "merge":
            git(checkout, "merge", "-q", "--no-edit", run.branch(1))
        case _:
            git(checkout, "cherry-pick", f"{run.base}..{run.branch(1)}")
    commit(checkout, {"README.md": "and main went on\n"})
    git(checkout, "checkout", "-q", "-b", "elsewhere", run.base)  # any local branch counts, not only the current one
    if how in ("squash", "rebase", "cherry-pick one by one"):
        control = subprocess.run(["git", "branch", "-d", run.branch(1)], cwd=checkout, capture_output=True, check=False)
        assert control.returncode != 0, "git itself does not see that this is merged"
    assert stays(clean(repository, journal)) == []
    assert branches(checkout) == []


def test_branch_merged_only_into_another_workers_branch_stays(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    run = ended_run(repository, journal, "run", {"a.txt": "a\n"}, None)
    git(run.worktree(2), "merge", "-q", "--ff-only", run.branch(1))
    outcome = clean(repository, journal)
    assert branches(checkout) == ["1", "2"], "each is contained in the other; both gone would be work lost"
    assert [what for _, what, _ in stays(outcome)] == ["branch", "branch"]


DIRT = {
    "edited": {"README.md": "typed after the run\n"},
    "untracked": {"thought.txt": "mine\n"},
    "deleted": {"slug.sh": None},
    "odd name": {os.fsdecode(b"caf\xe9\nx"): "y\n"},
}


@pytest.mark.parametrize("dirt", DIRT)
def test_dirty_worktree_stays_and_is_named(checkout: Path, repository: Repository, journal: Journal, dirt: str) -> None:
    run = ended_run(repository, journal, "run", None)
    write(run.worktree(1), DIRT[dirt])  # type: ignore[arg-type]  # a plain dict of dicts
    before = everything(checkout)
    outcome = clean(repository, journal)
    assert everything(checkout) == before
    assert outcome.removed == ()
    ((worker_id, what, reason),) = stays(outcome)
    assert (worker_id, what) == (1, "worktree")
    assert reason.startswith("it has uncommitted changes: ")
    assert branches(checkout) == ["1"], "the branch of a worktree that stays stays"
    # Control: the naive way takes it.
    git(checkout, "worktree", "remove", "--force", run.worktree(1))
    assert not run.worktree(1).exists()


def test_staged_and_then_reverted_work_is_dirty_or_kept(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    run = ended_run(repository, journal, "run", None)
    write(run.worktree(1), {"only-in-index.txt": "staged\n"})
    git(run.worktree(1), "add", "only-in-index.txt")
    (run.worktree(1) / "only-in-index.txt").unlink()
    clean(repository, journal)
    (state,) = kept(checkout, "run", 1)
    assert git(checkout, "show", f"{state}^2:only-in-index.txt") == "staged"


def test_force_takes_dirty_and_unmerged_and_keeps_their_state(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    run = ended_run(repository, journal, "run", {"a.txt": "a\n"})
    tip = run.tip(1)
    write(run.worktree(1), {"a.txt": "later\n", "untracked/ü": "u\n", "slug.sh": None, "x.log": "l\n"})
    write(run.worktree(1), {".gitignore": "*.log\n"})
    outcome = clean(repository, journal, force=True)
    assert stays(outcome) == []
    assert not run.worktree(1).exists()
    assert branches(checkout) == []
    (state,) = kept(checkout, "run", 1)
    assert git(checkout, "show", f"{state}:a.txt") == "later"
    assert git(checkout, "show", f"{state}:untracked/ü") == "u"
    assert git(checkout, "rev-parse", f"{state}^1") == tip
    listed = git(checkout, "ls-tree", "-r", "--name-only", state)
    assert "slug.sh" not in listed
    assert "x.log" not in listed, "ignored files are not kept"
    git(checkout, "reflog", "expire", "--expire=now", "--all")
    git(checkout, "gc", "-q", "--prune=now")
    assert git(checkout, "show", f"{state}:a.txt") == "later", "and it outlives git's own collection"


def test_second_forced_cleanup_of_a_number_keeps_the_first(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    tips = []
    for name in ("first", "second"):
        tips.append(ended_run(repository, journal, name, {f"{name}.txt": "x\n"}).tip(1))
        clean(repository, journal, force=True)
    assert kept(checkout, "first", 1) == [tips[0]]
    assert kept(checkout, "second", 1) == [tips[1]]
    assert highest_number(repository) == 0


def test_locked_worktree_stays_even_by_force(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", None)
    git(checkout, "worktree", "lock", "--reason", "on a stick", run.worktree(1))
    outcome = clean(repository, journal, force=True)
    assert stays(outcome) == [(1, "worktree", "it is locked: on a stick")]
    assert run.worktree(1).exists()


def test_repository_inside_a_worktree_stays_without_force(repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", None)
    git(run.worktree(1), "init", "-q", "vendored")
    outcome = clean(repository, journal)
    assert [reason for _, _, reason in stays(outcome)] == ["a repository of its own is in it: vendored"]
    assert (run.worktree(1) / "vendored" / ".git").is_dir()


def test_live_run_stays_and_is_named(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = begin_run(repository, journal, "run")
    run.start(1)
    before = everything(checkout)
    outcome = clean(repository, journal, force=True)
    assert stays(outcome) == [
        (None, "run", "it is still running"),
        (1, "worktree", "its run is still running"),
    ]
    assert everything(checkout) == before
    run.end()
    assert stays(clean(repository, journal)) == []
    assert not run.worktree(1).exists()


def test_run_taken_up_again_since_the_plan_is_left_alone(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    run = ended_run(repository, journal, "run", None)
    plan = plan_cleanup(repository, journal)
    with Journal.open(repository.state_dir) as elsewhere:
        lock = elsewhere.hold("run")
        assert lock is not None
        outcome = execute(repository, journal, plan)
        lock.release()
    assert stays(outcome) == [
        (None, "run", "it is still running"),
        (1, "worktree", "its run is still running"),
    ]
    assert run.worktree(1).exists()
    assert journal.operations() == []


def test_edit_since_the_plan_stays(repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", None, None)
    plan = plan_cleanup(repository, journal, force=True)
    write(run.worktree(1), {"README.md": "typed while the plan was shown\n"})
    outcome = execute(repository, journal, plan)
    assert [(each.worker_id, each.reason) for each in outcome.stays] == [(1, "it has changed meanwhile")]
    assert (run.worktree(1) / "README.md").read_text() == "typed while the plan was shown\n"
    assert not run.worktree(2).exists()


def test_commit_since_the_plan_keeps_its_branch(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", None)
    git(checkout, "worktree", "remove", run.worktree(1))
    plan = plan_cleanup(repository, journal)
    assert plan.items[0].branch
    new = git(checkout, "commit-tree", "-p", run.base, "-m", "late", f"{run.base}^{{tree}}")
    git(checkout, "update-ref", f"refs/heads/{run.branch(1)}", new)
    outcome = execute(repository, journal, plan)
    assert [each.what for each in outcome.stays] == ["branch"]
    assert run.tip(1) == new


def test_what_others_made_under_our_names_stays(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", None, None)
    git(checkout, "branch", "architect/parallel-99")
    git(checkout, "branch", "architect/parallel-experiment")
    git(checkout, "worktree", "add", "-q", checkout / ".architect-parallel-50", "-b", "architect/parallel-50")
    # Number 2 was removed by its user, who then made an own branch and worktree of the same names.
    git(checkout, "worktree", "remove", run.worktree(2))
    git(checkout, "branch", "-qD", run.branch(2))
    git(checkout, "worktree", "add", "-q", run.worktree(2), "-b", run.branch(2))
    outcome = clean(repository, journal, force=True)
    assert branches(checkout) == ["2", "50", "99", "experiment"]
    assert run.worktree(2).exists()
    assert (checkout / ".architect-parallel-50").exists()
    assert [each.worker_id for each in outcome.removed] == [1]


def test_names_of_a_later_run_are_not_the_earlier_runs(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    ended_run(repository, journal, "old", None)
    clean(repository, journal)
    new = begin_run(repository, journal, "new")
    new.start(1)
    outcome = clean(repository, journal, run="old", force=True)
    assert (outcome.removed, outcome.stays) == ((), ())
    assert new.worktree(1).exists()
    new.end()


def test_one_run_may_be_named(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(repository, journal, "one", None)
    ended_run(repository, journal, "two", None, first=2)
    clean(repository, journal, run="two")
    assert branches(checkout) == ["1"]
    with pytest.raises(NothingToDo):
        plan_cleanup(repository, journal, run="three")


def test_branches_can_be_kept(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", None, {"a.txt": "a\n"})
    outcome = clean(repository, journal, keep_branches=True)
    assert branches(checkout) == ["1", "2"]
    assert outcome.stays == ()
    assert not run.worktree(1).exists()


def test_a_plan_changes_nothing(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", {"a.txt": "a\n"}, None)
    write(run.worktree(1), {"dirty.txt": "d\n"})
    before = everything(checkout)
    refs = git(checkout, "for-each-ref")
    plan = plan_cleanup(repository, journal, force=True)
    assert [(item.worktree, item.branch) for item in plan.items] == [(True, True), (True, True)]
    assert everything(checkout) == before
    assert git(checkout, "for-each-ref") == refs
    assert journal.operations() == []


def test_agents_commits_off_its_branch_are_not_lost(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", None, None)
    git(run.worktree(1), "checkout", "-q", "--detach")
    lost = commit(run.worktree(1), {"a.txt": "a\n"})
    git(run.worktree(2), "checkout", "-q", "-b", "feature")
    commit(run.worktree(2), {"b.txt": "b\n"})
    outcome = clean(repository, journal)
    assert stays(outcome) == [(1, "worktree", "its HEAD is on no branch")]
    assert not run.worktree(2).exists(), "its commits are on a branch that stays"
    assert git(checkout, "branch", "--list", "feature").strip() == "feature"
    assert stays(clean(repository, journal, force=True)) == []
    assert lost in kept(checkout, "run", 1)


def test_nothing_the_agent_configured_runs(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = begin_run(repository, journal, "run")
    place = run.start(1)
    private = PrivateGit.create(repository, journal.run_dir("run") / "git" / "worker-1-1", place)
    trap = checkout.parent / "ran"
    write(place, {".gitattributes": "* filter=evil diff=evil merge=evil\n", "hidden.txt": "hide me\n", "a.txt": "a\n"})
    for name in (
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.evil.process",
        "core.fsmonitor",
        "merge.evil.driver",
    ):
        git(place, "config", name, f"touch '{trap}'; cat")
    (checkout / ".git" / "info" / "exclude").write_text("hidden.txt\n.gitattributes\n.architect*\n")
    hooks = checkout / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch '{trap}'\n")
        (hooks / name).chmod(0o755)
    assert private.write_tree().tree
    run.finish(1)
    run.end()
    trap.unlink(missing_ok=True)  # what the plain git of the test itself set off
    outcome = clean(repository, journal)
    assert [what for _, what, _ in stays(outcome)] == ["worktree"]
    assert "hidden.txt" in " ".join(kept(checkout, "run", 1)) or run.worktree(1).exists()
    assert stays(clean(repository, journal, force=True)) == []
    assert not trap.exists()
    tree = git(checkout, "ls-tree", "-r", "--name-only", kept(checkout, "run", 1)[0])
    assert "hidden.txt" in tree, "an agent cannot hide its files by the repository's ignore rules"
    # Control: plain git runs the agent's program.
    git(checkout, "worktree", "add", "-q", checkout.parent / "naive", run.base)
    write(checkout.parent / "naive", {".gitattributes": "* filter=evil\n", "a.txt": "a\n"})
    git(checkout.parent / "naive", "add", "a.txt", check=False)
    assert trap.exists()


LAUNCHER = """
import sys, time
from pathlib import Path
from architect_parallel.events import AgentExited, AgentStarted
from architect_parallel.journal import Journal
from architect_parallel.system.git import open_repository
from support.landing_runs import begin_run
repository = open_repository(Path(sys.argv[1]))
run = begin_run(repository, Journal.open(repository.state_dir), "killed", workers=3)
run.start(1)
run.start(2)
(run.worktree(2) / "half.txt").write_text("what the agent had written\\n")
print("ready", flush=True)
time.sleep(60)
"""


def test_what_a_killed_launcher_left_is_cleaned_up(checkout: Path, repository: Repository, journal: Journal) -> None:
    script = [sys.executable, "-c", LAUNCHER, os.fspath(checkout)]
    paths = os.pathsep.join(map(str, (Path(__file__).parents[1], Path(__file__).parents[2])))
    with subprocess.Popen(script, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": paths}) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == b"ready\n"
        assert stays(clean(repository, journal)) == [
            (None, "run", "it is still running"),
            (1, "worktree", "its run is still running"),
            (2, "worktree", "its run is still running"),
        ]
        launcher.kill()
        launcher.wait()
    assert journal.result("killed").status is RunStatus.INTERRUPTED
    outcome = clean(repository, journal)
    assert stays(outcome) == [(2, "worktree", "it has uncommitted changes: half.txt")]
    assert branches(checkout) == ["2"]
    assert stays(clean(repository, journal, force=True)) == []
    assert git(checkout, "show", f"{kept(checkout, 'killed', 2)[0]}:half.txt") == "what the agent had written"
    assert highest_number(repository) == 0


def test_worktree_stays_while_its_agent_is_being_stopped(repository: Repository, journal: Journal) -> None:
    run = begin_run(repository, journal, "run", workers=2)
    with subprocess.Popen(["sleep", "60"]) as supervisor:
        for worker_id in (1, 2):
            run.start(worker_id)
            started = AgentStarted(supervisor_pid=supervisor.pid, agent_pid=1, argv=("agent",))
            journal.append([("run", worker_id, started)])
        journal.append([("run", 2, AgentExited(exit_code=0, leaked=0, peak_memory_bytes=None))])
        run.die()
        outcome = clean(repository, journal, force=True)
        assert stays(outcome) == [(1, "worktree", "its agent is still being stopped")]
        assert (run.worktree(1).exists(), run.worktree(2).exists()) == (True, False)
        supervisor.kill()
    assert stays(clean(repository, journal)) == []


def test_number_of_a_dead_supervisor_given_to_another_process_is_not_it(
    repository: Repository, journal: Journal
) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    with Journal.open(repository.state_dir, now=lambda: long_ago) as earlier:
        run = begin_run(repository, earlier, "run")
        run.start(1)
        earlier.append([("run", 1, AgentStarted(supervisor_pid=os.getpid(), agent_pid=1, argv=("agent",)))])
        run.die()
    assert stays(clean(repository, journal)) == []


def half_branch(run: MadeRun) -> None:
    """Killed after the branch, before the registration."""
    run.start(1)
    git(run.repository.root, "worktree", "remove", "--force", run.worktree(1))


def half_registration(run: MadeRun) -> None:
    """Killed in `git worktree add`: a locked registration that names no place."""
    half_branch(run)
    admin = run.repository.common_dir / "worktrees" / "-architect-parallel-1"
    admin.mkdir(parents=True)
    (admin / "locked").write_text("initializing\n")


def half_checkout(run: MadeRun) -> None:
    """Killed in the checkout: some files, no index."""
    path = run.start(1)
    (path / "slug.sh").unlink()
    Path(git(path, "rev-parse", "--absolute-git-dir"), "index").unlink()


def half_removal(run: MadeRun) -> None:
    """Killed in a removal: no tree any more, but its registration."""
    path = run.start(1)
    os.rename(path, run.repository.root.parent / "gone")


@pytest.mark.parametrize("half", [half_branch, half_registration, half_checkout, half_removal])
def test_half_made_worktree_goes(checkout: Path, repository: Repository, journal: Journal, half: object) -> None:
    run = begin_run(repository, journal, "run")
    assert callable(half)
    half(run)
    run.die()
    outcome = clean(repository, journal)
    assert stays(outcome) == []
    assert branches(checkout) == []
    assert not run.worktree(1).exists()
    assert not (repository.common_dir / "worktrees").exists()
    assert clean(repository, journal).removed == ()


def test_half_made_worktree_with_something_in_it_stays(repository: Repository, journal: Journal) -> None:
    run = begin_run(repository, journal, "run")
    half_checkout(run)
    (run.worktree(1) / "note.txt").write_text("somebody's\n")
    run.die()
    outcome = clean(repository, journal)
    assert [(what, each) for _, what, each in stays(outcome)] == [("worktree", "something is in it")]
    assert (run.worktree(1) / "note.txt").read_text() == "somebody's\n"


def test_bulk_of_a_finished_run_goes_and_its_logs_stay(repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", None, {"a.txt": "a\n"})
    place = journal.run_dir("run")
    for name in ("git/worker-1-1/objects", "state/worker-1/home", "logs/worker-1.log", "prompts/1"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("x")
    write(run.worktree(2), {"dirty.txt": "d\n"})
    clean(repository, journal)
    assert (place / "git").exists(), "a worktree is left that needs it"
    clean(repository, journal, force=True)
    assert sorted(path.name for path in place.iterdir()) == ["lock", "logs", "prompts"]


def test_from_inside_the_worktree_it_stays(repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", None, None)
    here = open_repository(run.worktree(1))
    outcome = clean(here, journal)
    assert stays(outcome) == [(1, "worktree", "you are in it")]
    assert not run.worktree(2).exists()


@pytest.mark.parametrize("force", [False, True])
def test_another_repository_at_a_worktrees_path_stays(
    checkout: Path, repository: Repository, journal: Journal, force: bool
) -> None:
    run = ended_run(repository, journal, "run", None)
    place = run.worktree(1)
    shutil.rmtree(place)
    make_repository(place)
    only_here = commit(place, {"own.txt": "own\n"})
    # Control: git refuses as well.
    assert "not a .git file" in subprocess.run(
        ["git", "worktree", "remove", "--force", place], cwd=checkout, capture_output=True, text=True, check=False
    ).stderr  # fmt: skip
    outcome = clean(repository, journal, force=force)
    assert stays(outcome) == [(1, "worktree", "another repository is in its place")]
    assert outcome.removed == ()
    assert git(place, "rev-parse", "HEAD") == only_here
    assert branches(checkout) == ["1"]
    place.rename(checkout.parent / "elsewhere")  # what the hint says
    assert stays(clean(repository, journal)) == []


def test_another_repository_in_place_of_a_base_tree_stays(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    ended_run(repository, journal, "run", None)
    place = make_repository(temporary_worktree_path(repository, "run"))
    outcome = clean(repository, journal, force=True)
    assert stays(outcome) == [(None, "worktree", "another repository is in its place")]
    assert git(place, "log", "--format=%s") == "first"


def test_every_worktree_that_stays_is_named(checkout: Path, repository: Repository, journal: Journal) -> None:
    locked = ended_run(repository, journal, "locked", None)
    git(checkout, "worktree", "lock", "--reason", "on a stick", locked.worktree(1))
    base_tree = temporary_worktree_path(repository, "locked")
    git(checkout, "worktree", "add", "-q", "--detach", base_tree)
    write_owner(Path(git(base_tree, "rev-parse", "--absolute-git-dir")), "locked")
    git(checkout, "worktree", "lock", base_tree)
    live = begin_run(repository, journal, "live", workers=2, first=2)
    live.start(1)
    lost = checkout / ".architect-parallel-9"
    git(checkout, "worktree", "add", "-q", "-b", "architect/parallel-9", lost)
    write_owner(Path(git(lost, "rev-parse", "--absolute-git-dir")), "forgotten")
    outcome = clean(repository, journal, force=True)
    assert outcome.removed == ()
    assert {(each.what, each.name, each.worker_id): each.reason for each in outcome.stays} == {
        ("run", "live", None): "it is still running",
        ("worktree", str(live.worktree(1)), 1): "its run is still running",
        ("worktree", str(locked.worktree(1)), 1): "it is locked: on a stick",
        ("worktree", str(base_tree), None): "it is locked: no reason given",
        ("worktree", str(lost), None): "the journal has no run forgotten",
    }
    live.die()


def test_failure_at_one_worker_does_not_stop_the_others(
    repository: Repository, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ended_run(repository, journal, "run", None, None)
    renamed = os.rename

    def refuse(source: Path, target: Path) -> None:
        if source == run.worktree(1):
            raise PermissionError(13, "Permission denied", str(source))
        renamed(source, target)

    monkeypatch.setattr(os, "rename", refuse)  # the tests may run as root, whom no permission stops
    outcome = clean(repository, journal)
    assert [(each.worker_id, each.failed) for each in outcome.stays] == [(1, True)]
    assert run.worktree(1).exists()
    assert not run.worktree(2).exists()
    assert [len(each.payload["removals"]) for each in journal.operations()] == [1]


def test_nothing_to_do_is_nothing(repository: Repository, journal: Journal) -> None:
    outcome = clean(repository, journal)
    assert (outcome.removed, outcome.stays) == ((), ())
    assert not repository.state_dir.exists()
