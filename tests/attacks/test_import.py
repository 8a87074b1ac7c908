"""Attacks by an artifact that is imported: small files that become large."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

import pytest
from support.repositories import git

from architect_parallel.errors import UsageError
from architect_parallel.snapshots import bundles
from architect_parallel.snapshots.bundles import quarantine, read_header
from architect_parallel.system.git import open_repository

BRANCH = "refs/heads/architect/parallel-1"


def bomb(checkout: Path, files: int, size: int) -> Path:
    """A bundle with files of zeros on top of `main`, which takes a thousandth of their size."""
    for number in range(files):
        with (checkout / f"zeros-{number}").open("wb") as file:
            file.write(bytes([number]) * size)
    git(checkout, "add", "--all")
    git(checkout, "commit", "-qm", "zeros")
    git(checkout, "update-ref", BRANCH, "HEAD")
    path = checkout.parent / "bomb.bundle"
    git(checkout, "bundle", "create", "--quiet", path, BRANCH, "^HEAD~1")
    git(checkout, "reset", "-q", "--hard", "HEAD~1")
    git(checkout, "update-ref", "-d", BRANCH)
    git(checkout, "reflog", "expire", "--expire=now", "--all")
    git(checkout, "prune")
    return path


@pytest.mark.parametrize(("files", "size"), [(1, 2_000_000), (20, 100_000)], ids=["one-large", "many"])
@pytest.mark.parametrize("capped", [True, False], ids=["attack", "control"])
def test_a_small_bundle_unpacks_to_more_than_the_disk_holds(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, files: int, size: int, capped: bool
) -> None:
    path = bomb(checkout, files, size)
    assert path.stat().st_size < 50_000
    if capped:
        monkeypatch.setattr(bundles, "MOST_UNPACKED_BYTES", 1_000_000)
    with quarantine(open_repository(checkout)) as held:
        if capped:
            with pytest.raises(UsageError, match="larger than 0 MiB unpacked"):
                held.take_in(path, read_header(path))
        else:
            held.take_in(path, read_header(path))
            held.publish()
    assert (git(checkout, "count-objects", "-v").find("in-pack: 0") >= 0) == capped


@pytest.mark.parametrize("sparing", [True, False], ids=["attack", "control"])
def test_one_object_fills_the_memory(checkout: Path, monkeypatch: pytest.MonkeyPatch, sparing: bool) -> None:
    """git may not take more address space than the object has bytes."""
    path = bomb(checkout, 1, 100_000_000)
    if not sparing:
        monkeypatch.setattr(bundles, "_SPARING", ())
    run = subprocess.run

    def poor(*args: object, **more: object) -> object:
        limit = 90_000_000
        return run(*args, **more, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))  # type: ignore[call-overload]  # as given

    with quarantine(open_repository(checkout)) as held:
        header = read_header(path)
        monkeypatch.setattr(subprocess, "run", poor)
        if sparing:
            held.git.run("bundle", "unbundle", path, settings=bundles._SPARING)
        else:
            with pytest.raises(UsageError):
                held.take_in(path, header)
