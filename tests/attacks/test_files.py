"""Attacks on files that the launcher writes and reads while agents run: links, second names, pipes, changed content."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.repositories import git
from support.worksites import BRANCH, content, make_worksite

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.repository import filters
from architect_parallel.repository.index_file import enter_times
from architect_parallel.snapshots import private_layout
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.supervision.output import LogFile
from architect_parallel.system.files import HeldLock, locked, replace_file
from architect_parallel.system.own_files import make_own_dir, write_own
from architect_parallel.worktrees.worker_repository import of_worker

PRECIOUS = "export PATH=/usr/bin\n"


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    path = tmp_path / ".bashrc"
    path.write_text(PRECIOUS)
    return path


def log(path: Path) -> None:
    opened = LogFile(path)
    opened.write("stdout", b"evil\n")
    opened.close()


def naive_log(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"evil\n")


PLACES: dict[str, Callable[[Path, Path], object]] = {
    "link": lambda path, precious: path.symlink_to(precious),
    "link-to-what-is-missing": lambda path, precious: path.symlink_to(precious.with_name("authorized_keys")),
    "second-name": lambda path, precious: os.link(precious, path),
    "pipe": lambda path, precious: os.mkfifo(path),
}
WRITERS: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    # What this program does, and the naive way.
    "log": (log, naive_log),
    "prompt": (lambda path: write_own(path, b"evil\n"), lambda path: path.write_bytes(b"evil\n")),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_of_the_users_is_written_through_a_log_or_a_prompt(
    tmp_path: Path, precious: Path, writer: str, place: str
) -> None:
    ours, naive = WRITERS[writer]
    path = tmp_path / "worker-2"
    PLACES[place](path, precious)
    ours(path)
    assert precious.read_text() == PRECIOUS
    assert not (tmp_path / "authorized_keys").exists()
    assert path.read_text() == "evil\n"
    assert path.stat().st_mode & 0o777 == 0o600
    if place != "pipe":  # there the naive way waits for ever
        path.unlink()
        PLACES[place](path, precious)
        naive(path)
        assert precious.read_text() != PRECIOUS or (tmp_path / "authorized_keys").exists(), "the control"


def test_a_directory_of_the_users_is_written_through_the_runs(tmp_path: Path) -> None:
    victim = tmp_path / ".config"
    victim.mkdir()
    logs = tmp_path / "logs"
    logs.symlink_to(victim)
    log(make_own_dir(logs) / "worker-2.log")
    assert os.listdir(victim) == []
    assert (logs / "worker-2.log").read_text() == "evil\n"


@pytest.mark.parametrize("place", ["link", "link-to-what-is-missing", "second-name"])
def test_a_file_of_the_users_is_emptied_through_a_lock(tmp_path: Path, precious: Path, place: str) -> None:
    path = tmp_path / "lock"
    PLACES[place](path, precious)
    try:
        lock = HeldLock.try_acquire(path)
        assert lock is not None
        lock.write("1\n")
        lock.release()
        with locked(path, timeout_s=0):
            pass
    except OSError:
        assert place != "second-name"
    assert precious.read_text() == PRECIOUS
    assert not (tmp_path / "authorized_keys").exists()


@pytest.mark.parametrize("place", PLACES)
def test_a_file_of_the_users_is_written_as_the_worktree_is_given_back(
    tmp_path: Path, precious: Path, place: str
) -> None:
    site = make_worksite(tmp_path)
    lent = of_worker(site.repository, tmp_path / "run", site.spec)
    lent.lend()
    PLACES[place](site.worktree / ".git.architect-new", precious)
    lent.take_back(site.spec.run_id, site.spec.number)
    assert precious.read_text() == PRECIOUS
    assert not (tmp_path / "authorized_keys").exists()
    assert git(site.worktree, "symbolic-ref", "HEAD") == f"refs/heads/{BRANCH}"


@pytest.mark.parametrize("sealed", [True, False], ids=["attack", "control"])
def test_a_change_is_hidden_by_the_times_in_the_private_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sealed: bool
) -> None:
    site = make_worksite(tmp_path)
    site.act("echo evil > change.txt")
    blob = git(site.repository.root, "rev-parse", "HEAD:change.txt")
    index = site.private.index
    enter_times(index, {"change.txt": (site.worktree / "change.txt").lstat()}, len(blob) // 2)
    os.utime(index, ns=(time.time_ns() + 10**10,) * 2)
    if not sealed:
        monkeypatch.setattr(private_layout, "is_intact", lambda path: True)
    collection = site.collect()
    assert (content(site.repository.common_dir, collection.commit)["change.txt"][1] == b"evil\n") == sealed
    assert any("every file was read again" in warning for warning in collection.warnings) == sealed


@pytest.mark.parametrize("sealed", [True, False], ids=["attack", "control"])
def test_work_that_is_not_on_disk_is_put_into_the_private_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sealed: bool
) -> None:
    """The checks would run on what is on disk, and something else would land."""
    site = make_worksite(tmp_path)
    site.act("echo fine > change.txt")
    blob = git(site.repository.root, "hash-object", "-w", site.repository.root / "keep.txt")
    site.private.git.run("update-index", "--add", "--cacheinfo", f"100644,{blob},hidden.txt")
    site.private.git.run("update-index", "--skip-worktree", "hidden.txt")
    if not sealed:
        monkeypatch.setattr(private_layout, "is_intact", lambda path: True)
    collection = site.collect()
    assert ("hidden.txt" in content(site.repository.common_dir, collection.commit)) == (not sealed)


@pytest.mark.parametrize("name", ["link", "pipe", "second-name"])
def test_the_private_index_is_replaced(tmp_path: Path, precious: Path, name: str) -> None:
    site = make_worksite(tmp_path)
    site.act("echo more > change.txt")
    site.private.index.unlink()
    if name != "pipe":
        PLACES[name](site.private.index, precious)
    collection = site.collect()
    assert content(site.repository.common_dir, collection.commit)["change.txt"][1] == b"more\n"
    assert precious.read_text() == PRECIOUS


def evil_driver(path: Path, trap: Path) -> None:
    """Puts a driver of the agent's into a record, wherever it is in it."""
    plain = json.loads(path.read_text())
    record = plain.get("filters", plain)
    driver = {"clean": str(trap), "smudge": str(trap), "process": "", "programs": {}}
    record |= {"drivers": {"x": driver}, "place": record["place"] or str(path.parent)}
    path.write_text(json.dumps(plain))


