"""The commits of a worker repository: move the worker's branch, and keep every other commit under a keep ref."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from architect_parallel.repository.git_dir_files import OBJECT_ID, files_below, read_reflog, read_regular_file
from architect_parallel.snapshots.baseline import OWN
from architect_parallel.snapshots.keep_refs import keep
from architect_parallel.system.files import names
from architect_parallel.system.git import Repository

NOT_LENT = ("refs/architect/", "refs/stash", "refs/bisect/", "refs/worktree/", "refs/rewritten/")
_NOT_TAKEN = (*NOT_LENT, "refs/remotes/", "refs/prefetch/")


@dataclass(slots=True, kw_only=True)
class CommitTransfer:
    """One pass over the refs and reflogs of a worker repository whose objects are already in the common store."""

    repository: Repository
    directory: Path
    """The worker repository."""
    branch: str
    """Short name of the worker's branch. An empty name means that there is none."""
    run_id: str
    number: int
    """The worker's, for keep refs."""
    label: str
    """Comes first in the names of keep refs."""
    initial_refs: Mapping[str, str]
    """The refs that the worker repository began with, as full name → object id."""
    refs: Mapping[str, str]
    """The refs that it has now."""
    detached_at: str | None = None
    """The commit that HEAD of the registration must name. `None` means that HEAD stays on the branch."""
    warnings: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """Keep refs that were made."""

    def run(self, *, follows: bool) -> None:
        """Transfer the commits. With `follows` the branch moves as the agent moved it, otherwise its tip is kept."""
        own = f"refs/heads/{self.branch}" if self.branch else ""
        changed = {
            ref: oid
            for ref, oid in self.refs.items()
            if self.initial_refs.get(ref) != oid and not ref.startswith(_NOT_TAKEN)
        }
        tip = changed.pop(own, None)
        head, head_branch = self._head()
        new_commits = [oid for oid in (tip, head) if oid is not None and oid not in self.initial_refs.values()]
        if new_commits and not self._is_whole(new_commits):
            self.warnings.append("the agent's commits are damaged and not collected; its files are")
            tip = head = None
        if not follows or not own:
            self._keep_rest(changed | ({own: tip} if tip is not None else {}))
            return
        if tip is not None:
            self._move_branch(own, tip)
        if head_branch != own and (head_branch or head):
            position = head_branch.removeprefix("refs/heads/") if head_branch else (head or "")[:12]
            self.detached_at = head
            self.warnings.append(f"HEAD was left at {position}, not at {self.branch}")
        if own in self.initial_refs and own not in self.refs:
            self.warnings.append(f"{self.branch} was deleted; it is made again")
        self._keep_rest(changed, {oid for oid in (tip, head) if oid is not None})

    def _head(self) -> tuple[str | None, str]:
        """The commit of HEAD, and the full name of its branch. An empty name means that HEAD is detached."""
        text = os.fsdecode(read_regular_file(self.directory / "HEAD")).strip()
        if text.startswith("ref: refs/"):
            ref = text.removeprefix("ref: ")
            return self.refs.get(ref), ref
        return (text, "") if OBJECT_ID.fullmatch(text) else (None, "")

    def _is_whole(self, commits: list[str]) -> bool:
        command = ("rev-list", "--objects", "--quiet", *commits, "--not", "--all")
        if self.repository.store.run(*command, check=False).code == 0:
            return True
        return all(self.repository.store.ok("cat-file", "-e", f"{commit}^{{tree}}") for commit in commits)

    def _move_branch(self, ref: str, tip: str) -> None:
        message = f"architect: commits of {self.run_id} worker {self.number}"
        before = self.initial_refs.get(ref, "")
        command = ("update-ref", "--no-deref", "--create-reflog", "-m", message, ref, tip)
        moved = self.repository.store.run(*command, before, check=False)
        if moved.code != 0 and self.repository.store.resolve(ref) != tip:
            kept = self._keep(tip, "branch")
            reason = " ".join(moved.stderr.split())[:200]
            self.warnings.append(f"{self.branch} could not be moved ({reason}); the agent's commits are {kept}")

    def _keep_rest(self, changed: Mapping[str, str], taken: Set[str] = frozenset()) -> None:
        """Keep every commit that no ref of the repository, no remote ref of the agent and no commit of `taken` has."""
        directory = self.directory
        stashes = read_reflog(directory / "logs" / "refs" / "stash")
        logs = [directory / "logs", *(admin / "logs" for admin in self._own_worktrees())]
        logged = {oid for log in logs for file in files_below(log) for oid, _ in read_reflog(file)}
        candidates = {*changed.values(), *logged} - {*self.initial_refs.values(), *taken}
        if not candidates and not changed:
            return
        held = [oid for ref, oid in self.refs.items() if ref.startswith("refs/remotes/")] + list(taken)
        unsafe = self._unsafe(candidates, held)
        fetched = (directory / "FETCH_HEAD").exists()
        for ref, oid in sorted(changed.items()):
            kind = self.repository.store.run("cat-file", "-t", oid, check=False).text
            is_tag = kind == "tag"
            commit = self.repository.store.resolve(f"{oid}^{{commit}}") if is_tag else oid
            if commit in unsafe or (is_tag and not fetched) or kind in ("blob", "tree"):
                name = ref.removeprefix("refs/").replace("heads/", "branch-", 1).replace("tags/", "tag-", 1)
                change = f"{ref.removeprefix('refs/heads/')} was set to {oid[:12]}"
                self.warnings.append(f"while it ran, {change}; that is kept as {self._keep(oid, name)}")
        for oid, message in stashes:
            if oid in unsafe:
                kept = self._keep(oid, "stash")
                self.warnings.append(f"a stash was made while it ran ({message}); it is kept as {kept}")
        abandoned = logged & self._unsafe(logged & unsafe, held)
        if abandoned:
            self._keep_abandoned(abandoned)

    def _own_worktrees(self) -> list[Path]:
        """Registrations of linked worktrees that the agent made. They are removed with the worker repository."""
        parent = self.directory / "worktrees"
        admin_dirs = [parent / name for name in names(parent)]
        for admin in admin_dirs:
            path = os.fsdecode(read_regular_file(admin / "gitdir")).strip().removesuffix("/.git")
            self.warnings.append(f"the agent made a worktree at {path}: its files stay, git does not know it any more")
        return admin_dirs

    def _keep_abandoned(self, commits: Iterable[str]) -> None:
        """Keep commits that only a reflog names, as parents of one commit."""
        oids = sorted(commits)
        tips = self.repository.store.run("merge-base", "--independent", *oids, check=False).text.split() or oids
        tree = self.repository.store.run("hash-object", "-t", "tree", "-w", "--stdin").text
        parents = [word for tip in tips for word in ("-p", tip)]
        message = f"architect: commits that worker {self.number} of run {self.run_id} left behind\n".encode()
        self._keep(
            self.repository.store.run(
                "commit-tree", tree, *parents, "-F", "-", input=message, env=OWN.environment
            ).text,
            "abandoned",
        )

    def _unsafe(self, candidates: Iterable[str], held: Iterable[str]) -> Set[str]:
        """Commits that the candidates reach and neither a ref of the repository nor a commit of `held` does."""
        oids = set(candidates)
        if not oids:
            return oids
        lines = "".join(f"{oid}\n" for oid in (*oids, *(f"^{oid}" for oid in held)))
        command = ("rev-list", "--ignore-missing", "--stdin", "--not", "--all")
        output = self.repository.store.run(*command, input=lines.encode(), check=False)
        if output.code != 0:  # one of the user's refs is broken
            return {oid for oid in oids if self.repository.store.ok("cat-file", "-e", oid)}
        return set(output.text.split())

    def _keep(self, oid: str, name: str) -> str:
        label = f"{self.label}-" if self.label else ""
        suffix = re.sub("[^A-Za-z0-9_-]+", "-", f"{label}{name}")[:80].strip("-")
        self.kept.append(keep(self.repository, oid, self.run_id, self.number, suffix))
        return self.kept[-1]
