"""The cache a run's checkouts come from: the same files as without it, whatever becomes of it."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from support.repositories import commit_all, git, make_repository

from architect_parallel.system.git import Repository, open_repository
from architect_parallel.worktrees import checkout_cache
from architect_parallel.worktrees.checkout_cache import UnpackedBase
from architect_parallel.worktrees.create import Worktree, add_worktree, require_base

ENOUGH = 64


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """5 MB: a link, an executable, an empty file, filters for line ends, names that are no text."""
    dice = random.Random(1)
    files: dict[str, str | bytes] = {f"data/{n}.bin": dice.randbytes(50_000) for n in range(100)}
    files |= {"bin/run": "#!/bin/sh\n", "empty": "", ".gitattributes": "*.txt text eol=crlf\n", "a.txt": "one\ntwo\n"}
    place = make_repository(tmp_path / "repository", files)
    (place / "bin" / "run").chmod(0o755)
    (place / "link").symlink_to("bin/run")
    (place / os.fsdecode(b"caf\xe9")).write_text("odd\n")
    commit_all(place, "odd ones", minute=1)
    return open_repository(place)


def add(repository: Repository, number: int, base: UnpackedBase | None) -> Worktree:
    return add_worktree(
        repository, path=repository.root / f".architect-parallel-{number}", branch=f"architect/parallel-{number}",
        base_commit=require_base(repository), run_id="20260101-abc", unpacked=base,
    )  # fmt: skip


def content(worktree: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and bytes of every file."""
    found = {}
    for folder, _, names in os.walk(worktree):
        for name in names:
            path = Path(folder, name)
            if name != ".git":
                data = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
                found[str(path.relative_to(worktree))] = (path.lstat().st_mode, data)
    return found


def leftovers(repository: Repository) -> list[str]:
    folder = repository.state_dir / "unpacked"
    return sorted(os.listdir(folder)) if folder.exists() else []


def test_checkouts_are_the_same_with_and_without_it(repository: Repository) -> None:
    base = UnpackedBase(repository, require_base(repository), worktrees=ENOUGH)
    trees = [add(repository, number, base) for number in (1, 2, 3)]
    assert (base.objects() or Path()).is_dir()
    base.close()
    plain = content(trees[0].path)  # the first never waits for the cache
    assert len(plain) == 106
    for tree in trees[1:]:
        assert content(tree.path) == plain
    for tree in trees:  # and git, with its own objects alone, finds nothing changed
        assert git(tree.path, "status", "--porcelain") == ""
        assert git(tree.path, "diff-index", "HEAD") == ""
    assert leftovers(repository) == []
    assert git(repository.root, "fsck", "--strict") == ""


def test_a_damaged_one_is_given_up_and_the_checkout_still_comes(repository: Repository) -> None:
    base = UnpackedBase(repository, require_base(repository), worktrees=ENOUGH)
    base.objects()
    objects = base.objects()
    assert objects is not None
    for pack in (objects / "pack").glob("*.pack"):
        pack.chmod(0o644)
        pack.write_bytes(pack.read_bytes()[:1000])
    (objects / "info" / "alternates").unlink()
    tree = add(repository, 1, base)
    assert git(tree.path, "status", "--porcelain") == ""
    assert base.objects() is None
    base.close()
    assert leftovers(repository) == []


def test_what_a_killed_launcher_left_goes_and_a_living_ones_stays(repository: Repository) -> None:
    dead, alive, new = (UnpackedBase(repository, require_base(repository), worktrees=ENOUGH) for _ in range(3))
    for base in (dead, alive):
        base.objects()
        assert base.objects() is not None
    assert dead._held is not None
    dead._held.release()
    new.objects()
    assert new.objects() is not None
    assert dead._directory.name not in leftovers(repository)
    assert {alive._directory.name, new._directory.name} <= set(leftovers(repository))
    alive.close()
    new.close()
    assert leftovers(repository) == []


def test_it_is_not_written_where_it_is_not_worth_it(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    commit = require_base(repository)
    few = UnpackedBase(repository, commit, worktrees=3)
    assert [few.objects(), few.objects()] == [None, None]
    monkeypatch.setattr(checkout_cache, "MOST_BYTES", 5_000_000)
    large = UnpackedBase(repository, commit, worktrees=ENOUGH)
    assert [large.objects(), large.objects()] == [None, None]
    monkeypatch.setattr(checkout_cache, "MOST_BYTES", 6_000_000)  # control
    right = UnpackedBase(repository, commit, worktrees=ENOUGH)
    assert right.objects() is None
    assert right.objects() is not None
    right.close()
    git(repository.root, "config", "extensions.partialClone", "origin")
    partial = UnpackedBase(repository, commit, worktrees=ENOUGH)
    assert [partial.objects(), partial.objects()] == [None, None]
    assert leftovers(repository) == []


def test_another_base_is_left_alone(repository: Repository) -> None:
    base = UnpackedBase(repository, git(repository.root, "rev-parse", "HEAD^"), worktrees=ENOUGH)
    add(repository, 1, base)
    add(repository, 2, base)
    assert base.objects() is None  # nobody has asked for it so far: this was the first turn
    assert leftovers(repository) == []
