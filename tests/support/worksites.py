"""A repository with one worker's worktree, an agent played by a shell script, and what a collection of it holds."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.domain import AgentProfile, WorkerSpec
from architect_parallel.repository.filters import record
from architect_parallel.snapshots.collect import Collection, collect
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.system.git import Repository, open_repository
from support.repositories import git, make_repository

BRANCH = "architect/parallel-1"
FILES: Mapping[str, str | bytes] = {
    "keep.txt": "keep\n",
    "change.txt": "before\n",
    "delete.txt": "delete\n",
    "dir/inner.txt": "inner\n",
    "dir/run.sh": "#!/bin/sh\n",
    ".gitignore": "*.log\n",
}


@dataclass(frozen=True, kw_only=True)
class Worksite:
    """One worker's place, from before its agent runs."""

    repository: Repository
    worktree: Path
    private: PrivateGit
    spec: WorkerSpec
    canary: Path
    """Made by whatever an agent plants when it is run."""

    def act(self, script: str) -> None:
        """Plays the agent. `$CANARY` is the file its traps make, `$TRAP` a program that makes it."""
        environ = os.environ | {"CANARY": str(self.canary), "TRAP": str(self.canary.with_name("trap"))}
        environ |= {"COMMON": str(self.repository.common_dir), "ADMIN": str(self.private.admin_dir)}
        done = subprocess.run(
            ["sh", "-ec", script], cwd=self.worktree, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def collect(self, **changes: object) -> Collection:
        """Collects as the launcher does."""
        return collect(self.repository, self.private, dataclasses.replace(self.spec, **changes))  # type: ignore[arg-type]  # names are WorkerSpec's

    @property
    def tip(self) -> str:
        """The commit of the worker's branch."""
        return git(self.repository.common_dir, "rev-parse", f"refs/heads/{BRANCH}")


def make_worksite(
    directory: Path, files: Mapping[str, str | bytes] = FILES, *, options: tuple[str, ...] = (), before: str = "true"
) -> Worksite:
    """A worksite below `directory`; `before` is a script run in the main checkout before the worktree is made."""
    root = make_repository(directory / "repo", files, options=options)
    subprocess.run(["sh", "-ec", before], cwd=root, check=True, capture_output=True)
    worktree = root / ".architect-parallel-1"
    (root / ".git" / "info").mkdir(exist_ok=True)
    with (root / ".git" / "info" / "exclude").open("a") as file:
        file.write("/.architect-parallel-*/\n")
    git(root, "worktree", "add", "--quiet", "-b", BRANCH, worktree)
    repository = open_repository(root)
    canary = directory / "canary"
    trap = directory / "trap"
    trap.write_text(f"#!/bin/sh\ntouch '{canary}'\ncat\nexit 0\n")
    trap.chmod(0o755)
    base = git(root, "rev-parse", "HEAD")
    spec = WorkerSpec(
        run_id="20260101-abc", worker_id=1, index=0, number=1, name="worker-1", prompt="mend it\nplease",
        backend="shell", model=None, agent=AgentProfile(name="build"), branch=BRANCH,
        worktree_path=str(worktree), base_commit=base,
    )  # fmt: skip
    return Worksite(
        repository=repository,
        worktree=worktree,
        private=PrivateGit.create(
            repository, directory / "private" / "worker-1", worktree, filters=record(repository, directory / "run")
        ),
        spec=spec,
        canary=canary,
    )


def content(directory: Path, commit: str) -> dict[str, tuple[str, bytes]]:
    """Path → (mode, bytes) of everything in a commit, read by plain git."""
    listed = subprocess.run(
        ["git", "ls-tree", "-r", "-z", commit], cwd=directory, check=True, capture_output=True
    ).stdout.split(b"\0")[:-1]
    found = {}
    for line in listed:
        head, path = line.split(b"\t", 1)
        mode, kind, oid = head.decode().split(" ")
        data = b""
        if kind == "blob":
            command = ["git", "cat-file", "blob", oid]
            data = subprocess.run(command, cwd=directory, check=True, capture_output=True).stdout
        found[os.fsdecode(path)] = (mode, data)
    return found


def on_disk(directory: Path) -> dict[str, tuple[str, bytes]]:
    """The same of a directory, by a walk of its own; nothing named `.git` is looked at."""
    found = {}
    for parent, directories, names in os.walk(directory):
        directories[:] = [name for name in directories if name != ".git"]
        links = [name for name in directories if os.path.islink(os.path.join(parent, name))]
        for name in [*names, *links]:
            path = os.path.join(parent, name)
            if name == ".git":
                continue
            key = os.path.relpath(path, directory)
            if os.path.islink(path):
                found[key] = ("120000", os.fsencode(os.readlink(path)))
            elif os.path.isfile(path):
                mode = "100755" if os.stat(path).st_mode & 0o100 else "100644"
                found[key] = (mode, Path(path).read_bytes())
    return found