@pytest.mark.parametrize("sealed", [True, False], ids=["attack", "control"])
def test_a_filter_of_the_agents_is_put_into_the_record_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sealed: bool
) -> None:
    """The next worker would run it, with the launcher's rights."""
    site = make_worksite(tmp_path)
    run_dir = tmp_path / "run"
    evil_driver(run_dir / "filters" / "filters.json", tmp_path / "trap")
    if not sealed:
        monkeypatch.setattr(filters, "is_intact", lambda path, data: True)
    assert bool(filters.record(site.repository, run_dir).drivers) == (not sealed)


@pytest.mark.parametrize("key", ["filters", "base_commit", "worktree", "excludes", "identity"])
def test_the_facts_of_a_worker_are_changed_between_two_attempts(tmp_path: Path, key: str) -> None:
    site = make_worksite(tmp_path)
    path = site.private.directory / "facts.json"
    if key == "filters":
        evil_driver(path, tmp_path / "trap")
    else:
        plain = json.loads(path.read_text())
        plain[key] = plain["identity"] | {"author_name": "evil"} if key == "identity" else "*"
        path.write_text(json.dumps(plain))
    with pytest.raises(EnvironmentProblem, match="another program changed"):
        PrivateGit.open(site.private.directory)


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o027, 0o640), (0o022, 0o644)])
def test_another_user_reads_results_that_the_umask_hides(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        replace_file(tmp_path / "summary.json", b"{}")
        (tmp_path / "control").touch()
    finally:
        os.umask(before)
    assert (tmp_path / "summary.json").stat().st_mode & 0o777 == mode
    assert (tmp_path / "control").stat().st_mode & 0o777 == mode, "the control: as any program's file"
