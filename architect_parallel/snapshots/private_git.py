"""Reading a tree an agent had its hands on, through a git directory the agent's repository settings cannot reach.

Ordinary git calls in such a tree run what the agent configured: filters, hooks, fsmonitor, text conversions. A
`PrivateGit` has its own configuration (only the settings in `HARMLESS_SETTINGS`), its own index (the worktree's, as it
was before the agent ran, so that unchanged files need no reading), its own ignore rules and attributes (frozen then),
an explicit work tree and no hooks. Only the object store is shared, so what it writes can be published in place.

The order is: `create` before the agent starts; after its process tree is proven gone `write_tree`, `commit`, and then
publication by `workers.collect`. Everything in the directory but the index follows from `facts.json` and is written
anew before each use, so `open` needs the directory alone and whatever else lies in there has no effect.
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
from architect_parallel.repository.index_file import Entry, enter_times, read_index
from architect_parallel.snapshots import diff as differences
from architect_parallel.snapshots.baseline import (
    HARMLESS_SETTINGS,
    Facts,
    Identity,
    git_dir_of,
    is_real_directory,
    observe,
)
from architect_parallel.snapshots.filtered_paths import FilteredPaths, note_filtered, take_back
from architect_parallel.snapshots.staging import Staging
from architect_parallel.snapshots.worktree_index import nul_terminated
from architect_parallel.system.files import make_private_dir
from architect_parallel.system.git import Git, GitError, Repository
from architect_parallel.system.git_settings import config_text

FACTS = "facts.json"
LEFT_OUT = "left-out.json"
_OWN_ENTRIES = frozenset({FACTS, LEFT_OUT, "HEAD", "config", "index", "info", "refs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The content of a worktree as a tree object."""

    tree: str
    diff: Diff
    """From the base commit to the tree (`head` is the tree's id)."""
    warnings: tuple[str, ...] = ()
    """What could not be taken, or was taken in another form than it has on disk."""
    left_out: tuple[str, ...] = ()
    """Files with a filter that could not be run: their content is in the worktree only, and may be a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateGit:
    """A private git directory for one worktree; see the module's text."""

    directory: Path
    facts: Facts

    @classmethod
    def create(
        cls, repository: Repository, directory: Path, worktree: Path, *, filters: Filters | None = None
    ) -> PrivateGit:
        """Makes the private git directory for a worktree in which no agent has run yet.

        `directory` appears whole or not at all; one that is there, of an earlier attempt, is replaced.

        Args:
            filters: The drivers recorded before the first agent of the run. `None` means that no driver may be run:
                files of those that are configured now are left out unless they did not change.

        Raises:
            EnvironmentProblem: `worktree` is not the top of a checkout, or has no index.
            GitError: Its configuration cannot be read.
        """
        worktree = Path(os.path.abspath(worktree))
        admin_dir = git_dir_of(worktree)
        facts = observe(repository, worktree, admin_dir)
        if filters is not None:
            facts = dataclasses.replace(facts, filters=filters)
        unfinished = directory.with_name(f"{directory.name}.new")
        for path in (unfinished, directory):
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(path)
        make_private_dir(unfinished)
        try:
            shutil.copy2(admin_dir / "index", unfinished / "index")
        except FileNotFoundError as error:
            raise EnvironmentProblem(f"{worktree} has no index", hint="git reset there, then try again") from error
        private = cls(directory=unfinished, facts=facts)
        private._seal()
        private._join_index()
        facts = note_filtered(private.git, facts, private.index)
        (unfinished / FACTS).write_text(json.dumps(dataclasses.asdict(facts), ensure_ascii=True))
        os.rename(unfinished, directory)
        private = cls(directory=directory, facts=facts)
        private._seal()
        return private

    def _join_index(self) -> None:
        """Makes one index of a split one, whose shared part lies in a place the agent can reach."""
        shared = list(self.admin_dir.glob("sharedindex.*"))
        for path in shared:
            shutil.copy2(path, self.directory / path.name)
        if shared:
            self.git.run("update-index", "--no-split-index")

    @classmethod
    def open(cls, directory: Path) -> PrivateGit:
        """The private git directory made by an earlier `create`, perhaps of a launcher that was killed since.

        Raises:
            EnvironmentProblem: There is none, or it is damaged.
        """
        try:
            plain = json.loads((directory / FACTS).read_text())
            plain["settings"] = {key: str(value) for key, value in dict(plain["settings"]).items()}
            plain["filters"] = Filters.of(plain["filters"])
            plain["filtered"] = {path: (str(oid), str(content)) for path, (oid, content) in plain["filtered"].items()}
            plain["index_stamp"] = tuple(plain["index_stamp"])
            plain["stashes"] = tuple(plain["stashes"])
            plain["identity"] = Identity(**plain["identity"])
            private = cls(directory=directory, facts=Facts(**plain))
            if not (directory / "index").is_file():
                raise FileNotFoundError("index")
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise EnvironmentProblem(f"{directory} is not a private git directory: {error}") from error
        private._seal()
        return private

    @classmethod
    def renew(cls, repository: Repository, directory: Path, earlier: PrivateGit) -> PrivateGit:
        """A further one for the worktree of `earlier`, in which an agent has run since.

        What an agent could have altered (index, ignore rules, settings) stays as it was before the first one; what it
        left outside is compared with how things are now.

        Raises:
            GitError: The repository cannot be read.
        """
        facts = dataclasses.replace(
            earlier.facts,
            refs=side_effects.watched(side_effects.read_refs(repository)),
            stashes=tuple(stash.oid for stash in side_effects.stashes(repository)),
            surroundings=side_effects.surroundings(repository),
        )
        unfinished = directory.with_name(f"{directory.name}.new")
        for path in (unfinished, directory):
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(path)
        make_private_dir(unfinished)
        shutil.copy2(earlier.index, unfinished / "index")
        (unfinished / FACTS).write_text(json.dumps(dataclasses.asdict(facts), ensure_ascii=True))
        os.rename(unfinished, directory)
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
        """git on the private directory and index, the shared objects and the worktree's files."""
        return Git(
            cwd=self.directory,
            git_dir=self.directory,
            work_tree=self.worktree,
            index_file=self.index,
            object_directory=Path(self.facts.common_dir) / "objects",
            no_user_config=True,
        )

    def write_tree(self, since: str | None = None) -> Snapshot:
        """Puts everything in the worktree that is not ignored into the object store, as one tree.

        Needs the agent's process tree gone. May be called again after further changes. Nothing in the worktree
        changes but the permissions of files and directories that cannot be read otherwise.

        Args:
            since: Commit or tree that the snapshot's diff begins at; `None` means the base commit.

        Raises:
            EnvironmentProblem: The worktree is not there.
            GitError: The tree cannot be written (disk full, a damaged object store).
        """
        if not is_real_directory(self.worktree):
            raise EnvironmentProblem(f"{self.worktree} is not a directory any more")
        self._seal()
        # On a copy: a launcher killed in between leaves the index and its date, on which much depends, as they were.
        work = self.directory / "work.index"
        shutil.copy2(self.index, work)
        git = dataclasses.replace(self.git, index_file=work)
        agent_index = self._changed_agent_index()
        filtered = self.filtered(agent_index) if self.facts.filters.drivers else None
        staging = Staging(
            git=git, work_tree=self.worktree, scratch=self.directory, admin_dir=self.admin_dir, filtered=filtered
        )
        staging.stage(agent_index=agent_index)
        tree, found = staging.write_tree(since or self.base_commit, missing_ok=self.facts.partial)
        staging.restore_date()
        if staging.current:
            enter_times(work, staging.current, len(self.base_commit) // 2)
        left_out = self.directory / LEFT_OUT
        if staging.left_out or left_out.exists():
            left_out.write_text(json.dumps(staging.left_out))
        os.replace(work, self.index)
        return Snapshot(
            tree=tree,
            diff=differences.diff_of(since or self.base_commit, tree, found),
            warnings=tuple(staging.warnings),
            left_out=tuple(staging.left_out),
        )

    def restore(self, tree: str, *, left_out: tuple[str, ...] = ()) -> None:
        """Makes the files those of `tree`, after a `write_tree` that found others.

        git would write files with a filter as they are stored: they are written through the filter instead.

        Args:
            left_out: Files with a filter that the caller brings back itself.

        Raises:
            GitError: A file cannot be written, or its filter cannot be run.
        """
        index = self.directory / "restored.index"
        ahead = dataclasses.replace(self.git, index_file=index)
        ahead.run("read-tree", tree)
        hash_bytes = len(self.base_commit) // 2
        now, then = read_index(self.index, hash_bytes), read_index(index, hash_bytes)
        filtered = self.filtered()
        names = filtered.named(ahead, now.keys() | then.keys())
        if not names:
            self.git.run("read-tree", "--reset", "-u", tree)
            return
        wrong = []
        for path in sorted(names):
            file = filtered.look(path)
            if path not in then and file is not None and path not in left_out:
                (self.worktree / path).unlink()
            elif path in then and path not in left_out:
                same = path in now and (now[path].oid, now[path].mode) == (then[path].oid, then[path].mode)
                if not same or file is None or not stat.S_ISREG(file.st_mode):
                    wrong.append(path)
        smudged = filtered.runner().smudged(tree, wrong) if wrong else contextlib.nullcontext((self.directory, ""))
        with smudged as (place, why):
            if missing := [path for path in wrong if not (place / path).is_file()]:
                raise GitError(("checkout-index", missing[0]), 1, why or "its filter wrote nothing")
            self._restore_others(tree, names, {path: then[path] for path in names if path in then}, wrong)
            take_back(place, wrong, self.worktree)
        enter_times(self.index, {path: (self.worktree / path).lstat() for path in wrong}, hash_bytes)

    def _restore_others(self, tree: str, names: set[str], then: Mapping[str, Entry], wrong: list[str]) -> None:
        """Brings the index, and the files without a filter, to `tree`; `names` are the paths with one."""
        entries = (f"{then[path].mode} {then[path].oid} 0\t".encode() + os.fsencode(path) + b"\0" for path in wrong)
        gone, held = nul_terminated(names - then.keys()), nul_terminated(then)
        for words, data in (
            (("update-index", "-z", "--force-remove", "--stdin"), gone),
            (("update-index", "-z", "--index-info"), b"".join(entries)),
            (("update-index", "-z", "--skip-worktree", "--stdin"), held),
            (("read-tree", "--reset", "-u", tree), b""),
            (("update-index", "-z", "--no-skip-worktree", "--stdin"), held),
        ):
            later_ns = time.time_ns() + 2 * 10**9  # else git reads files of this second again, without their filter
            os.utime(self.index, ns=(later_ns, later_ns))
            self.git.run(*words, input=data)
        os.utime(self.index)

    def filtered(self, agent_index: Path | None = None) -> FilteredPaths:
        """Decides about the worktree's files with a filter."""
        return FilteredPaths(
            git=self.git, facts=self.facts, index=self.index, agent_index=agent_index, scratch=self.directory
        )

    @property
    def left_out(self) -> tuple[str, ...]:
        """Of the newest snapshot."""
        try:
            return tuple(json.loads((self.directory / LEFT_OUT).read_text()))
        except (OSError, ValueError):
            return ()

    def _changed_agent_index(self) -> Path | None:
        index = self.admin_dir / "index"
        try:
            found = index.lstat()
        except OSError:
            return None
        if not stat.S_ISREG(found.st_mode) or (found.st_size, found.st_mtime_ns) == self.facts.index_stamp:
            return None
        return index

    def commit(self, tree: str, parents: tuple[str, ...], message: str, *, identity: Identity | None = None) -> str:
        """Writes a commit object and returns its id; moves no ref.

        Args:
            identity: `None`: the user's as configured before the agent ran, else the tool's own.

        Raises:
            GitError: When it cannot be written.
        """
        words = [word for parent in parents for word in ("-p", parent)]
        data = message.encode("utf-8", "replace")
        who = (identity or self.facts.identity).environment
        return self.git.run("commit-tree", tree, *words, "-F", "-", input=data, env=who).text

    def diff(self, base: str, head: str) -> Diff:
        """What changed from commit (or tree) `base` to `head`.

        Raises:
            GitError: When one of the two cannot be read.
        """
        return differences.diff(self.git, base, head)

    def patch(self, base: str, head: str, *, binary: bool = False) -> bytes:
        """The same as a patch; with `binary` complete enough for `git apply` on any file. Raises like `diff`."""
        return differences.patch(self.git, base, head, binary=binary)

    def _seal(self) -> None:
        """Writes everything but the facts and the index anew, and removes what does not belong here."""
        for entry in os.scandir(self.directory):
            if entry.name not in _OWN_ENTRIES:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    os.unlink(entry.path)
        info = self.directory / "info"
        for part in (info, self.directory / "refs"):
            if part.is_symlink():
                part.unlink()
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(mode=0o700)
        with contextlib.suppress(FileNotFoundError):  # where history ends; git finds commits missing without it
            shutil.copyfile(Path(self.facts.common_dir) / "shallow", self.directory / "shallow")
        _write(self.directory / "HEAD", "ref: refs/heads/private\n")
        _write(self.directory / "config", self._configuration())
        _write(info / "exclude", self.facts.excludes)
        _write(info / "attributes", self.facts.attributes)
        _write(info / "user-exclude", self.facts.user_excludes)
        _write(info / "user-attributes", self.facts.user_attributes)

    def _configuration(self) -> str:
        settings = {name: value for name, value in self.facts.settings.items() if name in HARMLESS_SETTINGS}
        settings |= {
            # Extensions are honoured from version 1 on.
            "core.repositoryformatversion": "1",
            "core.bare": "false",
            "core.excludesfile": os.fspath(self.directory / "info" / "user-exclude"),
            "core.attributesfile": os.fspath(self.directory / "info" / "user-attributes"),
            "core.safecrlf": "false",
            "core.splitindex": "false",
            "core.logallrefupdates": "false",
            "index.sparse": "false",
            "advice.addembeddedrepo": "false",
            "advice.updatesparsepath": "false",
        }
        return config_text(sorted(settings.items()))


def _write(path: Path, text: str) -> None:
    if path.is_symlink():
        path.unlink()
    path.write_bytes(os.fsencode(text))
