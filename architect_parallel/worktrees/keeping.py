"""States put into git without moving a branch, an index or a file: what would be lost, what is not committed yet."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.system.git import Repository, make_state_dir
from architect_parallel.worktrees import differences
from architect_parallel.worktrees.facts import identity_of

KEEP = "refs/architect/keep"


def keep(repository: Repository, commit: str, run_id: str, number: int, label: str = "") -> str:
    """Puts a commit under `refs/architect/keep/<run>/<number>[-<label>][-<k>]`, create-only; returns the ref.

    A ref of that name that holds the same commit already is returned as it is; one that holds another is left alone
    and the next free k, from 2, is taken. Runs no hook.

    Raises:
        GitError: The ref cannot be made (disk full, no such commit).
    """
    stem = f"{KEEP}/{run_id}/{number}" + (f"-{label}" if label else "")
    store = repository.store
    for attempt in range(1, 10_000):
        ref = stem if attempt == 1 else f"{stem}-{attempt}"
        output = store.run("update-ref", ref, commit, "", check=False)
        if output.code == 0:
            return ref
        there = store.resolve(ref)
        if there == commit:
            return ref
        if there is None:
            raise output.error
    raise EnvironmentProblem(f"{stem} has no free number left")


def snapshot_dirty(repository: Repository) -> str:
    """The user's checkout as it is, untracked files included and ignored ones not, as a commit on top of HEAD.

    Neither index, files nor refs change. The user's own filters run (it is the user's own tree). Returns HEAD's
    commit where nothing is uncommitted.

    Raises:
        EnvironmentProblem: No checkout, no commit, or a file that cannot be read.
        GitError: The objects cannot be written.
    """
    here = repository.git
    head = here.resolve("HEAD^{commit}")
    if repository.checkout is None or head is None:
        raise EnvironmentProblem(f"{repository.root} has no checkout with a commit", hint="leave out --include-dirty")
    make_state_dir(repository.state_dir)
    index = repository.state_dir / f"dirty-{os.getpid()}-{os.urandom(4).hex()}.index"
    try:
        original = Path(here.text("rev-parse", "--path-format=absolute", "--git-path", "index"))
        with contextlib.suppress(FileNotFoundError):
            shutil.copy2(original, index)
        git = dataclasses.replace(here, index_file=index)
        plain = ("core.splitIndex=false", "core.safecrlf=false")
        if git.run("add", "-A", "--ignore-errors", "--no-warn-embedded-repo", check=False, settings=plain).code != 0:
            left = git.run("ls-files", "-z", "-m", "-o", "--exclude-standard").fields
            unread = [path for path in left if not path.endswith("/")]
            if unread:
                raise EnvironmentProblem(f"{unread[0]!r} cannot be read", hint="mend it, or leave out --include-dirty")
        found = differences.changes(git, head, git.text("write-tree"))
        links = [change.file.path for change in found if change.new_mode == differences.GITLINK_MODE
                 and change.old_mode != differences.GITLINK_MODE]  # fmt: skip
        if links:  # a repository of the user's inside the checkout: not content of this one
            names = b"".join(os.fsencode(path) + b"\0" for path in links)
            git.run("update-index", "-z", "--force-remove", "--stdin", input=names)
        tree = git.text("write-tree")
        if tree == here.text("rev-parse", f"{head}^{{tree}}"):
            return head
        settings = dict(line.partition("\n")[::2] for line in here.run("config", "--list", "-z").fields)
        message = b"architect: uncommitted state of the checkout\n"
        who = identity_of(settings).environment
        return git.run("commit-tree", tree, "-p", head, "-F", "-", input=message, env=who).text
    finally:
        index.unlink(missing_ok=True)
