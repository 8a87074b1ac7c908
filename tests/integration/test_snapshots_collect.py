"""`workers.collect`: where the result goes, and that every commit the agent made is in its history."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import pytest
from support.repositories import git, make_repository
from support.worksites import BRANCH, FILES, Worksite, content, make_worksite, on_disk

from architect_parallel.domain import WorkerSpec
from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem
from architect_parallel.snapshots.collect import message_for
from architect_parallel.snapshots.private_git import PrivateGit

KEPT = "refs/architect/keep/20260101-abc/1"


@pytest.fixture
def site(tmp_path: Path) -> Worksite:
    return make_worksite(tmp_path)


def subjects(site: Worksite, commit: str) -> set[str]:
    """Subjects of everything in a commit's history."""
    return set(git(site.repository.common_dir, "log", "--format=%s", commit).splitlines())


def status(site: Worksite) -> str:
    return git(site.worktree, "status", "--porcelain")


def test_uncommitted_work_becomes_a_commit_and_the_worktree_is_clean(site: Worksite) -> None:
    site.act("echo after > change.txt; echo x > x; git add x")
    collection = site.collect()
    assert collection.warnings == ()
    assert collection.commit == site.tip == collection.diff.head
    assert collection.diff.base == site.spec.base_commit
    assert [(file.path, file.status) for file in collection.diff.files] == [("change.txt", "M"), ("x", "A")]
    assert content(site.repository.root, site.tip) == on_disk(site.worktree)
    assert status(site) == ""
    assert git(site.worktree, "symbolic-ref", "HEAD") == f"refs/heads/{BRANCH}"


def test_the_main_checkout_is_as_it_was(site: Worksite) -> None:
    before = (git(site.repository.root, "status", "--porcelain"), git(site.repository.root, "rev-parse", "HEAD"))
    site.act("echo x > x")
    site.collect()
    assert (
        git(site.repository.root, "status", "--porcelain"),
        git(site.repository.root, "rev-parse", "HEAD"),
    ) == before


def test_nothing_done_is_no_commit(site: Worksite) -> None:
    collection = site.collect()
    assert collection.commit == site.spec.base_commit == site.tip
    assert collection.diff.files == ()
    assert (collection.kept, collection.warnings) == (None, ())


def test_an_agent_that_committed_everything_needs_no_further_commit(site: Worksite) -> None:
    site.act("echo x > x; git add x; git commit -qm one; echo y > y; git add y; git commit -qm two")
    tip = site.tip
    collection = site.collect()
    assert collection.commit == tip == site.tip
    assert [file.path for file in collection.diff.files] == ["x", "y"]


def test_what_came_after_the_agents_commit_is_on_top_of_it(site: Worksite) -> None:
    site.act("echo x > x; git add x; git commit -qm one; echo y > y")
    own = site.tip
    collection = site.collect()
    assert git(site.repository.root, "rev-parse", f"{collection.commit}^") == own
    assert content(site.repository.root, site.tip) == on_disk(site.worktree)


def test_work_taken_back_after_a_commit_is_taken_back(site: Worksite) -> None:
    site.act("echo x > x; git add x; git commit -qm one; rm x")
    collection = site.collect()
    assert collection.diff.files == ()
    assert "one" in subjects(site, site.tip)
    assert "x" not in content(site.repository.root, site.tip)


@pytest.mark.parametrize(
    "script",
    {
        "detached": "git checkout -q --detach; echo a > a; git add a; git commit -qm one",
        "other-branch": "git switch -q -c other; echo a > a; git add a; git commit -qm one",
        "both": (
            "echo a > a; git add a; git commit -qm one; git checkout -q --detach HEAD~1; echo b > b; git add b; "
            "git commit -qm two"
        ),
        "branch-deleted": f"git checkout -q --detach; git branch -D {BRANCH}; touch a; git add a; git commit -qm one",
        "branch-renamed": "echo a > a; git add a; git commit -qm one; git branch -m mine",
        "amended": "echo a > a; git add a; git commit -qm first; git commit -q --amend -m one",
        "merged": (
            "git switch -q -c side; echo s > s; git add s; git commit -qm two; git switch -q "
            + BRANCH
            + "; echo a > a; "
            "git add a; git commit -qm one; git merge -q side -m merge"
        ),
        "rewritten": "echo a > a; git add a; git checkout -q --orphan new; git commit -qm one; git branch -M " + BRANCH,
        "git-file-deleted": "echo a > a; git add a; git commit -qm one; rm .git",
        "left-ahead-of-head": "echo a > a; git add a; git commit -qm one; git checkout -q --detach HEAD~1",
    }.items(),
    ids=lambda item: item[0],
)
def test_the_agents_commits_are_in_the_history_wherever_it_made_them(site: Worksite, script: tuple[str, str]) -> None:
    site.act(script[1] + "; echo left > left")
    wanted = {"one", "two"} if "two" in script[1] else {"one"}
    collection = site.collect()
    assert collection.commit == site.tip
    assert wanted <= subjects(site, site.tip)
    assert content(site.repository.root, site.tip) == on_disk(site.worktree)
    assert git(site.worktree, "symbolic-ref", "HEAD") == f"refs/heads/{BRANCH}"
    assert status(site) == ""


