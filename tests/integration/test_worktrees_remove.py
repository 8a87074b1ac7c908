"""`worktrees.remove`: only what is proven to be a run's own goes, in whatever state it is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.repositories import commit_all, git, make_repository

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.repository.registry import mismatch
from architect_parallel.repository.trash import empty_trash
from architect_parallel.system.git import Git, Repository, open_repository
from architect_parallel.worktrees.create import Worktree, add_worktree, reopen_worktree, require_base, take_up_worktree
from architect_parallel.worktrees.places import exclude_from_status, highest_number
from architect_parallel.worktrees.remove import branch_settings, delete_branch, inspect, recover, remove_worktree

RUN = "20260101-abc"
BRANCH = "architect/parallel-1"


def add(repository: Repository, number: int = 1, *, run_id: str = RUN) -> Worktree:
    return add_worktree(
        repository,
        path=repository.root / f".architect-parallel-{number}",
        branch=f"architect/parallel-{number}",
        base_commit=require_base(repository),
        run_id=run_id,
    )


def remove(repository: Repository, *, run_id: str = RUN) -> None:
    remove_worktree(repository, path=repository.root / ".architect-parallel-1", branch=BRANCH, run_id=run_id)


def recover_first(repository: Repository, base: str | None = None) -> str | None:
    return recover(
        repository,
        path=repository.root / ".architect-parallel-1",
        branch=BRANCH,
        base_commit=base or require_base(repository),
        run_id=RUN,
    )


def left(checkout: Path) -> list[str]:
    """What is left of any worktree or branch of ours."""
    refs = [ref for ref in git(checkout, "for-each-ref", "--format=%(refname)").splitlines() if "architect" in ref]
    # A branch of a run has a record beside it, and none has one without the other.
    records = [ref.split("/", 4)[4] for ref in refs if ref.startswith("refs/architect/owned/")]
    refs = [ref for ref in refs if not ref.startswith("refs/architect/owned/")]
    assert {f"refs/heads/{branch}" for branch in records} <= {*refs}
    places = [name for name in os.listdir(checkout) if name.startswith(".architect")]
    admin = checkout / ".git" / "worktrees"
    trash = checkout / ".git" / "architect" / "trash"
    return refs + places + [str(path) for folder in (admin, trash) if folder.exists() for path in folder.iterdir()]


# --- inspect ----------------------------------------------------------------------------------------------------------


def test_a_fresh_worktree_is_clean_and_ours(repository: Repository) -> None:
    worktree = add(repository)
    state = inspect(repository, worktree.path, BRANCH, RUN)
    assert (state.exists, state.ours, state.admin_dir) == (True, True, worktree.admin_dir)
    assert (state.branch, state.head) == (BRANCH, worktree.base_commit)
    assert (state.locked, state.dirty, state.nested, state.unreadable) == (None, (), (), None)
    assert not inspect(repository, worktree.path, BRANCH, "another").ours


def test_dirt_is_named_and_ignored_files_are_none(repository: Repository) -> None:
    worktree = add(repository)
    (worktree.path / "debug.log").write_text("ignored")
    assert inspect(repository, worktree.path, BRANCH, RUN).dirty == ()
    (worktree.path / "README.md").write_text("changed")
    (worktree.path / "new\nfile").write_text("x")
    (worktree.path / "slug.sh").unlink()
    git(worktree.path, "update-index", "--assume-unchanged", "README.md")
    assert "README.md" not in git(worktree.path, "status", "--porcelain")  # control: plain git is blind to it
    assert inspect(repository, worktree.path, BRANCH, RUN).dirty == ("README.md", "new\nfile", "slug.sh")


def test_looking_runs_nothing_the_agent_configured(repository: Repository, checkout: Path, tmp_path: Path) -> None:
    worktree = add(repository)
    ran = tmp_path / "ran"
    git(checkout, "config", "filter.evil.clean", f"touch '{ran}'; cat")
    git(checkout, "config", "core.fsmonitor", f"touch '{ran}'; false")
    (worktree.path / ".gitattributes").write_text("* filter=evil\n")
    (worktree.path / "README.md").write_text("changed")
    assert inspect(repository, worktree.path, BRANCH, RUN).dirty == (".gitattributes", "README.md")
    assert not ran.exists()
    git(worktree.path, "status")  # control
    assert ran.exists()


def test_other_states_are_told(repository: Repository, checkout: Path) -> None:
    worktree = add(repository)
    git(worktree.path, "checkout", "-q", "--detach", "HEAD~1")
    git(checkout, "worktree", "lock", "--reason", "why", worktree.path)
    state = inspect(repository, worktree.path, BRANCH, RUN)
    assert (state.branch, state.head, state.locked) == (None, git(checkout, "rev-parse", "HEAD~1"), "why")
    shutil.rmtree(worktree.path)
    state = inspect(repository, worktree.path, BRANCH, RUN)
    assert (state.exists, state.ours, state.admin_dir) == (False, True, worktree.admin_dir)
    (worktree.path).symlink_to(checkout)
    state = inspect(repository, worktree.path, BRANCH, RUN)
    assert (state.exists, state.ours) == (False, False)


def test_a_tree_that_cannot_be_read_says_so(repository: Repository) -> None:
    worktree = add(repository)
    (worktree.admin_dir / "index").unlink()
    state = inspect(repository, worktree.path, BRANCH, RUN)
    assert state.unreadable is not None
    assert (state.exists, state.ours) == (True, True)


def test_repositories_inside_are_named(repository: Repository) -> None:
    worktree = add(repository)
    make_repository(worktree.path / "slugger" / "clone")
    make_repository(worktree.path / "build" / "ignored")
    assert inspect(repository, worktree.path, BRANCH, RUN).nested == ("slugger/clone",)


# --- remove_worktree --------------------------------------------------------------------------------------------------


def test_a_removed_worktree_is_gone_and_its_branch_stays(repository: Repository, checkout: Path) -> None:
    add(repository)
    remove(repository)
    remove(repository)  # nothing there: fine
    assert left(checkout) == [f"refs/heads/{BRANCH}"]
    assert git(checkout, "worktree", "prune", "--dry-run", "--verbose") == ""


def test_links_are_not_followed(repository: Repository, checkout: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    worktree = add(repository)
    (worktree.path / "link").symlink_to(precious)
    (worktree.path / "slugger" / "deep").symlink_to(precious)
    remove(repository)
    assert (precious / "file").exists()
    assert left(checkout) == [f"refs/heads/{BRANCH}"]


def test_a_link_in_its_place_stays(repository: Repository, checkout: Path, tmp_path: Path) -> None:
    worktree = add(repository)
    worktree.path.rename(tmp_path / "moved")
    worktree.path.symlink_to(tmp_path / "moved")
    with pytest.raises(EnvironmentProblem, match="not the worktree"):
        remove(repository)
    assert (tmp_path / "moved" / "README.md").exists()
    assert worktree.path.is_symlink()


def test_what_is_not_ours_stays(repository: Repository, checkout: Path) -> None:
    place = checkout / ".architect-parallel-1"
    git(checkout, "worktree", "add", "-q", "-b", "mine", place)
    with pytest.raises(EnvironmentProblem, match="not the worktree"):
        remove(repository)
    git(checkout, "worktree", "remove", place)
    place.mkdir()
    (place / "notes").write_text("mine")
    with pytest.raises(EnvironmentProblem, match="not the worktree"):
        remove(repository)
    assert (place / "notes").exists()
    shutil.rmtree(place)
    add(repository, run_id="another")
    with pytest.raises(EnvironmentProblem, match="not the worktree"):
        remove(repository)
    assert (place / "README.md").exists()


def test_a_worktree_the_user_made_anew_stays(repository: Repository, checkout: Path) -> None:
    worktree = add(repository)
    git(checkout, "worktree", "remove", worktree.path)
    git(checkout, "worktree", "add", "-q", "-b", "mine", worktree.path)
    assert worktree.admin_dir.is_dir()  # control: git gave it the same registration name
    with pytest.raises(EnvironmentProblem, match="not the worktree"):
        remove(repository)
    assert (worktree.path / "README.md").exists()


def test_a_worktree_its_user_locked_stays(repository: Repository, checkout: Path) -> None:
    worktree = add(repository)
    git(checkout, "worktree", "lock", worktree.path)
    with pytest.raises(EnvironmentProblem, match="locked"):
        remove(repository)
    assert (worktree.path / "README.md").exists()


@pytest.mark.parametrize(
    "damage",
    [
        "branch switched",
        "submodule",
        "HEAD gone",
        "read-only",
        "odd files",
    ],
)
def test_damaged_worktrees_go(repository: Repository, checkout: Path, tmp_path: Path, damage: str) -> None:
    worktree = add(repository)
    place = worktree.path
    match damage:
        case "branch switched":
            git(place, "checkout", "-q", "-b", "other-branch")
        case "submodule":
            module = make_repository(tmp_path / "module")
            git(place, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", module, "vendored")
            commit_all(place, "submodule")
            # Control: git's own remove refuses.
            assert "submodule" in subprocess.run(
                ["git", "worktree", "remove", place], cwd=checkout, capture_output=True, text=True, check=False
            ).stderr  # fmt: skip
        case "HEAD gone":
            (worktree.admin_dir / "HEAD").unlink()
        case "read-only":
            (place / "slugger").chmod(0o500)
            (place / "cache").mkdir()
            (place / "cache" / "x").touch()
            (place / "cache").chmod(0)
            place.chmod(0o500)
        case "odd files":
            os.mkfifo(place / "fifo")
            (place / os.fsdecode(b"caf\xe9\n")).touch()
            Path(place, *["d" * 50] * 60).mkdir(parents=True)
    remove(repository)
    assert [name for name in left(checkout) if not name.startswith("refs/")] == []


@pytest.mark.parametrize(
    ("other", "reason", "hint"),
    [
        ("repository", "another repository is in its place", "move"),
        ("linked repository", "another repository is in its place", "move"),
        ("clone of a worktree", "its .git file names the worktree", "look at"),
        ("no .git", "its .git file is gone", "git worktree repair"),
        (".git to nowhere", "which is gone", "git worktree repair"),
        (".git of another worktree", "its .git file names the worktree", "look at"),
        ("no registration", "git does not know it", "look at"),
    ],
)
def test_what_is_not_linked_to_its_registration_stays(
    repository: Repository, checkout: Path, tmp_path: Path, other: str, reason: str, hint: str
) -> None:
    worktree = add(repository)
    place = worktree.path
    match other:
        case "repository":
            shutil.rmtree(place)
            make_repository(place)
        case "linked repository":
            (place / ".git").unlink()
            make_repository(tmp_path / "other")
            (place / ".git").symlink_to(tmp_path / "other" / ".git")
        case "clone of a worktree":
            make_repository(tmp_path / "other")
            git(tmp_path / "other", "worktree", "add", "-q", tmp_path / "linked")
            shutil.copy(tmp_path / "linked" / ".git", place / ".git")
        case "no .git":
            (place / ".git").unlink()
        case ".git to nowhere":
            (place / ".git").write_text("gitdir: /nowhere/.git/worktrees/x\n")
        case ".git of another worktree":
            second = add(repository, 2)
            (place / ".git").write_text(f"gitdir: {second.admin_dir}\n")
        case "no registration":
            shutil.rmtree(worktree.admin_dir)
    (place / "mine").write_text("x")
    with pytest.raises(EnvironmentProblem, match="not the worktree") as caught:
        remove(repository)
    assert reason in caught.value.message
    assert (caught.value.hint or "").startswith(hint)
    with pytest.raises(EnvironmentProblem, match="not the worktree"):
        reopen_worktree(
            repository, path=place, branch=BRANCH, base_commit=worktree.base_commit, run_id=RUN
        )  # fmt: skip
    with pytest.raises(EnvironmentProblem, match="not the worktree"):
        take_up_worktree(
            repository, path=place, branch=BRANCH, base_commit=worktree.base_commit, run_id=RUN
        )  # fmt: skip
    assert (place / "mine").read_text() == "x"
    if "repair" in hint:
        git(checkout, *(caught.value.hint or "").split()[1:])
        remove(repository)
        assert not place.exists()


def test_a_worktree_lent_to_its_run_is_linked(repository: Repository) -> None:
    worktree = add(repository)
    private = repository.state_dir / "runs" / RUN / "repo" / "worker-1"
    private.mkdir(parents=True)
    (worktree.path / ".git").write_text(f"gitdir: {private}\n")
    assert mismatch(repository, worktree.path) is None
    (worktree.path / ".git").write_text(f"gitdir: {private.parents[2]}\n")
    assert mismatch(repository, worktree.path) is not None


def test_relative_pointers_agree_as_well(repository: Repository) -> None:
    worktree = add(repository)
    place, admin = worktree.path, worktree.admin_dir
    (place / ".git").write_text(f"gitdir: {os.path.relpath(admin, place)}\n")
    (admin / "gitdir").write_text(f"{os.path.relpath(place / '.git', admin)}\n")
    assert mismatch(repository, place) is None
    remove(repository)
    assert not place.exists()


def test_killed_removals_leave_a_whole_tree_or_none(repository: Repository, checkout: Path) -> None:
    script = f"""
