"""Read a tree that an agent edited, through a git directory that the agent's settings do not affect.

Ordinary git calls in such a tree run what the agent configured: filters, hooks, fsmonitor, text conversions. A
`PrivateGit` has its own configuration (only `HARMLESS_SETTINGS`), an explicit work tree and no hooks. Its index is the
worktree's from before the agent ran, so that git need not read unchanged files. Its ignore rules and attributes are
also from that time. Only the object store is shared, so that objects need no copying when they are published.

The order: `create` before the agent starts. After its process tree has ended, `write_tree`, `commit`, and then
publication by `snapshots.collect`. `facts.json` determines every file in the directory except the index, and the files
are written again before each use. So `open` needs only the directory, and any other file in it has no effect.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.domain import Diff
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.repository import side_effects
from architect_parallel.repository.filters import Filters
from architect_parallel.repository.index_file import IndexFileEntry, enter_times, read_index
from architect_parallel.snapshots import diff as differences
from architect_parallel.snapshots.baseline import Identity, WorktreeFacts, git_dir_of, is_real_directory, observe
from architect_parallel.snapshots.filtered_baseline import record_filtered_files
from architect_parallel.snapshots.filtered_paths import FilteredPaths
from architect_parallel.snapshots.private_layout import (
    FACTS,
    LEFT_OUT,
    complete_directory,
    copy_index,
    unfinished_directory,
    write_private_files,
)
from architect_parallel.snapshots.put_aside import copy_back
from architect_parallel.snapshots.staging import Staging
from architect_parallel.snapshots.worktree_index import nul_terminated
from architect_parallel.system.git import Git, GitError, Repository
from architect_parallel.system.own_files import is_intact, seal


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The content of a worktree as a tree object."""

    tree: str
    diff: Diff
    """The changes from the base commit to the tree. `head` is the tree's id."""
    warnings: tuple[str, ...] = ()
    """The files that are missing, or that the tree has in another form than the disk."""
    left_out: tuple[str, ...] = ()
    """Files whose filter could not run. Their content is only in the worktree, and may be a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateGit:
    """A private git directory for one worktree."""

    directory: Path
    facts: WorktreeFacts

    @classmethod
    def create(
        cls, repository: Repository, directory: Path, worktree: Path, *, filters: Filters | None = None
    ) -> PrivateGit:
        """Make the private git directory for a worktree in which no agent has run yet.

        `directory` appears whole or not at all. It replaces the one of an earlier attempt.

        Args:
            filters: The drivers recorded before the first agent of the run. `None` means that no driver may run. Then
                changed files with a filter are left out.

        Raises:
            EnvironmentProblem: `worktree` is not the top of a checkout, or has no index.
            GitError: Its configuration cannot be read.
        """
        worktree = Path(os.path.abspath(worktree))
        admin_dir = git_dir_of(worktree)
        facts = observe(repository, worktree, admin_dir)
        if filters is not None:
            facts = dataclasses.replace(facts, filters=filters)
        unfinished = unfinished_directory(directory)
        try:
            shutil.copy2(admin_dir / "index", unfinished / "index")
        except FileNotFoundError as error:
            raise EnvironmentProblem(f"{worktree} has no index", hint="git reset there, then try again") from error
        private = cls(directory=unfinished, facts=facts)
        write_private_files(private.directory, private.facts)
        private._join_index()
        facts = record_filtered_files(private.git, facts, private.index)
        complete_directory(unfinished, directory, facts)
        private = cls(directory=directory, facts=facts)
        write_private_files(private.directory, private.facts)
        return private

    def _join_index(self) -> None:
        """Join a split index. Its shared part is in a directory that the agent can write."""
        shared = list(self.admin_dir.glob("sharedindex.*"))
        for path in shared:
            shutil.copy2(path, self.directory / path.name)
        if shared:
            self.git.run("update-index", "--no-split-index")

    @classmethod
    def open(cls, directory: Path) -> PrivateGit:
        """Open the private git directory made by an earlier `create`, maybe of a launcher that was killed since.

        Raises:
            EnvironmentProblem: It is missing or damaged.
        """
        try:
            data = (directory / FACTS).read_bytes()
            if not is_intact(directory / FACTS, data):
                raise ValueError("another program changed its facts")
            plain = json.loads(data)
            plain["settings"] = {key: str(value) for key, value in dict(plain["settings"]).items()}
            plain["filters"] = Filters.of(plain["filters"])
            plain["filtered"] = {path: (str(oid), str(content)) for path, (oid, content) in plain["filtered"].items()}
            plain["index_stamp"] = tuple(plain["index_stamp"])
            plain["stashes"] = tuple(plain["stashes"])
            plain["identity"] = Identity(**plain["identity"])
            private = cls(directory=directory, facts=WorktreeFacts(**plain))
            if not (directory / "index").is_file():
                raise FileNotFoundError("index")
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise EnvironmentProblem(f"{directory} is not a private git directory: {error}") from error
        write_private_files(private.directory, private.facts)
        return private

    @classmethod
    def renew(cls, repository: Repository, directory: Path, earlier: PrivateGit) -> PrivateGit:
        """Make another one for the worktree of `earlier`, in which an agent has run since.

        Index, ignore rules and settings stay as they were before the first agent, who could have changed them. Side
        effects outside the worktree are compared with the repository as it is now.

        Raises:
            GitError: The repository cannot be read.
        """
        facts = dataclasses.replace(
            earlier.facts,
            refs=side_effects.watched(side_effects.read_refs(repository)),
            stashes=tuple(stash.oid for stash in side_effects.stashes(repository)),
            surroundings=side_effects.surroundings(repository),
        )
        unfinished = unfinished_directory(directory)
        shutil.copy2(earlier.index, unfinished / "index")
        complete_directory(unfinished, directory, facts)
        return cls.open(directory)

    @property
    def worktree(self) -> Path:
        return Path(self.facts.worktree)

    @property
    def admin_dir(self) -> Path:
        return Path(self.facts.admin_dir)

    @property
    def base_commit(self) -> str:
        return self.facts.base_commit

    @property
    def index(self) -> Path:
        return self.directory / "index"

    @property
    def git(self) -> Git:
        """git with the private directory and index, the shared objects and the worktree's files."""
        return Git(
            cwd=self.directory,
            git_dir=self.directory,
            work_tree=self.worktree,
            index_file=self.index,
            object_directory=Path(self.facts.common_dir) / "objects",
            no_user_config=True,
        )

    def write_tree(self, since: str | None = None) -> Snapshot:
        """Write everything in the worktree that is not ignored to the object store, as one tree.

        The agent's process tree must have ended. May be called again after further changes. In the worktree, only the
        permissions of unreadable files and directories change.

        Args:
            since: The commit or tree from which the snapshot's diff starts. `None` means the base commit.

        Raises:
            EnvironmentProblem: The worktree is missing.
            GitError: The tree cannot be written (disk full, a damaged object store).
        """
        if not is_real_directory(self.worktree):
            raise EnvironmentProblem(f"{self.worktree} is not a directory any more")
        write_private_files(self.directory, self.facts)
        # On a copy: a launcher killed in between leaves the index and its date unchanged, which later calls rely on.
        work = self.directory / "work.index"
        git = dataclasses.replace(self.git, index_file=work)
        changed = copy_index(self.index, work, git, self.base_commit)
        agent_index = self._changed_agent_index()
        filtered = self.filtered(agent_index) if self.facts.filters.drivers else None
        staging = Staging(
            git=git, work_tree=self.worktree, scratch=self.directory, admin_dir=self.admin_dir, filtered=filtered
        )
        staging.stage(agent_index=agent_index)
        tree, changes = staging.write_tree(since or self.base_commit, missing_ok=self.facts.partial)
        staging.restore_date()
        if staging.current:
            enter_times(work, staging.current, len(self.base_commit) // 2)
        left_out = self.directory / LEFT_OUT
        if staging.left_out or left_out.exists():
            left_out.write_text(json.dumps(staging.left_out))
        os.replace(work, self.index)
        seal(self.index)
        return Snapshot(
            tree=tree,
            diff=differences.diff_of(since or self.base_commit, tree, changes),
            warnings=(*changed, *staging.warnings),
            left_out=tuple(staging.left_out),
        )

    def restore(self, tree: str, *, left_out: tuple[str, ...] = ()) -> None:
        """Write the files of `tree` to the worktree, after a `write_tree` that found others.

        Files with a filter are written through it, because git here would write them as they are stored.

        Args:
            left_out: Files with a filter that the caller restores itself.

        Raises:
            GitError: A file cannot be written, or its filter cannot be run.
        """
        index = self.directory / "restored.index"
        target_git = dataclasses.replace(self.git, index_file=index)
        target_git.run("read-tree", tree)
        hash_bytes = len(self.base_commit) // 2
        current, target = read_index(self.index, hash_bytes), read_index(index, hash_bytes)
        filtered = self.filtered()
        names = filtered.named(target_git, current.keys() | target.keys())
        if not names:
            self.git.run("read-tree", "--reset", "-u", tree)
            seal(self.index)
            return
        wrong = []
        for path in sorted(names):
            file = filtered.look(path)
            if path not in target and file is not None and path not in left_out:
                (self.worktree / path).unlink()
            elif path in target and path not in left_out:
                old, new = current.get(path), target[path]
                same = old is not None and (old.oid, old.mode) == (new.oid, new.mode)
                if not same or file is None or not stat.S_ISREG(file.st_mode):
                    wrong.append(path)
        smudged = filtered.runner().smudged(tree, wrong) if wrong else contextlib.nullcontext((self.directory, ""))
        with smudged as (smudged_dir, reason):
            if missing := [path for path in wrong if not (smudged_dir / path).is_file()]:
                raise GitError(("checkout-index", missing[0]), 1, reason or "its filter wrote nothing")
            self._restore_others(tree, names, {path: target[path] for path in names if path in target}, wrong)
            copy_back(smudged_dir, wrong, self.worktree)
        enter_times(self.index, {path: (self.worktree / path).lstat() for path in wrong}, hash_bytes)
        seal(self.index)

    def _restore_others(
        self, tree: str, names: set[str], target: Mapping[str, IndexFileEntry], wrong: list[str]
    ) -> None:
        """Write the index, and the files without a filter. `names` are the paths with one."""
        entries = (f"{target[path].mode} {target[path].oid} 0\t".encode() + os.fsencode(path) + b"\0" for path in wrong)
        removed, kept = nul_terminated(names - target.keys()), nul_terminated(target)
        for command, data in (
            (("update-index", "-z", "--force-remove", "--stdin"), removed),
            (("update-index", "-z", "--index-info"), b"".join(entries)),
            (("update-index", "-z", "--skip-worktree", "--stdin"), kept),
            (("read-tree", "--reset", "-u", tree), b""),
            (("update-index", "-z", "--no-skip-worktree", "--stdin"), kept),
        ):
            # Otherwise git reads files of this second again, without their filter.
            later_ns = time.time_ns() + 2 * 10**9
            os.utime(self.index, ns=(later_ns, later_ns))
            self.git.run(*command, input=data)
        os.utime(self.index)

    def filtered(self, agent_index: Path | None = None) -> FilteredPaths:
        """The worktree's files with a filter."""
        return FilteredPaths(
            git=self.git, facts=self.facts, index=self.index, agent_index=agent_index, scratch=self.directory
        )

    @property
    def left_out(self) -> tuple[str, ...]:
        """The files that the newest snapshot left out."""
        try:
            return tuple(json.loads((self.directory / LEFT_OUT).read_text()))
        except (OSError, ValueError):
            return ()

    def _changed_agent_index(self) -> Path | None:
        index = self.admin_dir / "index"
        try:
            status = index.lstat()
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode) or (status.st_size, status.st_mtime_ns) == self.facts.index_stamp:
            return None
        return index

    def commit(self, tree: str, parents: tuple[str, ...], message: str, *, identity: Identity | None = None) -> str:
        """Write a commit object and return its id. No ref moves.

        Args:
            identity: Author and committer. `None` means the user's identity from before the agent ran. Without one, it
                is this program's.

        Raises:
            GitError: The commit cannot be written.
        """
        parent_options = [option for parent in parents for option in ("-p", parent)]
        data = message.encode("utf-8", "replace")
        environment = (identity or self.facts.identity).environment
        return self.git.run("commit-tree", tree, *parent_options, "-F", "-", input=data, env=environment).text

    def diff(self, base: str, head: str) -> Diff:
        """The changes from commit (or tree) `base` to `head`.

        Raises:
            GitError: One of the two cannot be read.
        """
        return differences.diff(self.git, base, head)

    def patch(self, base: str, head: str, *, binary: bool = False) -> bytes:
        """The changes as a patch. With `binary`, `git apply` can apply it to any file. Raises like `diff`."""
        return differences.patch(self.git, base, head, binary=binary)
