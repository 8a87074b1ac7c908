"""`open_repository`: GitPython on trees that agents had in their hands; plain GitPython is the control each time."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import git as gitpython
import pytest
from integration.test_collect_attacks import RUNS
from integration.test_configured_programs import ATTRIBUTES, LINES, PLANTED
from integration.test_worker_repository import place
from repositories import commit_all, git, make_repository
from worksites import make_worksite

from architect_parallel import open_repository
from architect_parallel.system.git import Repository
from architect_parallel.system.git import open_repository as find_repository

OPEN_WITH = {"ours": open_repository, "plain": gitpython.Repo}


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.fixture
def trap(tmp_path: Path, canary: Path) -> Path:
    """A program that leaves the canary and behaves as a filter that changes nothing."""
    program = tmp_path / "trap"
    program.write_text(f"#!/bin/sh\ntouch '{canary}'\nexec cat\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """`text.txt` with lines, of which the branch `side` changes the first and main, later, the last."""
    root = make_repository(tmp_path / "repo", {"text.txt": LINES, ".gitattributes": ATTRIBUTES})
    git(root, "switch", "-qc", "side")
    (root / "text.txt").write_text(LINES.replace("line 0\n", "theirs\n"))
    commit_all(root, "theirs")
    git(root, "switch", "-q", "main")
    (root / "text.txt").write_text(LINES.replace("line 19\n", "ours\n"))
    commit_all(root, "ours")
    return find_repository(root)


def act(repository: Repository, script: str, trap: Path) -> None:
    """Run what an agent does in the main checkout."""
    env = {**os.environ, "COMMON": os.fspath(repository.common_dir), "TRAP": os.fspath(trap)}
    subprocess.run(["sh", "-ec", script], cwd=repository.root, env=env, check=True)


ACTIONS: list[Callable[[gitpython.Repo], object]] = [
    lambda repo: repo.is_dirty(untracked_files=True),
    lambda repo: repo.untracked_files,
    lambda repo: repo.index.diff(None, create_patch=True),
    lambda repo: repo.head.commit.diff(None, create_patch=True),
    lambda repo: [
        commit.diff(commit.parents[0], create_patch=True) for commit in repo.iter_commits() if commit.parents
    ],
    lambda repo: [commit.stats.files for commit in repo.iter_commits()],
    lambda repo: repo.blame(None, file_of(repo)),
    lambda repo: repo.git.log("-p", "--all"),
    lambda repo: repo.git.diff("HEAD~1"),
    lambda repo: repo.git.diff(),
    lambda repo: repo.git.status(),
    lambda repo: repo.git.grep("--textconv", "line"),
    lambda repo: repo.git.cat_file("--textconv", f"HEAD:{file_of(repo)}"),
    lambda repo: repo.git.cat_file("--filters", f"HEAD:{file_of(repo)}"),
    lambda repo: repo.git.hash_object(file_of(repo)),
    lambda repo: repo.git.describe("--dirty", "--always"),
    lambda repo: repo.git.archive("HEAD", output_stream=io.BytesIO()),
    lambda repo: repo.submodules,
    lambda repo: repo.git.add("--all", "."),
    lambda repo: (repo.git.stash("push"), repo.git.stash("pop")),
    lambda repo: repo.index.commit("by GitPython"),
    lambda repo: repo.git.commit("-am", "by git"),
    lambda repo: repo.head.reset("HEAD", index=True, working_tree=True),
    lambda repo: Path(repo.working_dir, file_of(repo)).unlink(),
    lambda repo: repo.index.checkout(force=True),
    lambda repo: repo.create_head("new"),
    lambda repo: repo.git.checkout("-f", "new"),
    lambda repo: (repo.head.reset(working_tree=True), repo.git.merge("side")),
    lambda repo: (repo.head.reset(working_tree=True), repo.git.rebase("side")),
]
"""What makes git run a program on a tree with a changed file. Errors do not matter, programs that run do."""


def file_of(repo: gitpython.Repo) -> str:
    return next((name for name in ("text.txt", "change.txt") if Path(repo.working_dir, name).exists()), "gone")


def use(repo: gitpython.Repo) -> None:
    """Do everything with `repo`."""
    changed = Path(repo.working_dir, file_of(repo))
    for action in ACTIONS:
        if changed.exists():
            changed.write_text(changed.read_text() + "changed\n")
        with contextlib.suppress(Exception):  # on damaged trees GitPython raises whatever its parsers raise
            action(repo)
    repo.close()


@pytest.mark.parametrize("planted", PLANTED)
def test_programs_that_came_while_agents_ran_are_not_run(
    repository: Repository, tmp_path: Path, trap: Path, canary: Path, planted: str
) -> None:
    with repository.programs.agents_running():
        act(repository, PLANTED[planted], trap)
        copy = tmp_path / "copy"
        shutil.copytree(repository.root, copy, symlinks=True)
        use(gitpython.Repo(copy))
        assert canary.exists(), "the trap does not work"
        canary.unlink()

        use(open_repository(repository.root))
        assert not canary.exists()
    git(repository.root, "reset", "-q", "--hard", env={"GIT_CONFIG_GLOBAL": os.devnull})
    canary.unlink(missing_ok=True)
    use(open_repository(repository.root))
    assert not canary.exists()


def test_programs_of_the_user_run(repository: Repository, trap: Path, canary: Path) -> None:
    act(repository, PLANTED["clean"], trap)
    with repository.programs.agents_running():
        use(open_repository(repository.root))
    assert canary.exists()


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("opener", OPEN_WITH)
def test_what_an_agent_planted_from_its_worktree_is_not_run(name: str, opener: str, tmp_path: Path) -> None:
    site = make_worksite(tmp_path)
    with site.repository.programs.agents_running():
        site.act(f"{RUNS[name]}\nprintf 'after\\n' > change.txt")
    site.canary.unlink(missing_ok=True)
    use(OPEN_WITH[opener](site.worktree))
    assert site.canary.exists() == (opener == "plain")


@pytest.mark.parametrize("name", [name for name in RUNS if name != "lazy-fetch"])
def test_what_an_agent_planted_in_its_own_repository_is_not_run(name: str, tmp_path: Path) -> None:
    """`lazy-fetch` damages the registration, which is not where an agent's `.git` leads."""
    for opener in ("ours", "plain"):
        site = make_worksite(tmp_path / opener)
        lent = place(site)
        with site.repository.programs.agents_running():
            lent.lend()
            script = RUNS[name].replace("$COMMON", "$(git rev-parse --absolute-git-dir)")
            site.act(f"{script}\nprintf 'after\\n' > change.txt")
            site.canary.unlink(missing_ok=True)
            use(OPEN_WITH[opener](site.worktree))
            assert site.canary.exists() == (opener == "plain")
