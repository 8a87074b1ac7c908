"""`worktrees.create`: worktrees come into being, nothing that exists is taken over."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.repositories import commit_all, git, make_repository

from architect_parallel.errors import EnvironmentProblem, ExitCode, UsageError
from architect_parallel.repository.ownership import record_branch
from architect_parallel.system.files import is_locked
from architect_parallel.system.git import GitError, Repository, open_repository
from architect_parallel.worktrees.create import (
    Worktree,
    add_worktree,
    owns_branch,
    registration_lock,
    reopen_worktree,
    require_base,
)
from architect_parallel.worktrees.places import exclude_from_status, highest_number
from architect_parallel.worktrees.remove import delete_branch

RUN = "20260101-abc"


def add(repository: Repository, number: int = 1, *, base: str | None = None, run_id: str = RUN) -> Worktree:
    return add_worktree(
        repository,
        path=repository.root / f".architect-parallel-{number}",
        branch=f"architect/parallel-{number}",
        base_commit=base or require_base(repository),
        run_id=run_id,
    )


def reopen(repository: Repository, number: int = 1, *, run_id: str = RUN) -> Worktree:
    return reopen_worktree(
        repository,
        path=repository.root / f".architect-parallel-{number}",
        branch=f"architect/parallel-{number}",
        base_commit=require_base(repository),
        run_id=run_id,
    )


def refs_and_worktrees(checkout: Path) -> tuple[str, str, list[str]]:
    return (
        git(checkout, "for-each-ref"),
        git(checkout, "worktree", "list", "--porcelain"),
        sorted(name for name in os.listdir(checkout) if name.startswith(".architect")),
    )


def test_fixture_repositories_are_the_same_everywhere(checkout: Path) -> None:
    assert git(checkout, "status", "--porcelain") == ""
    assert git(checkout, "log", "--format=%s") == "a command line\nslugify titles"
    assert git(checkout, "rev-parse", "HEAD") == "1d00bbedca8f476465de8fae82555fc66e42889d"


# --- add_worktree -----------------------------------------------------------------------------------------------------


def test_a_worktree_is_its_base_on_its_branch(repository: Repository, checkout: Path) -> None:
    worktree = add(repository)
    assert worktree == Worktree(
        path=checkout / ".architect-parallel-1",
        branch="architect/parallel-1",
        base_commit=require_base(repository),
        admin_dir=checkout / ".git" / "worktrees" / "-architect-parallel-1",
    )
    assert git(worktree.path, "rev-parse", "--absolute-git-dir") == str(worktree.admin_dir)
    assert git(worktree.path, "status", "--porcelain", "--branch") == "## architect/parallel-1"
    assert git(worktree.path, "rev-parse", "HEAD") == worktree.base_commit
    assert git(worktree.path, "ls-files") == git(checkout, "ls-files")
    assert os.readlink(worktree.path / "LIESMICH.md") == "README.md"
    assert os.access(worktree.path / "slug.sh", os.X_OK)


def test_the_main_checkout_does_not_notice(repository: Repository, checkout: Path) -> None:
    (checkout / "README.md").write_text("edited\n")
    git(checkout, "add", "slug.sh")
    before = (
        git(checkout, "status", "--porcelain"),
        git(checkout, "rev-parse", "HEAD"),
        (checkout / ".git/index").stat(),
    )
    exclude_from_status(repository)
    add(repository)
    after = git(checkout, "status", "--porcelain"), git(checkout, "rev-parse", "HEAD"), (checkout / ".git/index").stat()
    assert before[:2] == after[:2] == (" M README.md", require_base(repository))
    assert before[2].st_ino == after[2].st_ino


def test_a_branch_says_by_which_run_it_was_made(repository: Repository, checkout: Path) -> None:
    add(repository)
    assert owns_branch(repository, "architect/parallel-1", RUN)
    assert not owns_branch(repository, "architect/parallel-1", "20260101-ab")
    assert not owns_branch(repository, "architect/parallel-2", RUN)
    commit_all(checkout / ".architect-parallel-1", "work")
    assert owns_branch(repository, "architect/parallel-1", RUN)


def test_a_branch_made_anew_by_the_user_is_not_ours(repository: Repository, checkout: Path) -> None:
    worktree = add(repository)
    git(checkout, "worktree", "remove", worktree.path)
    git(checkout, "branch", "-D", worktree.branch)
    git(checkout, "branch", worktree.branch)
    assert not owns_branch(repository, worktree.branch, RUN)


def test_ownership_is_recorded_where_reflogs_are_off(checkout: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    git(checkout, "clone", "-q", "--bare", checkout, bare)
    git(bare, "branch", "control", "HEAD")
    repository = open_repository(bare)
    add(repository)
    assert not (bare / "logs" / "refs" / "heads" / "control").exists()
    assert owns_branch(repository, "architect/parallel-1", RUN)


def test_a_remote_base_is_not_tracked(checkout: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", checkout, clone)
    git(clone, "config", "branch.autoSetupMerge", "always")
    repository = open_repository(clone)
    config = (clone / ".git" / "config").read_bytes()
    add(repository, base=require_base(repository, "origin/main"))
    assert (clone / ".git" / "config").read_bytes() == config
    git(clone, "branch", "control", "origin/main")
    assert (clone / ".git" / "config").read_bytes() != config


@pytest.mark.parametrize("occupy", ["directory", "file", "link", "dangling link", "other worktree"])
def test_an_occupied_place_is_not_taken_over(
    repository: Repository, checkout: Path, tmp_path: Path, occupy: str
) -> None:
    place = checkout / ".architect-parallel-1"
    match occupy:
        case "directory":
            place.mkdir()
        case "file":
            place.write_text("mine")
        case "link":
            place.symlink_to(tmp_path)
        case "dangling link":
            place.symlink_to(tmp_path / "gone")
        case _:
            git(checkout, "worktree", "add", "-q", "-b", "mine", place)
    before = refs_and_worktrees(checkout)
    with pytest.raises(EnvironmentProblem, match="not taken over") as caught:
        add(repository)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert refs_and_worktrees(checkout) == before


def test_gits_own_add_takes_over_an_empty_directory(checkout: Path) -> None:
    (checkout / ".architect-parallel-1").mkdir()  # control for the test above
    git(checkout, "worktree", "add", "-q", "-b", "architect/parallel-1", ".architect-parallel-1")


def test_a_missing_but_registered_worktree_keeps_its_place(repository: Repository, checkout: Path) -> None:
    place = checkout / ".architect-parallel-1"
    git(checkout, "worktree", "add", "-q", "-b", "mine", place)
    place.rename(checkout.parent / "moved")
    before = refs_and_worktrees(checkout)
    with pytest.raises(EnvironmentProblem, match="registered"):
        add(repository)
    assert refs_and_worktrees(checkout) == before


@pytest.mark.parametrize("packed", [False, True])
def test_an_existing_branch_is_not_taken_over(repository: Repository, checkout: Path, packed: bool) -> None:
    git(checkout, "branch", "architect/parallel-1", "HEAD~1")
    if packed:
        git(checkout, "pack-refs", "--all")
    before = refs_and_worktrees(checkout)
    with pytest.raises(EnvironmentProblem, match="architect/parallel-1 exists already"):
        add(repository)
    assert refs_and_worktrees(checkout) == before


def test_a_dangling_symbolic_ref_is_not_taken_over(repository: Repository, checkout: Path) -> None:
    git(checkout, "symbolic-ref", "refs/heads/architect/parallel-1", "refs/heads/elsewhere")
    with pytest.raises(EnvironmentProblem):
        add(repository)
    assert git(checkout, "symbolic-ref", "refs/heads/architect/parallel-1") == "refs/heads/elsewhere"
    assert git(checkout, "branch", "--list", "elsewhere") == ""


def test_an_unknown_base_leaves_nothing(repository: Repository, checkout: Path) -> None:
    before = refs_and_worktrees(checkout)
    with pytest.raises(GitError):
        add(repository, base="0123456789" * 4)
    assert refs_and_worktrees(checkout) == before


def test_a_failing_checkout_leaves_nothing(repository: Repository, checkout: Path) -> None:
    (checkout / ".gitattributes").write_text("*.bin filter=broken\n")
    (checkout / "x.bin").write_text("x")
    commit_all(checkout, "a filter")
    git(checkout, "config", "filter.broken.smudge", "false")
    git(checkout, "config", "filter.broken.required", "true")
    before = refs_and_worktrees(checkout)
    with pytest.raises(GitError):
        add(repository)
    assert refs_and_worktrees(checkout) == before
    assert not list((checkout / ".git" / "worktrees").glob("*"))


def test_a_full_disk_during_checkout_leaves_nothing(checkout: Path, tmp_path: Path) -> None:
    (checkout / "big").write_bytes(os.urandom(200_000))
    commit_all(checkout, "big")
    before = refs_and_worktrees(checkout)
    # A limit on file size ends git in the middle of writing `big`, as a full disk would.
    script = f"""
