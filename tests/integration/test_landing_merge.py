"""Merging one result: wholly or not at all, over nobody's work, and the target last."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.landing_runs import begin_run, commit, ended_run, everything, write
from support.repositories import git

from architect_parallel.domain import Reason, RunStatus, Status
from architect_parallel.errors import EnvironmentProblem, NothingToDo, UsageError
from architect_parallel.journal import Journal
from architect_parallel.landing import target_branch as target_module
from architect_parallel.landing.merge import Method, execute, plan_merge
from architect_parallel.landing.target_branch import Target, find_target, move
from architect_parallel.system.git import Git, GitError, Repository, open_repository


@pytest.fixture
def journal(repository: Repository) -> Iterator[Journal]:
    with Journal.open(repository.state_dir) as opened:
        yield opened


def head(place: Path) -> str:
    return git(place, "rev-parse", "HEAD")


def parents(place: Path, commit_id: str = "HEAD") -> list[str]:
    return git(place, "rev-list", "--parents", "-n1", commit_id).split()[1:]


def test_branch_ahead_of_the_target_is_a_fast_forward(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", {"new.txt": "new\n", "README.md": "changed\n", "slug.sh": None})
    plan = plan_merge(repository, journal, "run", 1)
    assert head(checkout) == run.base, "a plan moves nothing"
    execute(repository, journal, plan)
    assert head(checkout) == run.tip(1) == plan.commit
    assert plan.fast_forward
    assert plan.merged == (1,)
    assert plan.files == ("README.md", "new.txt", "slug.sh")
    assert git(checkout, "status", "--porcelain") == ""
    assert (checkout / "new.txt").read_text() == "new\n"
    assert not (checkout / "slug.sh").exists()
    assert git(checkout, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert "architect merge: run run worker 1" in git(checkout, "reflog", "-1", "HEAD")


def test_target_that_went_on_gets_a_merge_commit(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", {"new.txt": "new\n"})
    ours = commit(checkout, {"mine.txt": "mine\n"})
    execute(repository, journal, plan_merge(repository, journal, "run", 1))
    assert parents(checkout) == [ours, run.tip(1)]
    assert git(checkout, "log", "-1", "--format=%s") == "Merge branch 'architect/parallel-1' into main"
    assert "teach it ü and more" in git(checkout, "log", "-1", "--format=%b")
    assert (checkout / "new.txt").exists()
    assert (checkout / "mine.txt").exists()
    assert git(checkout, "status", "--porcelain") == ""


def test_merge_gives_the_tree_that_git_merge_gives(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(
        repository, journal, "run", {"docs/README.md": "moved\n", "README.md": None, "slugger/slug.py": "x = 1\n"}
    )
    commit(checkout, {"README.md": "# slugger\n\nours\n" * 3, "b.txt": "b\n"})
    commit(checkout, {"README.md": (git(checkout, "show", "HEAD~1:README.md") + "\n")})
    git(checkout, "worktree", "add", "-q", "--detach", checkout.parent / "other")
    git(checkout.parent / "other", "merge", "--no-edit", "architect/parallel-1")
    execute(repository, journal, plan_merge(repository, journal, "run", 1))
    assert git(checkout, "rev-parse", "HEAD^{tree}") == git(checkout.parent / "other", "rev-parse", "HEAD^{tree}")


def test_merge_ff_setting_is_honoured(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", {"new.txt": "new\n"})
    git(checkout, "config", "merge.ff", "false")
    execute(repository, journal, plan_merge(repository, journal, "run", 1))
    assert parents(checkout) == [run.base, run.tip(1)]
    later = ended_run(repository, journal, "later", {"more.txt": "more\n"}, first=2)
    commit(checkout, {"mine.txt": "mine\n"})
    git(checkout, "config", "merge.ff", "only")
    with pytest.raises(EnvironmentProblem, match=r"merge\.ff"):
        plan_merge(repository, journal, later.run_id, 1)


def test_squash_lands_one_commit_of_the_task(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = begin_run(repository, journal, "run")
    place = run.start(1)
    commit(place, {"a.txt": "a\n"})
    commit(place, {"b.txt": "b\n"})
    run.finish(1)
    run.end()
    execute(repository, journal, plan_merge(repository, journal, "run", 1, method=Method.SQUASH))
    assert parents(checkout) == [run.base]
    assert git(checkout, "log", "-1", "--format=%s") == "teach it ü and more"
    assert (checkout / "a.txt").exists()
    assert (checkout / "b.txt").exists()


def test_rebase_puts_the_commits_on_top_with_their_authors(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    run = begin_run(repository, journal, "run")
    place = run.start(1)
    git(place, "config", "user.name", "An Agent")
    commit(place, {"a.txt": "a\n"}, "first ü\n\nwith a body")
    commit(place, {"twin.txt": "same\n"}, "what main gets as well")
    commit(place, {"README.md": "changed\n"}, "third")
    git(place, "config", "user.name", "The User")
    run.finish(1)
    run.end()
    ours = commit(checkout, {"twin.txt": "same\n"})
    execute(repository, journal, plan_merge(repository, journal, "run", 1, method=Method.REBASE))
    assert git(checkout, "log", "--reverse", "--format=%an|%cn|%s|%b", f"{ours}..").splitlines() == [
        "An Agent|The User|first ü|with a body", "", "An Agent|The User|third|",
    ]  # fmt: skip
    dates = git(checkout, "log", "--format=%at", f"{ours}.."), git(place, "log", "--format=%at", f"{run.base}..")
    assert set(dates[0].split()) <= set(dates[1].split())
    assert git(checkout, "rev-list", "--merges", "HEAD") == ""
    assert git(checkout, "status", "--porcelain") == ""


def test_branch_with_merges_is_not_rebased(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = begin_run(repository, journal, "run")
    place = run.start(1)
    git(place, "checkout", "-q", "-b", "side")
    commit(place, {"side.txt": "s\n"})
    git(place, "checkout", "-q", run.branch(1))
    commit(place, {"a.txt": "a\n"})
    git(place, "merge", "-q", "--no-edit", "side")
    run.finish(1)
    run.end()
    commit(checkout, {"mine.txt": "mine\n"})
    with pytest.raises(UsageError, match="merge commits"):
        plan_merge(repository, journal, "run", 1, method=Method.REBASE)


@pytest.mark.parametrize("method", Method)
def test_conflict_names_the_files_and_moves_nothing(
    checkout: Path, repository: Repository, journal: Journal, method: Method
) -> None:
    ended_run(repository, journal, "run", {"README.md": "theirs\n", "slugger/slug.py": None, "fine.txt": "f\n"})
    commit(checkout, {"README.md": "ours\n", "slugger/slug.py": "ours = 1\n"})
    before = everything(checkout)
    plan = plan_merge(repository, journal, "run", 1, method=method)
    assert plan.commit is None
    assert plan.merged == ()
    assert [(left.worker_id, left.reason) for left in plan.left_out] == [(1, "conflict")]
    assert plan.left_out[0].files == ("README.md", "slugger/slug.py")
    execute(repository, journal, plan)
    assert everything(checkout) == before
    assert journal.operations() == []


def test_file_names_that_are_not_text_survive(checkout: Path, repository: Repository, journal: Journal) -> None:
    names = [os.fsdecode(b"caf\xe9\nnew line"), 'quo"te', "-dash", "tab\tü"]
    ended_run(repository, journal, "run", dict.fromkeys(names, "x\n"))
    plan = plan_merge(repository, journal, "run", 1)
    execute(repository, journal, plan)
    assert set(plan.files) == set(names)
    assert all((checkout / name).read_text() == "x\n" for name in names)
    assert git(checkout, "status", "--porcelain") == ""


def test_other_branch_moves_without_touching_the_checkout(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    run = ended_run(repository, journal, "run", {"new.txt": "new\n"})
    git(checkout, "branch", "release/1")
    write(checkout, {"README.md": "dirty\n"})  # not the target's checkout: nobody's business
    execute(repository, journal, plan_merge(repository, journal, "run", 1, into="release/1"))
    assert git(checkout, "rev-parse", "release/1") == run.tip(1)
    assert head(checkout) == run.base
    assert git(checkout, "status", "--porcelain").strip() == "M README.md"


def test_target_in_another_worktree_gets_its_files(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(repository, journal, "run", {"new.txt": "new\n"})
    other = checkout.parent / "other"
    git(checkout, "worktree", "add", "-q", "-b", "dev", other)
    write(other, {"README.md": "dirty\n"})
    with pytest.raises(EnvironmentProblem, match=r"uncommitted changes: README\.md"):
        plan_merge(repository, journal, "run", 1, into="dev")
    git(other, "checkout", "-q", "README.md")
    execute(repository, journal, plan_merge(repository, journal, "run", 1, into="dev"))
    assert (other / "new.txt").exists()
    assert git(other, "status", "--porcelain") == ""
    assert not (checkout / "new.txt").exists()


def test_from_a_sub_directory_and_a_linked_worktree(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", {"new.txt": "new\n"})
    here = open_repository(checkout / "slugger")
    execute(here, journal, plan_merge(here, journal, "run", 1))
    assert head(checkout) == run.tip(1)
    with pytest.raises(NothingToDo):  # from its own worktree: the branch has itself already
        plan_merge(open_repository(run.worktree(1)), journal, "run", 1)


@pytest.mark.parametrize("staged", [False, True])
def test_dirty_target_is_left_alone(checkout: Path, repository: Repository, journal: Journal, staged: bool) -> None:
    ended_run(repository, journal, "run", {"new.txt": "new\n"})
    write(checkout, {"README.md": "my unsaved thought\n"})
    if staged:
        git(checkout, "add", "README.md")
    before = everything(checkout)
    with pytest.raises(EnvironmentProblem, match=r"README\.md") as problem:
        plan_merge(repository, journal, "run", 1)
    assert problem.value.exit_code == 3
    assert everything(checkout) == before


def test_untracked_files_are_not_dirt_unless_in_the_way(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    ended_run(repository, journal, "run", {"new.txt": "new\n"}, {"note.txt": "theirs\n"})
    write(checkout, {"note.txt": "mine\n"})
    execute(repository, journal, plan_merge(repository, journal, "run", 1))
    with pytest.raises(EnvironmentProblem, match=r"would be overwritten: note\.txt"):
        plan_merge(repository, journal, "run", 2)
    assert (checkout / "note.txt").read_text() == "mine\n"


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [(".env", ".env"), ("secret", "secret/inner.txt"), ("secret/inner.txt", "secret")],
    ids=["same file", "file where a folder comes", "folder where a file comes"],
)
def test_ignored_file_is_not_overwritten(
    checkout: Path, repository: Repository, journal: Journal, mine: str, theirs: str
) -> None:
    commit(checkout, {".gitignore": ".env\nsecret\n"})
    run = begin_run(repository, journal, "run")
    place = run.start(1)
    write(place, {theirs: "from the agent\n"})
    git(place, "add", "--force", theirs)
    git(place, "commit", "-q", "-m", "overwrites")
    run.finish(1)
    run.end()
    write(checkout, {mine: "KEY=mine\n"})
    with pytest.raises(EnvironmentProblem, match="would be overwritten"):
        plan_merge(repository, journal, "run", 1)
    assert (checkout / mine).read_text() == "KEY=mine\n"
    # Control: git itself holds ignored files expendable.
    git(checkout, "merge", "-q", run.branch(1))
    assert not (checkout / mine).is_file() or (checkout / mine).read_text() != "KEY=mine\n"


def test_folder_that_becomes_a_file_lands(checkout: Path, repository: Repository, journal: Journal) -> None:
    commit(checkout, {"thing/a": "a\n", "thing/b": "b\n"})
    ended_run(repository, journal, "run", {"thing/a": None, "thing/b": None})
    again = begin_run(repository, journal, "again", first=2)
    place = again.start(1)
    git(place, "rm", "-rq", "thing")
    commit(place, {"thing": "now a file\n"})
    again.finish(1)
    again.end()
    execute(repository, journal, plan_merge(repository, journal, "again", 1))
    assert (checkout / "thing").read_text() == "now a file\n"
    assert git(checkout, "status", "--porcelain") == ""


def test_target_that_moved_since_the_plan_is_not_moved(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    ended_run(repository, journal, "run", {"new.txt": "new\n"})
    git(checkout, "branch", "dev")
    on_main = plan_merge(repository, journal, "run", 1)
    on_dev = plan_merge(repository, journal, "run", 1, into="dev")
    commit(checkout, {"mine.txt": "mine\n"})
    git(checkout, "branch", "-f", "dev", "main")
    before = everything(checkout)
    for plan in (on_main, on_dev):
        with pytest.raises(EnvironmentProblem, match="meanwhile"):
            execute(repository, journal, plan)
        assert everything(checkout) == before
    # Control: a plain update-ref drops the commit that came in between.
    git(checkout, "update-ref", "refs/heads/dev", on_dev.commit or "")
    assert git(checkout, "rev-list", "dev..main") == head(checkout)


def test_switch_that_fails_midway_is_taken_back(checkout: Path, repository: Repository, journal: Journal) -> None:
    commit(checkout, {".gitattributes": "*.bad filter=broken\n", "z.txt": "old\n", "gone.txt": "still here\n"})
    ended_run(
        repository,
        journal,
        "run",
        {"a.txt": "a\n", "m.bad": "b\n", "README.md": "r\n", "z.txt": "z\n", "gone.txt": None},
    )
    git(checkout, "config", "filter.broken.clean", "cat")
    git(checkout, "config", "filter.broken.smudge", "false")
    git(checkout, "config", "filter.broken.required", "true")
    write(checkout, {"untracked.txt": "mine\n"})
    plan = plan_merge(repository, journal, "run", 1)
    before = everything(checkout)
    with pytest.raises(EnvironmentProblem, match="could not be updated"):
        execute(repository, journal, plan)
    assert everything(checkout) == before
    # Control: the plain two-tree switch leaves its half behind.
    git(checkout, "read-tree", "-m", "-u", "HEAD", plan.commit or "", check=False)
    assert git(checkout, "status", "--porcelain", "-uno") != ""


def test_edit_between_look_and_move_survives(
    checkout: Path, repository: Repository, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ended_run(repository, journal, "run", {"README.md": "theirs\n", "new.txt": "new\n"})
    plan = plan_merge(repository, journal, "run", 1)
    # The moment between the last look and the switch cannot be hit from outside; the look is what is left out.
    monkeypatch.setattr(target_module, "require_movable", lambda *_: None)
    write(checkout, {"README.md": "typed just now\n"})
    with pytest.raises(EnvironmentProblem):
        execute(repository, journal, plan)
    assert (checkout / "README.md").read_text() == "typed just now\n"
    assert head(checkout) == run.base


def test_branch_is_moved_last(
    checkout: Path, repository: Repository, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_run(repository, journal, "run", {"new.txt": "new\n"})
    plan = plan_merge(repository, journal, "run", 1)
    before = everything(checkout)
    ran = Git.run

    def fail_at_the_end(self: Git, *args: str, **options: object) -> object:
        if args[0] == "update-ref":
            assert (checkout / "new.txt").exists()
            raise GitError(args, 1, "somebody else was faster")
        return ran(self, *args, **options)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(Git, "run", fail_at_the_end)  # a race that cannot be won on purpose
    with pytest.raises(EnvironmentProblem, match="main could not be moved: somebody else was faster"):
        execute(repository, journal, plan)
    monkeypatch.undo()
    assert everything(checkout) == before
    assert journal.operations() == [], "a refused merge is no step to undo"


def test_merge_under_way_is_not_disturbed(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(repository, journal, "run", {"new.txt": "new\n"})
    git(checkout, "checkout", "-q", "-b", "side", "HEAD~1")
    git(checkout, "commit", "-q", "--allow-empty", "-m", "side")
    git(checkout, "checkout", "-q", "main")
    git(checkout, "merge", "-q", "--no-commit", "side")
    with pytest.raises(EnvironmentProblem, match=r"main has a merge in progress in .*merge --continue, or --abort"):
        plan_merge(repository, journal, "run", 1)


def test_hooks_and_signing_do_not_run(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(repository, journal, "run", {"new.txt": "new\n"})
    commit(checkout, {"mine.txt": "mine\n"})
    git(checkout, "config", "commit.gpgSign", "true")
    for name in ("post-merge", "post-checkout", "reference-transaction", "pre-merge-commit", "post-index-change"):
        hook = checkout / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch '{checkout.parent}/ran-{name}'\n")
        hook.chmod(0o755)
    execute(repository, journal, plan_merge(repository, journal, "run", 1))
    assert list(checkout.parent.glob("ran-*")) == []


def test_nothing_to_land_is_said(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(repository, journal, "run", None, {"new.txt": "new\n"}, {"other.txt": "o\n"})
    with pytest.raises(NothingToDo, match="changed nothing"):
        plan_merge(repository, journal, "run", 1)
    execute(repository, journal, plan_merge(repository, journal, "run", 2))
    for method in Method:
        with pytest.raises(NothingToDo, match="already has everything of worker 2"):
            plan_merge(repository, journal, "run", 2, method=method)
    execute(repository, journal, plan_merge(repository, journal, "run", 3, method=Method.SQUASH))
    for method in Method:
        with pytest.raises(NothingToDo, match="already has everything of worker 3"):
            plan_merge(repository, journal, "run", 3, method=method)


def test_what_does_not_exist_is_named(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(repository, journal, "run", {"new.txt": "new\n"})
    with pytest.raises(NothingToDo, match="no run 'nope'"):
        plan_merge(repository, journal, "nope", 1)
    for unknown in (0, 2):
        with pytest.raises(UsageError, match=f"no worker {unknown}"):
            plan_merge(repository, journal, "run", unknown)
    git(checkout, "tag", "v1")
    for into in ("nope", "v1", "", "HEAD", "main^0", "../main"):
        with pytest.raises(UsageError, match="no local branch"):
            plan_merge(repository, journal, "run", 1, into=into)


def test_detached_head_asks_for_a_branch(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(repository, journal, "run", {"new.txt": "new\n"})
    git(checkout, "checkout", "-q", "--detach")
    with pytest.raises(EnvironmentProblem, match="detached") as problem:
        plan_merge(repository, journal, "run", 1)
    assert problem.value.hint == "--into BRANCH"
    execute(repository, journal, plan_merge(repository, journal, "run", 1, into="main"))


def test_live_run_is_not_merged(repository: Repository, journal: Journal) -> None:
    run = begin_run(repository, journal, "run")
    commit(run.start(1), {"new.txt": "new\n"})
    run.finish(1)
    with pytest.raises(EnvironmentProblem, match="still running"):
        plan_merge(repository, journal, "run", 1)
    ended_run(repository, journal, "other", {"new.txt": "new\n"}, first=2)
    with pytest.raises(EnvironmentProblem, match="an agent is working"):
        plan_merge(repository, journal, "other", 1, into=run.branch(1))
    run.end()
    assert plan_merge(repository, journal, "run", 1).commit == run.tip(1)


def test_result_that_did_not_succeed_lands_with_a_warning(repository: Repository, journal: Journal) -> None:
    run = begin_run(repository, journal, "run")
    commit(run.start(1), {"new.txt": "new\n"})
    run.finish(1, Status.TIMEOUT, Reason.WORKER_TIMEOUT)
    run.end(RunStatus.FAILED)
    plan = plan_merge(repository, journal, "run", 1)
    assert plan.merged == (1,)
    assert plan.warnings == ("worker 1 did not succeed: timeout (worker_timeout)",)


def test_number_given_out_again_does_not_land_a_strangers_work(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    run = ended_run(repository, journal, "old", {"old.txt": "old\n"})
    collected = run.tip(1)
    git(checkout, "update-ref", "refs/architect/keep/old/1", collected)
    git(checkout, "worktree", "remove", "--force", run.worktree(1))
    git(checkout, "branch", "-qD", run.branch(1))
    ended_run(repository, journal, "new", {"new.txt": "new\n"})
    assert plan_merge(repository, journal, "old", 1).commit == collected
    assert plan_merge(repository, journal, "new", 1).files == ("new.txt",)


def test_commits_the_user_added_to_the_branch_land_too(repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", {"new.txt": "new\n"})
    added = commit(run.worktree(1), {"fix.txt": "by hand\n"})
    plan = plan_merge(repository, journal, "run", 1)
    assert plan.commit == added
    assert plan.warnings == (f"{run.branch(1)} has moved since worker 1 was collected: it lands as it is now",)


@pytest.mark.parametrize("how", ["while it ran", "without a word", "as a file"])
def test_what_came_to_the_branch_behind_the_users_back_does_not_land(
    repository: Repository, journal: Journal, how: str
) -> None:
    """Nobody has collected, checked or shown it. The branch itself stays as it is."""
    run = begin_run(repository, journal, "run")
    collected = commit(run.start(1), {"a.txt": "a\n"})
    run.finish(1)
    sneaked = git(repository.root, "commit-tree", "-p", collected, "-m", "more", f"{run.base}^{{tree}}")
    ref = f"refs/heads/{run.branch(1)}"
    if how == "while it ran":
        git(repository.root, "update-ref", ref, sneaked, env={"GIT_COMMITTER_DATE": "@1700000000 +0000"})
        run.end()
    else:
        run.end()
        if how == "as a file":
            (repository.common_dir / ref).write_text(f"{sneaked}\n")
        else:
            log = repository.common_dir / "logs" / ref
            before = log.read_bytes()
            git(repository.root, "update-ref", ref, sneaked)
            log.write_bytes(before)
    plan = plan_merge(repository, journal, "run", 1)
    assert plan.commit == collected
    assert plan.warnings == (
        f"{run.branch(1)} was moved to {sneaked[:12]} after its collection, and not by you: only what was collected "
        f"lands (git diff {collected[:12]} {sneaked[:12]})",
    )
    assert run.tip(1) == sneaked


def test_bare_repository_moves_its_branch(checkout: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", checkout, "bare.git")
    bare = open_repository(tmp_path / "bare.git")
    with Journal.open(bare.state_dir) as journal:
        run = ended_run(bare, journal, "run", {"new.txt": "new\n"})
        execute(bare, journal, plan_merge(bare, journal, "run", 1))
        assert git(bare.root, "rev-parse", "main") == run.tip(1)


def test_missing_identity_is_one_clear_line(
    checkout: Path, repository: Repository, journal: Journal, home: Path
) -> None:
    ended_run(repository, journal, "run", {"new.txt": "new\n"})
    commit(checkout, {"mine.txt": "mine\n"})
    (home / ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    with pytest.raises(EnvironmentProblem, match="has no identity"):
        plan_merge(repository, journal, "run", 1)


def test_branch_in_two_checkouts_is_refused(checkout: Path, repository: Repository) -> None:
    git(checkout, "worktree", "add", "-q", "--force", checkout.parent / "other", "main")
    with pytest.raises(EnvironmentProblem, match="several worktrees"):
        find_target(repository, "main")


def test_move_of_a_branch_nobody_has_needs_no_checkout(checkout: Path, repository: Repository) -> None:
    git(checkout, "branch", "dev", "HEAD~1")
    target = find_target(repository, "dev")
    assert target == Target(branch="dev", tip=git(checkout, "rev-parse", "HEAD~1"), checkout=None)
    move(repository, target, head(checkout), message="forward")
    assert git(checkout, "rev-parse", "dev") == head(checkout)
    with pytest.raises(EnvironmentProblem, match="moved meanwhile"):
        move(repository, target, head(checkout), message="again, from where it was")