def test_a_rewritten_history_is_compared_with_the_base_and_said(site: Worksite) -> None:
    site.act(f"echo a > a; git add a; git checkout -q --orphan new; git commit -qm one; git branch -M {BRANCH}")
    collection = site.collect()
    assert [file.path for file in collection.diff.files] == ["a"]
    assert any("base commit is not in the history" in warning for warning in collection.warnings)


def test_without_commit_the_branch_stays_and_the_state_is_kept(site: Worksite) -> None:
    site.act("echo a > a; git add a; git commit -qm one; echo b > b; git add b")
    tip, before = site.tip, status(site)
    collection = site.collect(commit=False)
    assert site.tip == tip
    assert collection.kept == KEPT
    assert content(site.repository.root, KEPT) == on_disk(site.worktree)
    assert [file.path for file in collection.diff.files] == ["a", "b"]
    assert status(site) == before == "A  b"


def test_without_commit_and_without_uncommitted_work_nothing_is_kept(site: Worksite) -> None:
    site.act("echo a > a; git add a; git commit -qm one")
    collection = site.collect(commit=False)
    assert (collection.kept, collection.commit) == (None, site.tip)


def test_a_branch_checked_out_elsewhere_is_not_moved_under_its_checkout(site: Worksite) -> None:
    site.act("echo x > x; git checkout -q --detach")
    git(site.repository.root, "checkout", "-q", BRANCH)
    collection = site.collect()
    assert (collection.kept, site.tip) == (KEPT, site.spec.base_commit)
    assert "x" in content(site.repository.root, KEPT)
    assert any("checked out at" in warning for warning in collection.warnings)
    assert git(site.repository.root, "status", "--porcelain") == ""


def test_a_name_the_agent_blocked_does_not_lose_the_result(site: Worksite) -> None:
    site.act(f"echo x > x; git checkout -q --detach; git branch -D {BRANCH}; git branch {BRANCH}/x")
    collection = site.collect()
    assert collection.kept == KEPT
    assert "x" in content(site.repository.root, KEPT)


def test_a_branch_somebody_moved_meanwhile_is_never_overwritten(
    site: Worksite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.act("echo x > x")
    write_tree = PrivateGit.write_tree
    foreign = site.private.commit(git(site.repository.root, "rev-parse", "HEAD^{tree}"), (site.spec.base_commit,), "z")

    def moved_meanwhile(private: PrivateGit) -> object:  # between the look at the branch and its move
        git(site.repository.root, "update-ref", f"refs/heads/{BRANCH}", foreign)
        return write_tree(private)

    monkeypatch.setattr(PrivateGit, "write_tree", moved_meanwhile)
    collection = site.collect()
    assert (site.tip, collection.kept) == (foreign, KEPT)


def test_stashes_are_kept_and_named(site: Worksite) -> None:
    site.act("echo stashed > change.txt; git stash -q; echo x > x")
    collection = site.collect()
    assert any(f"{KEPT}-stash" in warning for warning in collection.warnings)
    assert content(site.repository.root, f"{KEPT}-stash")["change.txt"][1] == b"stashed\n"


def test_the_users_own_stash_is_nobodys_business(tmp_path: Path) -> None:
    site = make_worksite(tmp_path, before="echo s > change.txt; git stash -q")
    (site.repository.root / "change.txt").write_text("t\n")
    git(site.repository.root, "stash", "-q")
    assert site.collect().warnings == ()


def test_what_it_left_in_the_repository_is_named(site: Worksite) -> None:
    site.act('git branch extra; git tag v1; git config user.name Evil; cp "$TRAP" "$COMMON/hooks/pre-push"')
    text = "\n".join(site.collect().warnings)
    for name in ("refs/heads/extra", "refs/tags/v1", "/config changed", "hooks/pre-push changed"):
        assert name in text


def test_a_branch_of_the_users_moved_in_this_worktree_is_named_and_one_moved_by_the_user_is_not(tmp_path: Path) -> None:
    site = make_worksite(tmp_path, before="git branch theirs; git branch mine")
    site.act("git switch -q theirs; git commit -q --allow-empty -m agent")
    git(site.repository.root, "commit", "-q", "--allow-empty", "-m", "user")
    moved = [warning for warning in site.collect().warnings if "moved" in warning]
    assert moved == ["while it ran, refs/heads/theirs moved"]


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ("git switch -q -c o; echo o > change.txt; git commit -qam o; git switch -q -; echo m > change.txt; "
         "git commit -qam m; git merge -q o || true", "merge"),
        ("git switch -q -c o; echo o > change.txt; git commit -qam o; git switch -q -; echo m > change.txt; "
         "git commit -qam m; git rebase -q o || true", "rebase"),
    ],
)  # fmt: skip
def test_an_unfinished_operation_is_collected_named_and_left_alone(site: Worksite, script: str, word: str) -> None:
    site.act(script)
    collection = site.collect()
    assert any(f"a {word} was left unfinished" in warning for warning in collection.warnings)
    assert b"<<<<<<<" in content(site.repository.root, collection.commit)["change.txt"][1]
    assert {"m", "o"} & subjects(site, site.tip)
    assert (site.private.admin_dir / ("MERGE_HEAD" if word == "merge" else "rebase-merge")).exists()