import resource, sys
from pathlib import Path
from architect_parallel.errors import EnvironmentProblem, ArchitectParallelError
from architect_parallel.system.git import open_repository
from architect_parallel.worktrees.create import add_worktree, require_base
repository = open_repository(Path({str(checkout)!r}))
base = require_base(repository)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    add_worktree(repository, path=repository.root / ".architect-parallel-1", branch="architect/parallel-1",
                 base_commit=base, run_id="r")
except ArchitectParallelError as error:
    sys.exit(f"refused: {{error}}")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("refused: ")
    assert refs_and_worktrees(checkout) == before


@pytest.mark.parametrize("hook", ["post-checkout", "reference-transaction", "post-index-change"])
def test_failing_hooks_do_not_stop_it(repository: Repository, checkout: Path, hook: str) -> None:
    file = checkout / ".git" / "hooks" / hook
    file.parent.mkdir(exist_ok=True)
    file.write_text("#!/bin/sh\nexit 1\n")
    file.chmod(0o755)
    assert git(add(repository).path, "status", "--porcelain") == ""


def test_a_stale_index_lock_of_the_checkout_does_not_stop_it(repository: Repository, checkout: Path) -> None:
    (checkout / ".git" / "index.lock").touch()
    assert (add(repository).path / "README.md").exists()


