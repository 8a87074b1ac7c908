"""`worktrees.prepare`: ignored files are copied as git matches them; setup commands run before the agent."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.repositories import commit_all, git, make_repository

from architect_parallel.domain import WorktreeSettings
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.system.git import Repository, open_repository
from architect_parallel.worktrees.create import Worktree, add_worktree, require_base
from architect_parallel.worktrees.places import exclude_from_status
from architect_parallel.worktrees.prepare import prepare, require_copy_entries, require_links
from architect_parallel.worktrees.remove import remove_worktree


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    exit_code: int | None
    output: str = ""
    timed_out: bool = False


@pytest.fixture
def worktree(repository: Repository) -> Worktree:
    return add(repository)


def add(repository: Repository) -> Worktree:
    return add_worktree(
        repository,
        path=repository.root / ".architect-parallel-1",
        branch="architect/parallel-1",
        base_commit=require_base(repository),
        run_id="r1",
    )


def shell_in(worktree: Worktree) -> Callable[[str], Outcome]:
    def run(command: str) -> Outcome:
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=worktree.path, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        return Outcome(exit_code=done.returncode, output=os.fsdecode(done.stdout + done.stderr))

    return run


def copied(
    repository: Repository, worktree: Worktree, *copy: str, include_file: str = ".worktreeinclude"
) -> tuple[list[str], list[str]]:
    """(files in the worktree that git does not track, warnings)"""
    settings = WorktreeSettings(copy=copy, include_file=include_file)
    warnings = prepare(repository, worktree, settings, run=shell_in(worktree))
    names = git(worktree.path, "ls-files", "--others", "-z").split("\0")[:-1]
    return sorted(names), warnings


@pytest.fixture
def ignored(checkout: Path) -> Path:
    """The checkout with ignored files: `.env`, `build/…` (a nested link, an executable, a read-only file), `a.log`."""
    (checkout / ".env").write_text("KEY=1\n")
    (checkout / ".env").chmod(0o600)
    (checkout / "a.log").write_text("log")
    (checkout / "slugger" / "b.log").write_text("log")
    (checkout / "build" / "deep").mkdir(parents=True)
    (checkout / "build" / "tool").write_text("#!/bin/sh\n")
    (checkout / "build" / "tool").chmod(0o555)
    (checkout / "build" / "deep" / "link").symlink_to("../tool")
    (checkout / "build" / "dangling").symlink_to("/nowhere/at/all")
    (checkout / "build" / "new\nline").write_bytes(os.urandom(100_000))
    return checkout


def test_nothing_is_copied_unasked(repository: Repository, worktree: Worktree, ignored: Path) -> None:
    assert copied(repository, worktree) == ([], [])


def test_the_include_file_has_gitignore_syntax(repository: Repository, worktree: Worktree, ignored: Path) -> None:
    (ignored / ".worktreeinclude").write_text("# comment\n.env\n*.log\n!/a.log\n")
    assert copied(repository, worktree) == ([".env", "slugger/b.log"], [])
    assert (worktree.path / ".env").read_text() == "KEY=1\n"
    assert (worktree.path / ".env").stat().st_mode & 0o777 == 0o600


def test_another_include_file_may_be_named(repository: Repository, worktree: Worktree, ignored: Path) -> None:
    (ignored / "wanted").write_text("*.log\n")
    assert copied(repository, worktree, include_file="wanted") == (["a.log", "slugger/b.log"], [])


def test_tracked_files_are_never_copied(repository: Repository, worktree: Worktree, ignored: Path) -> None:
    (ignored / "README.md").write_text("edited in the main checkout")
    (ignored / ".worktreeinclude").write_text("*.md\n")
    assert copied(repository, worktree, "README.md") == ([], [])
    assert (worktree.path / "README.md").read_text() != "edited in the main checkout"


def test_directories_come_whole_with_links_and_modes(repository: Repository, worktree: Worktree, ignored: Path) -> None:
    names = ["build/dangling", "build/deep/link", "build/new\nline", "build/tool"]
    assert copied(repository, worktree, "build/") == (names, [])
    there = worktree.path / "build"
    assert os.readlink(there / "deep" / "link") == "../tool"
    assert os.readlink(there / "dangling") == "/nowhere/at/all"
    assert (there / "tool").stat().st_mode & 0o777 == 0o555
    assert (there / "new\nline").read_bytes() == (ignored / "build" / "new\nline").read_bytes()


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("*.log", ["a.log"]),
        ("**/*.log", ["a.log", "slugger/b.log"]),
        ("./.env", [".env"]),
        ("build/to*", ["build/tool"]),
        (".[e]nv", [".env"]),
    ],
)
def test_entries_are_globs(
    repository: Repository, worktree: Worktree, ignored: Path, entry: str, expected: list[str]
) -> None:
    assert copied(repository, worktree, entry) == (expected, [])


def test_an_entry_that_is_not_there_is_a_warning(repository: Repository, worktree: Worktree, ignored: Path) -> None:
    assert copied(repository, worktree, ".envrc", "*.none") == ([], [f"worktrees.copy: .envrc is not in {ignored}"])


@pytest.mark.parametrize("entry", ["../secret", "/etc/passwd", "a/../../secret", "~/secret", "", "a\0b"])
def test_nothing_outside_the_repository_can_be_named(
    repository: Repository, worktree: Worktree, checkout: Path, entry: str
) -> None:
    (checkout.parent / "secret").write_text("x")
    with pytest.raises(UsageError, match=r"worktrees\.copy"):
        require_copy_entries(WorktreeSettings(copy=(entry,)))
    with pytest.raises(UsageError):
        copied(repository, worktree, entry)


def test_links_out_of_the_repository_are_not_followed(
    repository: Repository, worktree: Worktree, checkout: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("x")
    (checkout / "build").symlink_to(tmp_path / "outside")
    (checkout / ".worktreeinclude").write_text("secret\nbuild\n")
    names, _ = copied(repository, worktree, "build/secret", "build/**")
    assert names == ["build"]
    assert os.readlink(worktree.path / "build") == str(tmp_path / "outside")


def test_nothing_is_written_through_a_link_of_the_base(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (checkout / "conf").symlink_to(tmp_path / "outside")
    base = commit_all(checkout, "a link")
    (checkout / "conf").unlink()
    (checkout / "conf").mkdir()
    commit_all(checkout, "no link")
    (checkout / "conf" / "debug.log").write_text("x")
    repository = open_repository(checkout)
    worktree = add_worktree(
        repository, path=checkout / ".architect-parallel-1", branch="b", base_commit=base, run_id="r"
    )  # fmt: skip
    assert (worktree.path / "conf").is_symlink()  # control: a plain copy would go through it
    names, warnings = copied(repository, worktree, "conf/debug.log")
    assert (names, len(warnings)) == ([], 1)
    assert "conf/debug.log is not copied" in warnings[0]
    assert os.listdir(tmp_path / "outside") == []


def test_what_the_base_has_is_not_overwritten(checkout: Path) -> None:
    (checkout / ".env").write_text("of the base\n")
    git(checkout, "add", "--force", ".env")
    base = commit_all(checkout, "tracked")
    git(checkout, "rm", "-q", "--cached", ".env")
    commit_all(checkout, "untracked again")
    (checkout / ".env").write_text("mine\n")
    repository = open_repository(checkout)
    worktree = add_worktree(
        repository, path=checkout / ".architect-parallel-1", branch="b", base_commit=base, run_id="r"
    )  # fmt: skip
    assert copied(repository, worktree, ".env") == ([], [])
    assert (worktree.path / ".env").read_text() == "of the base\n"


def test_other_worktrees_are_not_copied(repository: Repository, worktree: Worktree, ignored: Path) -> None:
    (worktree.path / "own.log").write_text("x")
    (ignored / ".worktreeinclude").write_text("*\n")
    names, _ = copied(repository, worktree)
    assert ".env" in names
    assert not any("architect-parallel" in name for name in names)


def test_a_clone_inside_is_copied_whole(repository: Repository, worktree: Worktree, checkout: Path) -> None:
    make_repository(checkout / "build" / "dependency")
    prepare(repository, worktree, WorktreeSettings(copy=("build",)), run=shell_in(worktree))
    assert git(worktree.path / "build" / "dependency", "log", "--format=%s") == "first"


def test_from_a_worktree_of_a_bare_repository_files_come_from_there(checkout: Path, tmp_path: Path) -> None:
    bare, linked = tmp_path / "bare.git", tmp_path / "linked"
    git(checkout, "clone", "-q", "--bare", checkout, bare)
    git(bare, "worktree", "add", "-q", linked)
    (linked / ".env").write_text("x")
    repository = open_repository(linked)
    assert copied(repository, add(repository), ".env") == ([".env"], [])


def test_what_is_neither_file_nor_link_is_left(repository: Repository, worktree: Worktree, ignored: Path) -> None:
    os.mkfifo(ignored / "build" / "fifo")
    names, _ = copied(repository, worktree, "build")
    assert "build/tool" in names
    assert "build/fifo" not in names


# --- setup ------------------------------------------------------------------------------------------------------------


def test_setup_runs_in_order_after_the_copies(repository: Repository, worktree: Worktree, ignored: Path) -> None:
    settings = WorktreeSettings(copy=(".env",), setup=("cp .env one.log", "cat one.log one.log > two.log"))
    assert prepare(repository, worktree, settings, run=shell_in(worktree)) == []
    assert (worktree.path / "two.log").read_text() == "KEY=1\nKEY=1\n"


def test_a_failing_setup_ends_the_preparation(repository: Repository, worktree: Worktree) -> None:
    settings = WorktreeSettings(setup=("echo no such; exit 3", "touch later.log"))
    with pytest.raises(EnvironmentProblem, match=r"'echo no such; exit 3' ended with 3 in .*parallel-1: no such"):
        prepare(repository, worktree, settings, run=shell_in(worktree))
    assert not (worktree.path / "later.log").exists()


def test_a_setup_out_of_time_says_so(repository: Repository, worktree: Worktree) -> None:
    settings = WorktreeSettings(setup=("sleep 9",))
    with pytest.raises(EnvironmentProblem, match="'sleep 9' ran out of time"):
        prepare(repository, worktree, settings, run=lambda _: Outcome(exit_code=-9, timed_out=True))


def test_what_setup_changes_is_told(repository: Repository, worktree: Worktree) -> None:
    settings = WorktreeSettings(setup=("echo x >> README.md; touch lock-file",))
    assert prepare(repository, worktree, settings, run=shell_in(worktree)) == [
        "worktrees.setup changed what git sees and will stand in the result: README.md, lock-file"
    ]


# --- links ------------------------------------------------------------------------------------------------------------


def test_an_ignored_directory_is_linked_and_hidden_from_git(tmp_path: Path) -> None:
    files = {".gitignore": "node_modules/\n*.log\n", "package.json": "{}", "src/a": "", "tracked/x": ""}
    repository = open_repository(make_repository(tmp_path / "repo", files))
    module = repository.root / "node_modules" / "left-pad" / "index.js"
    module.parent.mkdir(parents=True)
    module.write_text("x")
    settings = WorktreeSettings(link=("node_modules/", "absent"), copy=("node_modules", "*.log"))
    (repository.root / "a.log").write_text("log")
    assert require_links(repository, WorktreeSettings(link=("node_modules",))) == [
        f"worktrees.link: agents can write through node_modules into {repository.root}"
    ]
    worktree = add(repository)
    (worktree.path / "probe").symlink_to(repository.root)
    (worktree.path / "node_modules").symlink_to(repository.root)
    assert "?? node_modules" in git(worktree.path, "status", "--porcelain"), "git takes a link for no directory"
    (worktree.path / "node_modules").unlink()
    (worktree.path / "probe").unlink()
    exclude_from_status(repository, settings)
    warnings = prepare(repository, worktree, settings, run=shell_in(worktree))
    assert warnings == [f"worktrees.link: absent is not in {repository.root}"]
    assert os.readlink(worktree.path / "node_modules") == os.fspath(module.parent.parent)
    assert (worktree.path / "a.log").exists(), "other files are copied, and those behind the link are not"
    assert git(worktree.path, "status", "--porcelain") == ""
    remove_worktree(repository, path=worktree.path, branch=worktree.branch, run_id="r1")
    assert module.read_text() == "x", "the removal does not follow the link"


@pytest.mark.parametrize(("entry", "message"), [("src", "is not ignored by git"), ("linked", "is a link itself")])
def test_only_ignored_directories_are_linked(tmp_path: Path, entry: str, message: str) -> None:
    repository = open_repository(make_repository(tmp_path / "repo", {".gitignore": "linked\n", "src/a": ""}))
    (repository.root / "linked").symlink_to(tmp_path)
    with pytest.raises(UsageError, match=message):
        require_links(repository, WorktreeSettings(link=(entry,)))


def tree_of(directory: Path) -> dict[str, tuple[int, int, bytes | str]]:
    """Path → mode, time and content of everything that is copied."""
    return {
        os.fspath(path.relative_to(directory)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns if path.is_file() and not path.is_symlink() else 0,
            os.readlink(path) if path.is_symlink() else path.read_bytes(),
        )
        for path in directory.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }


@pytest.mark.parametrize("how", ["whole", "one by one"])
def test_a_directory_arrives_the_same_whole_or_file_by_file(
    repository: Repository, worktree: Worktree, ignored: Path, how: str
) -> None:
    if how == "one by one":
        os.mkfifo(ignored / "build" / "fifo")  # a plain `cp -a` would make it again
    prepare(repository, worktree, WorktreeSettings(copy=("build",)), run=shell_in(worktree))
    (ignored / "build" / "fifo").unlink(missing_ok=True)
    assert tree_of(worktree.path / "build") == tree_of(ignored / "build")


def test_a_directory_with_a_tracked_file_is_copied_around_it(
    repository: Repository, checkout: Path, ignored: Path
) -> None:
    (ignored / "build" / "kept").write_text("of the base\n")
    git(checkout, "add", "--force", "build/kept")
    commit_all(checkout, "tracked")
    git(checkout, "rm", "-q", "-r", "--cached", "build")
    base = commit_all(checkout, "untracked")
    git(checkout, "add", "--force", "build/kept")
    worktree = add_worktree(
        repository, path=checkout / ".architect-parallel-2", branch="b", base_commit=base, run_id="r"
    )
    names, _ = copied(repository, worktree, "build")
    assert "build/tool" in names
    assert "build/kept" not in names, "git tracks it in the checkout"
