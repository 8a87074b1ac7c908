"""States put into git without moving a branch, an index or a file: what would be lost, what is not committed yet."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Container
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.repository.filters import configured, drivers_of
from architect_parallel.repository.index_file import read_index
from architect_parallel.snapshots import diff
from architect_parallel.snapshots.baseline import identity_of
from architect_parallel.system.git import Git, Repository, make_state_dir
from architect_parallel.text.sanitize import one_line

KEEP = "refs/architect/keep"


def keep(repository: Repository, commit: str, run_id: str, number: int, label: str = "") -> str:
    """Create a ref `refs/architect/keep/<run>/<number>[-<label>][-<k>]` for a commit, and return its name.

    An existing ref of that name with the same commit is returned. If it has another commit, the ref gets the next free
    k, from 2. No hook runs.

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
        existing = store.resolve(ref)
        if existing == commit:
            return ref
        if existing is None:
            raise output.error
    raise EnvironmentProblem(f"{stem} has no free number left")


def snapshot_dirty(repository: Repository) -> str:
    """Commit the user's checkout, with untracked and without ignored files, on top of HEAD.

    Index, files and refs do not change. The user's own filters run, because it is the user's own tree. If nothing is
    uncommitted, the commit is HEAD's.

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
        lines = (line.partition("\n") for line in here.run("config", "--list", "-z").fields)
        pairs = [(name, value if separator else "true") for name, separator, value in lines]
        drivers = configured(pairs).drivers
        # git stores a file as it is when its filter fails, unless the filter is required.
        plain = ("core.splitIndex=false", "core.safecrlf=false", *(f"filter.{name}.required=true" for name in drivers))
        if drivers:
            _spare_filtered(git, repository.checkout, index, drivers)
        added = git.run("add", "-A", "--ignore-errors", "--no-warn-embedded-repo", check=False, settings=plain)
        if added.code != 0:
            left = git.run("ls-files", "-z", "-m", "-o", "--exclude-standard", check=False, settings=plain)
            unread = [path for path in left.fields if not path.endswith("/")]
            if unread or left.code != 0:
                name = repr(unread[0]) if unread else "the uncommitted state"
                reason = one_line((added.stderr.splitlines() or [""])[0], 200)
                raise EnvironmentProblem(
                    f"{name} cannot be read: {reason}", hint="mend it, or leave out --include-dirty"
                )
        changes = diff.changes(git, head, git.text("write-tree"))
        new_links = (change for change in changes if change.old_mode != diff.GITLINK_MODE)
        links = [change.file.path for change in new_links if change.new_mode == diff.GITLINK_MODE]
        if links:  # repositories of the user's inside the checkout are no content of this one
            names = b"".join(os.fsencode(path) + b"\0" for path in links)
            git.run("update-index", "-z", "--force-remove", "--stdin", input=names)
        tree = git.text("write-tree")
        if tree == here.text("rev-parse", f"{head}^{{tree}}"):
            return head
        message = b"architect: uncommitted state of the checkout\n"
        environment = identity_of(dict(pairs)).environment
        return git.run("commit-tree", tree, "-p", head, "-F", "-", input=message, env=environment).text
    finally:
        index.unlink(missing_ok=True)


def _spare_filtered(git: Git, checkout: Path, index: Path, drivers: Container[str]) -> None:
    """Let `add` trust the index about files with a filter whose times agree with it to the nanosecond.

    git reads each file again that is as young as the index in whole seconds, and a filter may encrypt differently each
    time. Other files of that second lose their times in the index, so that git does read them.
    (https://git-scm.com/docs/racy-git)
    """
    try:
        written_ns = index.stat().st_mtime_ns
        entries = read_index(index, len(git.text("rev-parse", "HEAD")) // 2)
    except (OSError, ValueError):
        return
    young = {}
    for path, entry in entries.items():
        with contextlib.suppress(OSError):
            file = (checkout / path).lstat()
            if file.st_mtime_ns // 10**9 >= written_ns // 10**9:
                young[path] = entry.matches(file)
    if any(not entries[path].is_plain for path in young):
        return
    filtered = {path for path, name in drivers_of(git, young).items() if name in drivers}
    if not filtered:
        return
    again = [path for path, same in young.items() if not (same and path in filtered)]
    lines = (f"{entries[path].mode} {entries[path].oid} 0\t".encode() + os.fsencode(path) + b"\0" for path in again)
    later = (written_ns, (written_ns // 10**9 + 1) * 10**9)
    os.utime(index, ns=later)
    if again:
        git.run("update-index", "-z", "--index-info", input=b"".join(lines))
        os.utime(index, ns=later)