def test_a_tag_of_the_same_name_does_not_confuse(repository: Repository, checkout: Path) -> None:
    git(checkout, "tag", "architect/parallel-1", "HEAD~1")
    worktree = add(repository)
    assert git(worktree.path, "symbolic-ref", "HEAD") == "refs/heads/architect/parallel-1"
    assert git(worktree.path, "rev-parse", "HEAD") == require_base(repository)
    assert git(worktree.path, "status", "--porcelain") == ""


def test_many_at_once_all_succeed(repository: Repository) -> None:
    made: list[Worktree] = []
    threads = [
        threading.Thread(target=lambda number=number: made.append(add(repository, number))) for number in range(1, 13)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 12
    assert all(git(worktree.path, "status", "--porcelain") == "" for worktree in made)


def test_a_registration_waits_for_the_lock(repository: Repository, checkout: Path) -> None:
    with registration_lock(repository):
        thread = threading.Thread(target=add, args=(repository,))
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
        assert "architect" not in git(checkout, "for-each-ref")
    thread.join()
    assert "architect" in git(checkout, "for-each-ref")


def test_the_lock_outlives_a_killed_launcher_until_its_git_ends(
    repository: Repository, checkout: Path, tmp_path: Path
) -> None:
    # A git that registers only once it may, long after its launcher is gone.
    begun, go, ended, real = tmp_path / "begun", tmp_path / "go", tmp_path / "ended", shutil.which("git")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text(f"""#!/bin/sh
case "$*" in *"worktree add"*) touch "{begun}"; while [ ! -e "{go}" ]; do sleep 0.01; done;; esac
"{real}" "$@"; code=$?
case "$*" in *"worktree add"*) touch "{ended}";; esac
exit $code
""")
    (tmp_path / "bin" / "git").chmod(0o755)
    script = f"""
from pathlib import Path
from architect_parallel.system.git import open_repository
from architect_parallel.worktrees.create import add_worktree, require_base
repository = open_repository(Path({str(checkout)!r}))
add_worktree(repository, path=repository.root / ".architect-parallel-1", branch="architect/parallel-1",
             base_commit=require_base(repository), run_id="killed")
"""
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    launcher = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2], env=environment)
    try:
        while launcher.poll() is None and not begun.exists():
            time.sleep(0.01)
        launcher.kill()
        launcher.wait()
        assert is_locked(repository.state_dir / "worktrees.lock")
    finally:
        launcher.kill()
        launcher.wait()
        go.touch()
    with registration_lock(repository):
        assert ended.exists()