def test_a_repository_in_the_git_files_place_is_left_alone_and_named(site: Worksite) -> None:
    site.act("rm .git; git init -q; git add -A; git commit -qm own; echo x > x")
    collection = site.collect()
    assert any(".git was replaced" in warning for warning in collection.warnings)
    assert "x" in content(site.repository.root, site.tip)
    assert git(site.worktree, "log", "--format=%s") == "own"


def test_a_removed_worktree_still_yields_its_commits(site: Worksite) -> None:
    site.act("echo x > x; git add x; git commit -qm one")
    shutil.rmtree(site.worktree)
    collection = site.collect()
    assert (collection.commit, [file.path for file in collection.diff.files]) == (site.tip, ["x"])
    assert any("was removed" in warning for warning in collection.warnings)


def test_a_removed_worktree_without_commits_is_a_failure_not_a_deletion_of_everything(site: Worksite) -> None:
    shutil.rmtree(site.worktree)
    with pytest.raises(EnvironmentProblem, match="was removed"):
        site.collect()


def test_a_repository_git_cannot_read_fails_and_is_collected_once_it_is_mended(site: Worksite) -> None:
    site.act("echo x > x")
    config = site.repository.common_dir / "config"
    sound = config.read_text()
    config.write_text("[broken\n")
    with pytest.raises(ArchitectParallelError):
        site.collect()
    config.write_text(sound)
    assert site.collect().commit == site.tip


def test_collecting_again_changes_nothing(site: Worksite) -> None:
    site.act("echo x > x")
    first = site.collect()
    assert site.collect() == first


def test_the_user_is_the_author_and_the_tool_where_there_is_none(tmp_path: Path, home: Path) -> None:
    site = make_worksite(tmp_path / "one", before="git config user.name Me; git config user.email me@example.invalid")
    site.act("echo x > x; git config user.name Evil")
    show = ("show", "-s", "--format=%an <%ae>, %cn <%ce>")
    assert git(site.repository.root, *show, site.collect().commit) == ", ".join(["Me <me@example.invalid>"] * 2)
    (home / ".gitconfig").write_text("[init]\n\tdefaultBranch = main\n")
    site = make_worksite(tmp_path / "two")
    site.act("echo x > x")
    tool = "architect-parallel <architect-parallel@localhost>"
    assert git(site.repository.root, *show, site.collect().commit) == f"{tool}, {tool}"


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("mend it\nplease", "architect: mend it"),
        ("\n\n  two\twords \n", "architect: two words"),
        ("x" * 100, "architect: " + "x" * 59 + "…"),
        ("\x1b[31mred\x07", "architect: [31mred"),
        ("\udcff bytes", "architect: bytes"),
        ("   ", "architect: task"),
    ],
)
def test_the_message_names_the_task_and_who_did_it(site: Worksite, prompt: str, subject: str) -> None:
    spec: WorkerSpec = site.spec
    site.act("echo x > x")
    commit = site.collect(prompt=prompt, model="m-1").commit
    message = git(site.repository.root, "show", "-s", "--format=%B", commit).splitlines()
    assert message[0] == subject
    assert message[2:6] == [f"Run: {spec.run_id}", "Worker: 1", "Backend: shell", "Model: m-1"]
    assert message_for(spec).endswith("Model: default\n")


def test_shallow_repositories_know_their_history(tmp_path: Path) -> None:
    origin = make_repository(tmp_path / "origin", FILES)
    git(origin, "commit", "-q", "--allow-empty", "-m", "second")
    site = make_worksite(tmp_path, before="true")
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{origin}", "shallow")
    os.rename(site.repository.root, tmp_path / "unused")
    os.rename(tmp_path / "shallow", site.repository.root)
    git(site.repository.root, "worktree", "add", "-q", "-b", BRANCH, site.worktree)
    private = PrivateGit.create(site.repository, tmp_path / "private2", site.worktree)
    base = git(site.repository.root, "rev-parse", "HEAD")
    shallow = dataclasses.replace(site, private=private, spec=dataclasses.replace(site.spec, base_commit=base))
    shallow.act("echo x > x; git add x; git commit -qm one; echo y > y")
    collection = shallow.collect()
    assert (collection.warnings, collection.commit) == ((), shallow.tip)