from pathlib import Path
from architect_parallel.system.git import open_repository
from architect_parallel.worktrees.remove import remove_worktree
repository = open_repository(Path({str(checkout)!r}))
print("go", flush=True)
remove_worktree(repository, path=repository.root / ".architect-parallel-1", branch={BRANCH!r}, run_id={RUN!r})
"""
    for delay in (0.0, 0.005, 0.02):
        worktree = add(repository)
        for number in range(1000):
            (worktree.path / f"{number}.log").touch()
        with subprocess.Popen(
            [sys.executable, "-c", script], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        assert len(list(worktree.path.glob("*.log"))) in (0, 1000)
        remove(repository)
        assert left(checkout) == [f"refs/heads/{BRANCH}"]
        assert delete_branch(repository, BRANCH, worktree.base_commit) is None


# --- delete_branch ----------------------------------------------------------------------------------------------------


def test_a_branch_goes_only_from_where_it_was_expected(repository: Repository, checkout: Path) -> None:
    worktree = add(repository)
    tip = commit_all(worktree.path, "work")
    assert delete_branch(repository, BRANCH, tip) == f"it is checked out in {worktree.path}"
    remove(repository)
    assert delete_branch(repository, BRANCH, worktree.base_commit) == f"it has moved to {tip[:12]}"
    assert git(checkout, "rev-parse", BRANCH) == tip
    assert delete_branch(repository, BRANCH, tip) is None
    assert delete_branch(repository, BRANCH, tip) is None
    assert left(checkout) == []


def test_a_branch_the_user_is_on_stays(repository: Repository, checkout: Path) -> None:
    worktree = add(repository)
    remove(repository)
    git(checkout, "switch", "-q", BRANCH)
    reason = delete_branch(repository, BRANCH, worktree.base_commit)
    assert reason == f"it is checked out in {checkout}"
    git(checkout, "rev-parse", "HEAD")


def test_where_a_branch_was_pushed_to_goes_with_it(repository: Repository, checkout: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "remote.git")
    git(checkout, "remote", "add", "origin", tmp_path / "remote.git")
    worktree = add(repository)
    git(worktree.path, "push", "-q", "-u", "origin", BRANCH)
    git(checkout, "config", "branch.architectXparallel-1.x", "y")
    remove(repository)
    assert delete_branch(repository, BRANCH, worktree.base_commit) is None
    assert git(checkout, "config", "--get-regexp", "^branch\\.") == "branch.architectXparallel-1.x y"


@pytest.mark.parametrize(("name", "other"), [("c++", "ccc"), ("v1.2", "v1x2"), ("a", "a.b")])
def test_the_settings_of_a_branch_are_those_of_its_very_name(
    repository: Repository, checkout: Path, name: str, other: str
) -> None:
    base = require_base(repository)
    git(checkout, "branch", name)
    for each in (name, other):
        git(checkout, "config", f"branch.{each}.remote", "origin")
    assert branch_settings(repository, name) == ((f"branch.{name}.remote", "origin"),)
    assert delete_branch(repository, name, base) is None
    assert git(checkout, "config", "--get-regexp", "^branch\\.") == f"branch.{other}.remote origin"


# --- recover ----------------------------------------------------------------------------------------------------------


def debris(repository: Repository, checkout: Path, kind: str) -> None:
    """What a `worktree add` leaves that is killed at one moment or another."""
    place, base = checkout / ".architect-parallel-1", require_base(repository)
    store = Git(cwd=checkout)
    message = f"architect-parallel: created by run {RUN}"
    store.run("update-ref", "--create-reflog", "-m", message, f"refs/heads/{BRANCH}", base)
    if kind == "branch only":
        return
    admin = checkout / ".git" / "worktrees" / "-architect-parallel-1"
    admin.mkdir(parents=True)
    if kind == "empty registration":
        return
    (admin / "locked").write_text("initializing")
    if kind == "locked registration":
        return
    place.mkdir()
    if kind == "empty directory":
        return
    (admin / "gitdir").write_text(f"{place}/.git\n")
    if kind == "registration with its place":
        return
    (place / ".git").write_text(f"gitdir: {admin}\n")
    if kind == "pointer":
        return
    (admin / "HEAD").write_text(f"ref: refs/heads/{BRANCH}\n")
    (admin / "commondir").write_text("../..\n")
    if kind == "initializing":
        return
    (admin / "locked").unlink()
    if kind == "no checkout":
        return
    (admin / "index.lock").touch()
    (place / "README.md").write_text("# slugger\n\nTurns titles into slugs.\n")


DEBRIS = [
    "branch only", "empty registration", "locked registration", "empty directory", "registration with its place",
    "pointer", "initializing", "no checkout", "half a checkout",
]  # fmt: skip


@pytest.mark.parametrize("kind", DEBRIS)
def test_debris_of_a_killed_launcher_is_cleared(repository: Repository, checkout: Path, kind: str) -> None:
    debris(repository, checkout, kind)
    assert left(checkout) != []
    assert recover_first(repository) is None
    assert left(checkout) == []
    assert git(add(repository).path, "status", "--porcelain") == ""


@pytest.mark.parametrize("kind", ["locked registration", "initializing"])
def test_gits_own_prune_leaves_debris(repository: Repository, checkout: Path, kind: str) -> None:
    debris(repository, checkout, kind)  # control for the test above
    git(checkout, "worktree", "prune", "--expire=now")
    git(checkout, "worktree", "remove", "--force", ".architect-parallel-1", check=False)
    assert (checkout / ".git" / "worktrees" / "-architect-parallel-1").exists()


def test_debris_of_others_stays(repository: Repository, checkout: Path) -> None:
    admin = checkout / ".git" / "worktrees"
    for name in ("feature", "x-architect-parallel-1", "-architect-parallel-1x"):
        (admin / name).mkdir(parents=True)
        (admin / name / "locked").write_text("initializing")
    assert recover_first(repository) is None
    assert sorted(os.listdir(admin)) == ["-architect-parallel-1x", "feature", "x-architect-parallel-1"]


@pytest.mark.parametrize("kind", ["no checkout", "half a checkout"])
def test_what_somebody_put_into_debris_stays(repository: Repository, checkout: Path, kind: str) -> None:
    debris(repository, checkout, kind)
    (checkout / ".architect-parallel-1" / "thoughts").write_text("x")
    reason = recover_first(repository)
    assert reason is not None
    assert "thoughts is in it" in reason
    assert (checkout / ".architect-parallel-1" / "thoughts").exists()


def test_branches_that_are_not_the_runs_or_have_moved_stay(repository: Repository, checkout: Path) -> None:
    git(checkout, "branch", BRANCH)
    assert recover_first(repository) == f"branch {BRANCH} stays: run {RUN} did not make it"
    git(checkout, "branch", "-D", BRANCH)
    worktree = add(repository)
    tip = commit_all(worktree.path, "work")
    git(checkout, "worktree", "remove", worktree.path)
    assert recover_first(repository) == f"branch {BRANCH} stays: it has moved to {tip[:12]}"


def test_launchers_killed_while_making_worktrees_leave_nothing_that_stays(checkout: Path) -> None:
    for number in range(300):
        (checkout / f"file-{number}").write_text(str(number))
    commit_all(checkout, "files")
    repository = open_repository(checkout)
    exclude_from_status(repository)
    script = f"""
from pathlib import Path
from architect_parallel.system.git import open_repository
from architect_parallel.worktrees.create import add_worktree, require_base
repository = open_repository(Path({str(checkout)!r}))
base = require_base(repository)
print("go", flush=True)
add_worktree(repository, path=repository.root / ".architect-parallel-1", branch={BRANCH!r}, base_commit=base,
             run_id={RUN!r})
"""
    for delay in (0.0, 0.01, 0.02, 0.03):
        with subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            os.killpg(process.pid, signal.SIGKILL)
        # The dead launcher's git has a process group of its own and may still be writing: until it has ended, what it
        # writes passes for somebody's work and stays, and what was moved away may get another file.
        deadline = time.monotonic() + 30
        while (recover_first(repository) is not None or left(checkout)) and time.monotonic() < deadline:
            time.sleep(0.02)
            empty_trash(repository)
        assert left(checkout) == []
        assert highest_number(repository) == 0
        assert git(checkout, "status", "--porcelain") == ""