# --- kinds of repositories --------------------------------------------------------------------------------------------


def detached(checkout: Path, tmp_path: Path) -> Path:
    git(checkout, "checkout", "-q", "--detach", "HEAD~1")
    return checkout


def bare(checkout: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "-q", "--bare", checkout, "bare.git")
    return tmp_path / "bare.git"


def linked(checkout: Path, tmp_path: Path) -> Path:
    git(checkout, "worktree", "add", "-q", "-b", "other", tmp_path / "linked", "HEAD~1")
    return tmp_path / "linked"


def shallow(checkout: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{checkout}", "shallow")
    return tmp_path / "shallow"


def partial(checkout: Path, tmp_path: Path) -> Path:
    git(checkout, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--filter=blob:none", f"file://{checkout}", "partial")
    return tmp_path / "partial"


def with_submodule(checkout: Path, tmp_path: Path) -> Path:
    module = make_repository(tmp_path / "module")
    git(checkout, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", module, "vendored")
    git(checkout, "config", "submodule.recurse", "true")
    commit_all(checkout, "a submodule")
    return checkout


def inside_submodule(checkout: Path, tmp_path: Path) -> Path:
    outer = make_repository(tmp_path / "outer")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", checkout, "module")
    return outer / "module"


def odd_names(checkout: Path, tmp_path: Path) -> Path:
    for name in (b"new\nline", b'quo"te', b"caf\xe9", b" space ", b"-dash", b"tab\t", "⛵".encode()):
        with open(os.fsencode(checkout) + b"/" + name, "w") as file:
            file.write("x")
    commit_all(checkout, "odd names")
    return checkout


def sha256(checkout: Path, tmp_path: Path) -> Path:
    return make_repository(tmp_path / "sha256", options=("--object-format=sha256",))


def worktree_config(checkout: Path, tmp_path: Path) -> Path:
    git(checkout, "config", "extensions.worktreeConfig", "true")
    git(checkout, "config", "--worktree", "core.worktree", checkout)
    return checkout


def nested(checkout: Path, tmp_path: Path) -> Path:
    return make_repository(checkout / "build" / "inner")


def separate(checkout: Path, tmp_path: Path) -> Path:
    return make_repository(tmp_path / "work", options=(f"--separate-git-dir={tmp_path / 'store'}",))


def odd_path(checkout: Path, tmp_path: Path) -> Path:
    return make_repository(tmp_path / """it's "ünï" $x;y\\z """)


KINDS = [
    detached, bare, linked, shallow, partial, with_submodule, inside_submodule, odd_names, sha256, worktree_config,
    nested, separate, odd_path,
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_odd_repositories_work(checkout: Path, tmp_path: Path, kind: Callable[[Path, Path], Path]) -> None:
    place = kind(checkout, tmp_path)
    repository = open_repository(place)
    exclude_from_status(repository)
    base = require_base(repository)
    assert base == git(place, "rev-parse", "HEAD")
    first, second = add(repository, 1), add(repository, 2)
    for worktree in (first, second):
        assert git(worktree.path, "status", "--porcelain") == ""
        assert git(worktree.path, "rev-parse", "HEAD") == base
        files = git(place, "ls-tree", "-r", "-z", "--full-tree", "--name-only", "HEAD").split("\0")[:-1]
        assert files == git(worktree.path, "ls-files", "-z").split("\0")[:-1] != []
        assert all(os.path.lexists(worktree.path / name) for name in files)
    assert highest_number(repository) == 2
    if kind is not bare:
        assert git(place, "status", "--porcelain") == ""


def test_sparse_patterns_carry_over(checkout: Path) -> None:
    git(checkout, "sparse-checkout", "set", "slugger")
    worktree = add(open_repository(checkout))
    assert (worktree.path / "slugger" / "slug.py").exists()
    assert not (worktree.path / "tests").exists()
    assert git(worktree.path, "status", "--porcelain") == ""


# --- require_base -----------------------------------------------------------------------------------------------------


def test_a_base_is_any_revision(repository: Repository, checkout: Path) -> None:
    head, first = git(checkout, "rev-parse", "HEAD"), git(checkout, "rev-parse", "HEAD~1")
    git(checkout, "tag", "-a", "-m", "x", "v1", "HEAD~1")
    assert require_base(repository) == require_base(repository, "main") == require_base(repository, head[:9]) == head
    assert require_base(repository, "v1") == require_base(repository, ":/slugify") == first


@pytest.mark.parametrize(
    "ref", ["nowhere", "", "-x", "--all", "HEAD:README.md", "HEAD^{tree}", "main..HEAD", "a\0b", "0" * 40, "f" * 40]
)
def test_a_ref_that_is_no_commit_is_exit_2(repository: Repository, ref: str) -> None:
    with pytest.raises(UsageError) as caught:
        require_base(repository, ref)
    assert repr(ref) in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


def test_without_a_commit_it_is_exit_3_with_the_remedy(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main", "empty")
    with pytest.raises(EnvironmentProblem, match="no commit yet") as caught:
        require_base(open_repository(tmp_path / "empty"))
    assert caught.value.hint == 'git commit --allow-empty -m "first commit"'


def test_a_broken_head_is_exit_3(repository: Repository, checkout: Path) -> None:
    (checkout / ".git" / "HEAD").write_text("1" * 40 + "\n")
    with pytest.raises(EnvironmentProblem, match="HEAD"):
        require_base(repository)


# --- highest_number ---------------------------------------------------------------------------------------------------


def test_numbers_are_above_everything_in_use(repository: Repository, checkout: Path) -> None:
    assert highest_number(repository) == 0
    git(checkout, "branch", "architect/parallel-3")
    assert highest_number(repository) == 3
    git(checkout, "pack-refs", "--all")
    assert highest_number(repository) == 3
    (checkout / ".architect-parallel-5").mkdir()
    assert highest_number(repository) == 5
    (checkout / ".architect-parallel-6").symlink_to("nowhere")
    assert highest_number(repository) == 6
    git(checkout, "worktree", "add", "-q", "--detach", ".architect-parallel-7")
    (checkout / ".architect-parallel-7").rename(checkout / "elsewhere")
    assert highest_number(repository) == 7
    git(checkout, "branch", "architect/parallel-8/deeper")  # makes architect/parallel-8 impossible
    assert highest_number(repository) == 8
    (checkout / ".git/refs/heads/architect/parallel-9").touch()  # a ref cut short by a power failure
    assert highest_number(repository) == 9


def test_foreign_names_are_no_numbers(repository: Repository, checkout: Path) -> None:
    for name in ("experiment", "007x", "007", "0", "-1", "1x", "x1", "1.5", "٣", "9999999999"):
        git(checkout, "branch", f"architect/parallel-{name}")
        (checkout / f".architect-parallel-{name}").mkdir()
    for name in ("architect/parallel", "architect/parallels-4", "myarchitect/parallel-4", "x/architect/parallel-4"):
        git(checkout, "branch", name)
    git(checkout, "tag", "architect/parallel-4")
    assert highest_number(repository) == 0


@pytest.mark.parametrize("packed", [False, True])
def test_a_branch_named_architect_is_named_before_anything_is_made(
    repository: Repository, checkout: Path, packed: bool
) -> None:
    git(checkout, "branch", "architect")
    if packed:
        git(checkout, "pack-refs", "--all")
    before = refs_and_worktrees(checkout)
    for attempt in (lambda: highest_number(repository), lambda: add(repository)):
        with pytest.raises(EnvironmentProblem, match="a branch named 'architect'") as caught:
            attempt()
        assert caught.value.hint == "git branch -m architect architect-old"
    assert refs_and_worktrees(checkout) == before


# --- exclude_from_status ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (None, b"/.architect-parallel-*/\n/.architect/\n"),
        (b"", b"/.architect-parallel-*/\n/.architect/\n"),
        (b"# mine\n*.x", b"# mine\n*.x\n/.architect-parallel-*/\n/.architect/\n"),
        (b"*.x\r\n/.architect/\r\n", b"*.x\r\n/.architect/\r\n/.architect-parallel-*/\n"),
        (b"/.architect-parallel-*/\n/.architect/", b"/.architect-parallel-*/\n/.architect/"),
    ],
    ids=["missing", "empty", "no last newline", "crlf", "there already"],
)
def test_entries_are_added_once(repository: Repository, checkout: Path, old: bytes | None, new: bytes) -> None:
    file = checkout / ".git" / "info" / "exclude"
    if old is None:
        file.unlink(missing_ok=True)
        file.parent.rmdir()
    else:
        file.write_bytes(old)
    (checkout / ".architect-parallel-1").mkdir()
    (checkout / ".architect-parallel-1" / "x").touch()
    exclude_from_status(repository)
    exclude_from_status(repository)
    assert file.read_bytes() == new
    assert git(checkout, "status", "--porcelain") == ""


def test_a_linked_exclude_file_stays_a_link(repository: Repository, checkout: Path, tmp_path: Path) -> None:
    file, dotfile = checkout / ".git" / "info" / "exclude", tmp_path / "dotfile"
    dotfile.write_text("*.x\n")
    file.unlink(missing_ok=True)
    file.symlink_to(dotfile)
    exclude_from_status(repository)
    assert file.is_symlink()
    assert dotfile.read_text() == "*.x\n/.architect-parallel-*/\n/.architect/\n"


def test_an_exclude_file_that_cannot_be_written_is_exit_3(repository: Repository, checkout: Path) -> None:
    file = checkout / ".git" / "info" / "exclude"
    file.unlink(missing_ok=True)
    file.mkdir()
    with pytest.raises(EnvironmentProblem, match="exclude cannot be written"):
        exclude_from_status(repository)


def test_a_repository_that_cannot_be_written_is_exit_3(repository: Repository, checkout: Path) -> None:
    repository.state_dir.write_text("")  # in the way, for root as well; permissions do not stop root
    with pytest.raises(EnvironmentProblem, match="architect cannot be written") as caught:
        add(repository)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not stop root")
def test_a_read_only_repository_is_exit_3(repository: Repository, checkout: Path) -> None:
    (checkout / ".git").chmod(0o555)
    try:
        with pytest.raises(EnvironmentProblem, match="cannot be written"):
            add(repository)
    finally:
        (checkout / ".git").chmod(0o755)


# --- reopen_worktree --------------------------------------------------------------------------------------------------


def test_a_reopened_worktree_is_its_base_again(repository: Repository) -> None:
    worktree = add(repository)
    (worktree.path / "work").write_text("x")
    tip = commit_all(worktree.path, "work")
    (worktree.path / "half").write_text("x")
    git(worktree.path, "checkout", "-q", "-b", "agents-own")
    (worktree.admin_dir / "MERGE_HEAD").write_text(tip)
    (worktree.admin_dir / "index.lock").touch()
    again = reopen(repository)
    assert again == worktree
    assert git(again.path, "status", "--porcelain", "--branch") == "## architect/parallel-1"
    assert git(again.path, "rev-parse", "HEAD") == worktree.base_commit
    assert not (again.path / "work").exists()
    assert not (again.admin_dir / "MERGE_HEAD").exists()
    assert owns_branch(repository, worktree.branch, RUN)
    assert git(again.path, "rev-parse", "architect/parallel-1@{1}") == tip


@pytest.mark.parametrize("loss", ["nothing made", "worktree removed", "all removed", "directory gone"])
def test_a_lost_worktree_is_made_anew(repository: Repository, checkout: Path, loss: str) -> None:
    if loss != "nothing made":
        worktree = add(repository)
        match loss:
            case "directory gone":
                worktree.path.rename(checkout.parent / "gone")
            case _:
                git(checkout, "worktree", "remove", worktree.path)
                if loss == "all removed":
                    git(checkout, "branch", "-D", worktree.branch)
    again = reopen(repository)
    assert git(again.path, "status", "--porcelain", "--branch") == "## architect/parallel-1"
    assert owns_branch(repository, again.branch, RUN)


def test_what_is_not_the_runs_is_not_reopened(repository: Repository, checkout: Path, tmp_path: Path) -> None:
    worktree = add(repository, run_id="another")
    with pytest.raises(EnvironmentProblem, match="not the one"):
        reopen(repository)
    git(checkout, "worktree", "remove", worktree.path)
    git(checkout, "branch", "-D", worktree.branch)
    worktree.path.mkdir()
    (worktree.path / "mine").write_text("x")
    with pytest.raises(EnvironmentProblem, match="not the worktree"):
        reopen(repository)
    assert (worktree.path / "mine").read_text() == "x"
    (worktree.path / "mine").rename(tmp_path / "mine")
    worktree.path.rmdir()
    worktree.path.symlink_to(tmp_path)
    with pytest.raises(EnvironmentProblem, match="not the worktree"):
        reopen(repository)
    assert (tmp_path / "mine").read_text() == "x"


def test_a_branch_the_user_works_on_is_not_reset(repository: Repository, checkout: Path) -> None:
    worktree = add(repository)
    git(checkout, "worktree", "remove", worktree.path)
    git(checkout, "switch", "-q", worktree.branch)
    tip = commit_all(checkout, "my own")
    with pytest.raises(EnvironmentProblem, match="checked out in"):
        reopen(repository)
    assert git(checkout, "rev-parse", worktree.branch) == tip


def test_a_worktree_its_user_locked_stays(repository: Repository, checkout: Path) -> None:
    worktree = add(repository)
    git(checkout, "worktree", "lock", "--reason", "on a stick", worktree.path)
    (worktree.path / "mine").write_text("x")
    with pytest.raises(EnvironmentProblem, match="locked: on a stick"):
        reopen(repository)
    assert (worktree.path / "mine").exists()


# --- ownership --------------------------------------------------------------------------------------------------------


def test_ownership_outlives_an_expired_reflog(repository: Repository, checkout: Path) -> None:
    worktree = add(repository)
    git(checkout, "reflog", "expire", "--expire=now", "--all")
    assert git(checkout, "reflog", "show", worktree.branch) == ""  # control: nothing of the old proof is left
    assert owns_branch(repository, worktree.branch, RUN, worktree.base_commit)
    commit_all(worktree.path, "work")
    git(checkout, "reflog", "expire", "--expire=now", "--all")
    assert owns_branch(repository, worktree.branch, RUN, worktree.base_commit)
    assert not owns_branch(repository, worktree.branch, "another", worktree.base_commit)
    assert reopen(repository).branch == worktree.branch


@pytest.mark.parametrize("how", ["made again", "deleted", "renamed"])
def test_a_branch_made_again_at_the_work_of_the_run_is_the_runs(
    repository: Repository, checkout: Path, how: str
) -> None:
    worktree = add(repository)
    work = commit_all(worktree.path, "work")
    record_branch(repository, branch=worktree.branch, commit=work, run_id=RUN)
    git(worktree.path, "checkout", "-q", "--detach")
    git(checkout, "branch", *(["-m", worktree.branch, "renamed"] if how == "renamed" else ["-D", worktree.branch]))
    if how == "made again":
        git(checkout, "branch", worktree.branch, work)
    git(checkout, "gc", "-q", "--prune=now")
    assert git(checkout, "cat-file", "-t", work) == "commit", "the record keeps the work"
    if how == "made again":
        assert owns_branch(repository, worktree.branch, RUN, worktree.base_commit)
    reopen(repository)
    assert owns_branch(repository, worktree.branch, RUN, worktree.base_commit)


@pytest.mark.parametrize("where", ["at the base", "elsewhere", "on top"])
@pytest.mark.parametrize("logged", [True, False])
def test_a_branch_that_a_user_made_again_stays_the_users(
    repository: Repository, checkout: Path, where: str, logged: bool
) -> None:
    worktree = add(repository)
    git(checkout, "worktree", "remove", worktree.path)
    git(checkout, "branch", "-D", worktree.branch)
    git(checkout, "config", "core.logAllRefUpdates", str(logged).lower())
    if where == "on top":
        commit_all(checkout, "mine")
    git(checkout, "branch", worktree.branch, "HEAD~1" if where == "elsewhere" else "HEAD")
    assert not owns_branch(repository, worktree.branch, RUN, worktree.base_commit)
    with pytest.raises(EnvironmentProblem, match="not the one"):
        reopen(repository)


def test_a_users_branch_of_our_kind_of_name_is_the_users(repository: Repository, checkout: Path) -> None:
    add(repository)
    git(checkout, "branch", "architect/parallel-99")
    git(checkout, "reflog", "expire", "--expire=now", "--all")
    assert not owns_branch(repository, "architect/parallel-99", RUN)


def test_the_record_goes_with_the_branch(repository: Repository, checkout: Path) -> None:
    worktree = add(repository)
    git(checkout, "worktree", "remove", worktree.path)
    assert git(checkout, "for-each-ref", "refs/architect/owned") != ""
    assert delete_branch(repository, worktree.branch, worktree.base_commit) is None
    assert git(checkout, "for-each-ref", "refs/architect/owned") == ""
