"""Artifacts that lie: one bad thing, and nothing of them is imported; and nothing they say names anything here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.landing_runs import ended_run
from support.repositories import git

from architect_parallel.api.artifacts import try_artifacts, write_artifacts
from architect_parallel.api.import_run import import_run
from architect_parallel.api.report import material
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.journal import Journal
from architect_parallel.landing.cleanup import execute, plan_cleanup
from architect_parallel.reports import markdown, run_text
from architect_parallel.system.git import Repository, open_repository

RUN = "20260101-000000-abcd"


@dataclass
class Clone:
    """Another clone, and the artifacts of a run for it."""

    source: Path
    """The repository the run was made in."""
    artifacts: Path
    root: Path
    repository: Repository
    journal: Journal

    def traces(self) -> tuple[str, list[str], list[str]]:
        """All that an import could leave: refs, runs, objects."""
        objects = self.root / ".git" / "objects"
        loose = sorted(os.fspath(path) for path in objects.rglob("*") if path.is_file())
        return git(self.root, "for-each-ref"), self.journal.run_ids(), loose

    def take(self) -> None:
        import_run(self.repository, self.journal, self.artifacts)


@pytest.fixture
def clone(repository: Repository, tmp_path: Path) -> Iterator[Clone]:
    """A clone of the repository in which three workers worked, two of which changed something."""
    with Journal.open(repository.state_dir) as journal:
        git(tmp_path, "clone", "--quiet", repository.root, tmp_path / "clone")
        ended_run(repository, journal, RUN, {"a.txt": "a\n"}, {"b.txt": "b\n" * 500, "bin": os.urandom(3000)}, None)
        assert write_artifacts(repository, journal, RUN, tmp_path / "out") == []
    opened = open_repository(tmp_path / "clone")
    with Journal.open(opened.state_dir) as journal:
        yield Clone(repository.root, tmp_path / "out", tmp_path / "clone", opened, journal)


def edited(directory: Path, change: Callable[[Any], None]) -> None:
    plain = json.loads((directory / "result.json").read_text())
    change(plain)
    (directory / "result.json").write_text(json.dumps(plain))


def truncate(directory: Path, name: str, part: float) -> None:
    data = (directory / name).read_bytes()
    (directory / name).write_bytes(data[: int(len(data) * part)])


def bundle_of(directory: Path, checkout: Path, name: str, *refs: str) -> None:
    git(checkout, "bundle", "create", "--quiet", directory / name, *refs)


def flip(directory: Path, name: str) -> None:
    data = bytearray((directory / name).read_bytes())
    data[-40] ^= 0xFF
    (directory / name).write_bytes(bytes(data))


def more_refs(directory: Path, checkout: Path) -> None:
    git(checkout, "update-ref", "refs/heads/evil", "architect/parallel-2")
    bundle_of(directory, checkout, "worker-2.bundle", "refs/heads/architect/parallel-2", "refs/heads/evil", "^main")


def absurd_ref(directory: Path, checkout: Path) -> None:
    data = (directory / "worker-2.bundle").read_bytes()
    name = b"refs/heads/" + b"../" * 20 + b"x"
    (directory / "worker-2.bundle").write_bytes(data.replace(b"refs/heads/architect/parallel-2", name))


def link_in_place(directory: Path, checkout: Path) -> None:
    (directory / "worker-2.bundle").unlink()
    (directory / "worker-2.bundle").symlink_to(checkout)


def other_commit(directory: Path, checkout: Path) -> None:
    def change(plain: Any) -> None:
        plain["results"][1]["diff"]["head"] = plain["results"][0]["diff"]["head"]

    edited(directory, change)


def hostile_tree(directory: Path, checkout: Path) -> None:
    """A commit whose tree has a directory `.git`, which no git would check out or ought to take in."""
    blob = git(checkout, "rev-parse", "main:README.md")
    inner = checkout / "inner"
    inner.write_bytes(f"100755 blob {blob}\thooks\n".encode())
    with inner.open("rb") as stream:
        tree = subprocess.check_output(["git", "mktree"], cwd=checkout, stdin=stream).decode().strip()
    raw = b"40000 .git\0" + bytes.fromhex(tree)
    (checkout / "raw").write_bytes(raw)
    top = git(checkout, "hash-object", "-w", "-t", "tree", "--literally", "raw")
    commit = git(checkout, "commit-tree", top, "-p", "main", "-m", "evil")
    git(checkout, "update-ref", "refs/heads/architect/parallel-2", commit)
    bundle_of(directory, checkout, "worker-2.bundle", "refs/heads/architect/parallel-2", "^main")

    def change(plain: Any) -> None:
        plain["results"][1]["diff"]["head"] = commit

    edited(directory, change)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda d, c: shutil.rmtree(d), "is not a directory"),
        (lambda d, c: (d / "result.json").unlink(), "holds no artifacts"),
        (lambda d, c: truncate(d, "result.json", 0.5), "not JSON"),
        (lambda d, c: os.truncate(d / "result.json", 2**30), "too many to be a result"),
        (lambda d, c: edited(d, lambda p: p["results"][0].update(branch="../main")), "cannot be a branch"),
        (lambda d, c: (d / "worker-2.bundle").unlink(), "worker-2.bundle is missing"),
        (lambda d, c: shutil.copy(d / "worker-1.bundle", d / "worker-3.bundle"), "belongs to no worker"),
        (lambda d, c: truncate(d, "worker-2.bundle", 0.7), "truncated or damaged"),
        (lambda d, c: truncate(d, "worker-2.bundle", 0.02), "is not a git bundle"),
        (lambda d, c: flip(d, "worker-2.bundle"), "truncated or damaged"),
        (lambda d, c: (d / "worker-2.bundle").write_text(f"gitdir: {c}/.git\n"), "is not a git bundle"),
        (link_in_place, "is not a regular file"),
        (more_refs, "refs/heads/evil"),
        (absurd_ref, "none of worker 2's"),
        (other_commit, "does not hold the commit"),
        (hostile_tree, "truncated or damaged"),
    ],
    ids=lambda each: each.__name__ if callable(each) else str(each),
)
def test_one_bad_thing_and_nothing_is_imported(clone: Clone, spoil: Callable[[Path, Path], object], told: str) -> None:
    spoil(clone.artifacts, clone.source)
    before = clone.traces()

    with pytest.raises(UsageError) as raised:
        clone.take()

    assert told in raised.value.message
    assert "\n" not in str(raised.value)
    assert clone.traces() == before


def test_control_unspoilt_it_is_imported(clone: Clone) -> None:
    clone.take()

    assert clone.journal.run_ids() == [RUN]
    assert git(clone.root, "show", "architect/parallel-1:a.txt") == "a"


def test_control_plain_git_takes_what_is_refused_here(clone: Clone) -> None:
    more_refs(clone.artifacts, clone.source)

    git(clone.root, "fetch", "--quiet", clone.artifacts / "worker-2.bundle", "refs/*:refs/*")

    assert git(clone.root, "rev-parse", "refs/heads/evil")


@pytest.mark.parametrize("begun", ["own head", "unknown"])
def test_a_base_that_would_hide_work_is_not_believed(clone: Clone, begun: str) -> None:
    def lie(plain: Any) -> None:
        changes = plain["results"][1]["diff"]
        changes["base"] = changes["head"] if begun == "own head" else "d" * 40

    edited(clone.artifacts, lie)
    clone.take()
    worker = clone.journal.result(RUN).results[1]
    assert worker.diff is not None
    assert worker.diff.base == git(clone.root, "rev-parse", "main")
    assert worker.files_modified == ["b.txt", "bin"]


def test_words_in_a_result_name_nothing_here(clone: Clone, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "precious").write_text("precious\n")

    def change(plain: Any) -> None:
        for each in plain["results"]:
            each |= {"worktree_path": str(mine), "log_path": str(mine / "precious"), "files_modified": ["/etc/passwd"]}
            each |= dict.fromkeys(("name", "backend", "agent", "model", "task", "error", "session_id"), "\x1b[2Jx\ny")
        plain["warnings"] = ["\x1b[2J"]

    edited(clone.artifacts, change)
    clone.take()
    told = clone.journal.result(RUN).results[0]
    assert (told.files_modified, told.log_path) == (["a.txt"], None)
    assert told.worktree_path == str(clone.root / ".architect-parallel-1")
    shown = run_text.run_details(clone.journal.result(RUN)) + markdown.render(
        material(clone.repository, clone.journal, RUN)
    )
    assert "\x1b" not in shown

    plan = plan_cleanup(clone.repository, clone.journal, force=True)
    assert {each.leftover.path for each in plan.items} == {None}
    execute(clone.repository, clone.journal, plan)

    assert (mine / "precious").read_text() == "precious\n"


def test_a_journal_that_cannot_be_written_leaves_no_branch(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise EnvironmentProblem("the disk is full")

    monkeypatch.setattr(Journal, "adopt", full)  # a full disk at just this moment cannot be had otherwise
    before = git(clone.root, "for-each-ref")

    with pytest.raises(EnvironmentProblem, match="disk is full"):
        clone.take()

    assert git(clone.root, "for-each-ref") == before


def test_an_import_killed_before_it_was_recorded_is_taken_up_again(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "adopt", killed)
        patched.setattr("architect_parallel.api.import_run.give_back", killed)
        with pytest.raises(KeyboardInterrupt):
            clone.take()
    left = git(clone.root, "branch", "--list", "architect/*")
    assert left

    clone.take()

    assert git(clone.root, "branch", "--list", "architect/*") == left
    assert clone.journal.run_ids() == [RUN]


def test_into_a_mounted_volume_the_files_come_one_by_one(
    clone: Clone, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    inode = volume.stat().st_ino
    monkeypatch.setattr("os.path.ismount", lambda path: path == volume)  # mounting needs rights that tests have not

    with Journal.open(repository.state_dir) as journal:
        assert write_artifacts(repository, journal, RUN, volume) == []

    assert volume.stat().st_ino == inode
    assert sorted(os.listdir(volume)) == sorted(os.listdir(clone.artifacts))


def test_what_fails_on_the_way_leaves_nothing_behind(
    repository: Repository, clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "chmod", full)  # the last thing done before the directory appears
    before = sorted(os.listdir(tmp_path))

    with Journal.open(repository.state_dir) as journal:
        said = try_artifacts(repository, journal, RUN, tmp_path / "deep" / "new")

    assert "No space left on device" in said[0]
    assert f"architect report {RUN} --artifacts DIR" in said[0]
    assert set(os.listdir(tmp_path)) == {*before, "deep"}
    assert os.listdir(tmp_path / "deep") == []


def test_commits_that_are_gone_are_named_and_the_rest_is_there(
    repository: Repository, tmp_path: Path
) -> None:  # fmt: skip
    with Journal.open(repository.state_dir) as journal:
        run = ended_run(repository, journal, RUN, {"a.txt": "a\n"}, {"b.txt": "b\n"})
        head = run.tip(2)
        (repository.common_dir / "objects" / head[:2] / head[2:]).unlink()

        said = write_artifacts(repository, journal, RUN, tmp_path / "out")

    assert said == ["worker 2 is not in the artifacts: its commits are gone"]
    assert (tmp_path / "out" / "worker-1.bundle").is_file()
