"""Repositories inside a worktree: their history is kept before the worktree goes, and nothing they name is run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.landing_runs import MadeRun, begin_run, commit, ended_run
from support.repositories import git, make_repository

from architect_parallel.journal import Journal
from architect_parallel.landing.cleanup import CleanupOutcome, execute, plan_cleanup
from architect_parallel.landing.plan import plan_merge
from architect_parallel.snapshots.keep_attempt import keep_attempt
from architect_parallel.system.git import Repository, open_repository


@pytest.fixture
def journal(repository: Repository) -> Iterator[Journal]:
    with Journal.of(repository) as opened:
        yield opened


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "library", {"lib.txt": "lib\n"})


@pytest.fixture
def with_submodule(checkout: Path, library: Path, home: Path) -> Path:
    """The main checkout, with an initialised submodule."""
    git(checkout, "config", "--global", "protocol.file.allow", "always")
    git(checkout, "submodule", "--quiet", "add", library, "vendor/lib")
    git(checkout, "commit", "-qm", "submodule")
    return checkout


def initialised(repository: Repository, journal: Journal) -> tuple[MadeRun, Path]:
    """A run whose worktree has its submodule checked out, and where."""
    run = begin_run(repository, journal, "run")
    place = run.start(1)
    git(place, "submodule", "--quiet", "update", "--init")
    run.finish(1)
    run.end()
    return run, place / "vendor" / "lib"


def clean(repository: Repository, journal: Journal, *, force: bool = False) -> CleanupOutcome:
    return execute(repository, journal, plan_cleanup(repository, journal, force=force))


def reasons(outcome: CleanupOutcome) -> list[str]:
    return [each.reason for each in outcome.stays]


def is_reachable(git_dir: Path, commit_id: str) -> bool:
    return bool(git(git_dir, "for-each-ref", f"--contains={commit_id}", "refs/architect/keep", check=False))


# --- nested repositories ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_history_of_a_nested_repository_is_kept(
    checkout: Path, repository: Repository, journal: Journal, tmp_path: Path, packed: bool
) -> None:
    run = ended_run(repository, journal, "run", None)
    inner = make_repository(run.worktree(1) / "inner")
    git(inner, "checkout", "-qb", "side/branch")
    side = commit(inner, {"side.txt": "side\n"})
    (inner / "README").write_text("stashed\n")
    git(inner, "stash")
    stash = git(inner, "rev-parse", "stash")
    (inner / "README").write_text("stashed again\n")
    git(inner, "stash")
    git(inner, "checkout", "-q", "main")
    git(inner, "tag", "-am", "tag", "v1", side)
    git(inner, "checkout", "-q", "--detach")
    detached = commit(inner, {"detached.txt": "d\n"})
    if packed:
        git(inner, "gc", "-q")
    assert reasons(clean(repository, journal)) == ["a repository of its own is in it: inner"]
    assert inner.exists()
    outcome = clean(repository, journal, force=True)
    assert outcome.stays == ()
    assert not run.worktree(1).exists()
    for commit_id in (side, stash, detached):
        assert is_reachable(checkout, commit_id)
    prefix = "refs/architect/keep/run/1-nested-1"
    assert {f"{prefix}/HEAD", f"{prefix}/heads/main", f"{prefix}/heads/side/branch", f"{prefix}/tags/v1"} <= set(
        outcome.removed[0].kept
    )
    assert git(checkout, "fsck", "--no-dangling") == ""


def test_nested_repositories_at_any_depth_are_kept(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", None)
    outer = make_repository(run.worktree(1) / "outer")
    inner = make_repository(outer / "deep" / "inner")
    with (repository.root / ".git" / "info" / "exclude").open("a") as file:
        file.write("ignored/\n")
    ignored = make_repository(run.worktree(1) / "ignored" / "clone")
    tips = [commit(place, {"x": str(place)}) for place in (outer, inner, ignored)]
    assert clean(repository, journal, force=True).stays == ()
    assert all(is_reachable(checkout, tip) for tip in tips)


def test_a_clone_without_commits_of_its_own_brings_nothing(
    checkout: Path, repository: Repository, journal: Journal, library: Path
) -> None:
    run = ended_run(repository, journal, "run", None)
    git(run.worktree(1), "clone", "-q", library, "clone")
    git(run.worktree(1), "clone", "-q", checkout, "itself")
    outcome = clean(repository, journal, force=True)
    assert outcome.stays == ()
    assert not [ref for ref in outcome.removed[0].kept if "nested" in ref]


@pytest.mark.parametrize("kind", ["sha256", "shallow", "object missing"])
def test_what_cannot_be_kept_stays_also_by_force(
    repository: Repository, journal: Journal, library: Path, kind: str
) -> None:
    run = ended_run(repository, journal, "run", None)
    inner = run.worktree(1) / "inner"
    match kind:
        case "sha256":
            make_repository(inner, options=("--object-format=sha256",))
        case "shallow":
            commit(library, {"second": "x\n"})
            git(run.worktree(1), "clone", "-q", "--depth=1", f"file://{library}", "inner")
            commit(inner, {"mine": "x\n"})
        case _:
            make_repository(inner, {"old": "gone since\n"})
            blob = git(inner, "rev-parse", "HEAD:old")
            commit(inner, {"old": None})
            (inner / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    for _ in range(2):
        outcome = clean(repository, journal, force=True)
        assert outcome.removed == ()
        assert [each.what for each in outcome.stays] == ["worktree"]
        assert (inner / ".git").exists()


def test_nothing_a_nested_repository_names_is_run(
    checkout: Path, repository: Repository, journal: Journal, tmp_path: Path
) -> None:
    run = ended_run(repository, journal, "run", None)
    inner = make_repository(run.worktree(1) / "inner")
    tip = commit(inner, {"x": "x\n", ".gitattributes": "* filter=evil\n"})
    canary = tmp_path / "canary"
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch '{canary}'\ncat\n")
    trap.chmod(0o755)
    for name in ("core.fsmonitor", "core.sshCommand", "uploadpack.packObjectsHook", "filter.evil.clean",
                 "core.alternateRefsCommand", "core.gitProxy"):  # fmt: skip
        git(inner, "config", name, str(trap))
    for name in ("reference-transaction", "pre-auto-gc", "post-index-change"):
        shutil.copy(trap, inner / ".git" / "hooks" / name)
    (inner / ".git" / "refs" / "heads" / "link").symlink_to(checkout / "README.md")
    canary.unlink(missing_ok=True)
    git(inner, "update-ref", "refs/heads/control", tip)
    assert canary.exists(), "control: git on the inner repository runs what it names"
    canary.unlink()
    assert clean(repository, journal, force=True).stays == ()
    assert is_reachable(checkout, tip)
    assert not canary.exists()


def test_an_object_under_a_false_name_is_not_taken_in(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", None)
    inner = make_repository(run.worktree(1) / "inner", {"a": "one\n", "b": "two\n"})
    first, second = (git(inner, "rev-parse", f"HEAD:{name}") for name in "ab")
    commit(inner, {"b": None})
    store = inner / ".git" / "objects"
    true, false = store / first[:2] / first[2:], store / second[:2] / second[2:]
    false.chmod(0o644)
    shutil.copyfile(true, false)
    outcome = clean(repository, journal, force=True)
    assert outcome.removed == ()
    assert git(checkout, "cat-file", "-t", second, check=False) == ""
    assert git(checkout, "fsck", "--no-dangling") == ""


def test_history_is_kept_before_another_attempt(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", None)
    tip = commit(make_repository(run.worktree(1) / "inner"), {"x": "x\n"})
    assert keep_attempt(repository, run.specs[0], journal.run_dir("run") / "git" / "worker-1-1") is not None
    assert is_reachable(checkout, tip)


# --- submodules -------------------------------------------------------------------------------------------------------


def test_an_initialised_submodule_does_not_hold_a_worktree(
    with_submodule: Path, repository: Repository, journal: Journal
) -> None:
    run, _ = initialised(repository, journal)
    # Control: git refuses even a clean worktree with one.
    assert (
        "submodule" in git(with_submodule, "worktree", "remove", run.worktree(1), check=False)
        or run.worktree(1).exists()
    )
    assert clean(repository, journal).stays == ()
    assert not run.worktree(1).exists()


@pytest.mark.parametrize("home", [True, False])
def test_commits_of_a_submodule_that_are_nowhere_else_are_kept(
    with_submodule: Path, repository: Repository, journal: Journal, home: bool
) -> None:
    run, module = initialised(repository, journal)
    tip = commit(module, {"n.txt": "n\n"})
    commit(run.worktree(1), {}, "bump")
    run.finish(1)
    if not home:
        git(with_submodule, "submodule", "--quiet", "deinit", "-f", "vendor/lib")
        shutil.rmtree(with_submodule / ".git" / "modules")
    outcome = clean(repository, journal)
    assert reasons(outcome) == ["commits of the submodule vendor/lib are nowhere else"]
    assert "remove --force" not in (outcome.stays[0].hint or "")
    outcome = clean(repository, journal, force=True)
    assert outcome.stays == ()
    assert not run.worktree(1).exists()
    where = with_submodule / ".git" / "modules" / "vendor" / "lib" if home else with_submodule
    assert is_reachable(where, tip)
    assert any(ref.startswith(f"{where}:refs/architect/keep/run/1-nested-1") == home for ref in outcome.removed[0].kept)


def test_commits_that_were_pushed_or_stand_in_the_main_checkout_are_safe(
    with_submodule: Path, repository: Repository, journal: Journal, library: Path
) -> None:
    _, module = initialised(repository, journal)
    git(module, "checkout", "-q", "-b", "work")
    commit(module, {"n.txt": "n\n"})
    git(module, "push", "-q", "origin", "work")
    git(module, "checkout", "-q", "--detach", "HEAD~1")
    assert clean(repository, journal).stays == ()
    begun = begin_run(repository, journal, "second")
    module = begun.start(1) / "vendor" / "lib"
    git(begun.worktree(1), "submodule", "--quiet", "update", "--init")
    git(module, "checkout", "-q", "-b", "work")
    commit(module, {"m.txt": "m\n"})
    git(module, "push", "-q", with_submodule / ".git" / "modules" / "vendor" / "lib", "HEAD:refs/heads/saved")
    git(begun.worktree(1), "submodule", "--quiet", "update")
    begun.finish(1)
    begun.end()
    assert clean(repository, journal).stays == ()


def test_uncommitted_changes_of_a_submodule_count_and_are_kept(
    with_submodule: Path, repository: Repository, journal: Journal
) -> None:
    _, module = initialised(repository, journal)
    (module / "new.txt").write_text("new\n")
    assert reasons(clean(repository, journal)) == ["it has uncommitted changes: vendor/lib/new.txt"]
    assert clean(repository, journal, force=True).stays == ()
    home = with_submodule / ".git" / "modules" / "vendor" / "lib"
    kept = git(home, "for-each-ref", "--format=%(refname)", "refs/architect/keep").splitlines()
    assert kept == ["refs/architect/keep/run/1-nested-1/uncommitted"]
    assert git(home, "show", f"{kept[0]}:new.txt") == "new"


def test_a_submodule_that_was_deinitialised_is_kept_too(
    with_submodule: Path, repository: Repository, journal: Journal
) -> None:
    run, module = initialised(repository, journal)
    tip = commit(module, {"n.txt": "n\n"})
    git(run.worktree(1), "submodule", "--quiet", "deinit", "-f", "vendor/lib")
    assert reasons(clean(repository, journal)) == ["commits of the submodule vendor/lib are nowhere else"]
    assert clean(repository, journal, force=True).stays == ()
    assert is_reachable(with_submodule / ".git" / "modules" / "vendor" / "lib", tip)


def test_merge_warns_of_a_link_that_no_remote_has(
    with_submodule: Path, repository: Repository, journal: Journal, library: Path
) -> None:
    run, module = initialised(repository, journal)
    git(module, "checkout", "-q", "-b", "work")
    tip = commit(module, {"n.txt": "n\n"})
    commit(run.worktree(1), {}, "bump")
    run.finish(1)
    [warning] = plan_merge(repository, journal, "run", 1).warnings
    push = f"git -C {module} push origin {tip}:refs/heads/architect/parallel-1"
    assert warning == f"vendor/lib links to {tip[:12]}, which no remote of the submodule has yet: {push}"
    git(module, *push.split()[3:])
    assert plan_merge(repository, journal, "run", 1).warnings == ()


def test_the_repository_is_itself_a_submodule(with_submodule: Path, journal: Journal, tmp_path: Path) -> None:
    repository = open_repository(with_submodule / "vendor" / "lib")
    with Journal.of(repository) as own:
        ended_run(repository, own, "run", {"a.txt": "a\n"})
        assert clean(repository, own, force=True).stays == ()
