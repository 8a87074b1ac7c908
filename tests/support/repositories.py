"""Builders of test repositories: real git, fixed dates and names, so that commit ids are the same everywhere.

`fixtures/repos/<name>/<NN-subject>/` holds the files one commit adds or replaces, in order; a file `DELETED` lists the
paths it removes. `git` here is the plain program with an identity of its own, as a user or an agent would call it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "repos"
CACHES = shutil.ignore_patterns("__pycache__", "*.pyc")
NEW_GIT = os.environ.get("ARCHITECT_TEST_NEWGIT")
"""A directory with a git that knows reftables (2.45 or newer), for machines whose own does not. Read now, because tests
run without the variables of the machine's user."""
EPOCH = 1_700_000_000
"""2023-11-14T22:13:20Z; commit N is N minutes later."""


def git(directory: Path, *args: str | Path, env: Mapping[str, str] | None = None, check: bool = True) -> str:
    """Runs plain `git args…` in `directory` and returns stdout without its last newline."""
    done = subprocess.run(
        ["git", *(os.fspath(arg) for arg in args)],
        cwd=directory,
        env=os.environ | dict(env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"git {args} in {directory} failed ({done.returncode}): {os.fsdecode(done.stderr)}")
    return os.fsdecode(done.stdout).removesuffix("\n")


def commit_all(directory: Path, subject: str, *, minute: int = 0) -> str:
    """Commits everything in `directory` with a fixed author and date; returns the commit id."""
    when = f"{EPOCH + 60 * minute} +0000"
    identity = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in {"NAME": "Fixture", "EMAIL": "fixture@example.invalid", "DATE": when}.items()
    }
    git(directory, "add", "--all", env=identity)
    git(directory, "commit", "--quiet", "--allow-empty", "--no-verify", "-m", subject, env=identity)
    return git(directory, "rev-parse", "HEAD")


def make_repository(
    directory: Path, files: Mapping[str, str | bytes] | None = None, *, options: tuple[str, ...] = ()
) -> Path:
    """A repository at `directory` on branch `main` with one commit of `files` (default: one `README`)."""
    directory.mkdir(parents=True, exist_ok=True)
    git(directory, "init", "--quiet", "--initial-branch=main", *options)
    for name, content in ({"README": "hello\n"} if files is None else files).items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    commit_all(directory, "first")
    return directory


def reftable_path(directory: Path) -> str | None:
    """A PATH whose git makes a repository with a reftable at `directory`; `None` where there is none."""
    for path in [f"{place}{os.pathsep}{os.environ['PATH']}" for place in (NEW_GIT,) if place] + [os.environ["PATH"]]:
        program = shutil.which("git", path=path)
        words = ("init", "-q", "--ref-format=reftable", directory)
        if program and subprocess.run([program, *words], capture_output=True, check=False).returncode == 0:
            return path
    return None


def build_fixture_repository(name: str, directory: Path) -> Path:
    """The repository described by `fixtures/repos/<name>`, built at `directory`."""
    directory.mkdir(parents=True)
    git(directory, "init", "--quiet", "--initial-branch=main")
    for minute, step in enumerate(sorted(path for path in (FIXTURES / name).iterdir() if path.is_dir())):
        shutil.copytree(step, directory, dirs_exist_ok=True, symlinks=True, ignore=CACHES)
        deleted = directory / "DELETED"
        if deleted.exists():
            for gone in deleted.read_text().splitlines():
                (directory / gone).unlink()
            deleted.unlink()
        commit_all(directory, step.name.partition("-")[2].replace("-", " "), minute=minute)
    return directory


def fake_git(directory: Path, version: str) -> str:
    """A `git` in `directory` that says it is `version` and is the real one otherwise; returns a PATH that finds it."""
    directory.mkdir(exist_ok=True)
    program = directory / "git"
    real = shutil.which("git")
    # `merge-tree --write-tree` came with 2.38: what claims to be older must not have it.
    program.write_text(f"""#!/bin/sh
for word; do
    case "$word" in
    version) echo "git version {version}"; exit 0 ;;
    --write-tree) exit 129 ;;
    esac
done
exec {real} "$@"
""")
    program.chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"
