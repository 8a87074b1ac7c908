"""Files that only ignore rules of the agent's hide: neither collected nor "nothing changed".

git's listing of ignored files is compared with what the ignore rules of the base commit and of the user, frozen before
the agent ran, would ignore. What they would not is the agent's own hiding, on purpose (`*` in `.gitignore`) or not
(a `.gitignore` for `node_modules`). A few files are kept under a keep ref. Many are counted by directory and stay in
the worktree, which a cleanup then leaves alone.

Left out are caches that say so themselves (https://bford.info/cachedir/) and directories that hid themselves before
the agent ran, such as a virtual environment made by a setup command.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.snapshots.worktree_index import nul_terminated
from architect_parallel.text.quantities import show_count, summarize

MOST_FILES = 200
MOST_BYTES = 10 * 2**20
"""Up to so many files and bytes in one directory are kept in git; a directory with more is counted."""
_CACHE_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """What the agent's own ignore rules hide in a worktree."""

    files: tuple[str, ...] = ()
    """Paths of single files and of files in small directories, sorted."""
    directories: Mapping[str, int] = field(default_factory=dict)
    """Large directories, each with a `/` at its end, and how many files are in them."""

    def __bool__(self) -> bool:
        return bool(self.files or self.directories)

    @property
    def words(self) -> str:
        """The directories with their counts, for a sentence."""
        return summarize([f"{name} ({show_count(count, 'file')})" for name, count in self.directories.items()], most=3)


def find_hidden(private: PrivateGit) -> Hidden:
    """List what only the agent's ignore rules hide in the worktree of `private`; one git process where nothing is.

    Raises:
        GitError: The worktree cannot be listed.
    """
    words = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory", "--no-empty-directory")
    listed = private.git.run(*words).fields
    files: list[str] = []
    directories: dict[str, int] = {}
    for name in _not_ignored_before(private, listed) if listed else ():
        place = private.worktree / name
        if not name.endswith("/"):
            files.append(name)
        elif not _is_expendable(place, private.facts.made_at_ns):
            inside, size = _inside(place)
            if len(inside) > MOST_FILES or size > MOST_BYTES:
                directories[name] = len(inside)
            else:
                files += [os.path.relpath(path, private.worktree) for path in inside]
    return Hidden(files=tuple(sorted(files)), directories=dict(sorted(directories.items())))


def commit_hidden(private: PrivateGit, hidden: Hidden, parent: str) -> str | None:
    """Write a commit of `parent` and the hidden files, for a keep ref; `None` means that none can be read.

    A file that a filter of the user's would store in another form is left out: it must not be stored as it is.

    Raises:
        GitError: It cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=private.directory.parent) as folder:
        git = dataclasses.replace(private.git, index_file=Path(folder) / "index")
        git.run("read-tree", parent)
        fields = git.run("check-attr", "-z", "--stdin", "filter", input=nul_terminated(hidden.files)).fields
        plain = [
            path for path, value in zip(fields[::3], fields[2::3], strict=True) if value in ("unspecified", "unset")
        ]
        for path in plain:
            git.run("update-index", "--add", "--", path, check=False)
        tree = git.text("write-tree")
    if tree == private.git.text("rev-parse", f"{parent}^{{tree}}"):
        return None
    return private.commit(tree, (parent,), "architect: files that the agent's ignore rules hide\n")


def _not_ignored_before(private: PrivateGit, names: Iterable[str]) -> list[str]:
    """Those of `names` that the rules of before the agent would not ignore."""
    listed = private.git.run("ls-tree", "-r", "-z", "--name-only", private.base_commit).fields
    rules = [path for path in listed if path.rpartition("/")[2] == ".gitignore"]
    with tempfile.TemporaryDirectory(dir=private.directory.parent) as folder:
        tree = Path(folder)
        for path in rules:
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(private.git.run("cat-file", "blob", f"{private.base_commit}:{path}").stdout)
        # A directory is asked for by a file in it: without the directory itself git cannot tell that it is one.
        asked = {f"./{name}x" if name.endswith("/") else f"./{name}": name for name in names}
        git = dataclasses.replace(private.git, work_tree=tree, cwd=tree)
        plain = {"GIT_LITERAL_PATHSPECS": "0"}
        words = ("check-ignore", "-z", "--stdin", "--no-index")
        ignored = set(git.run(*words, input=nul_terminated(asked), check=False, env=plain).fields)
    return [name for path, name in asked.items() if path not in ignored]


def _is_expendable(directory: Path, made_at_ns: int) -> bool:
    try:
        with (directory / "CACHEDIR.TAG").open("rb") as file:
            if file.read(len(_CACHE_SIGNATURE)) == _CACHE_SIGNATURE:
                return True
    except OSError:
        pass
    try:
        return (directory / ".gitignore").lstat().st_ctime_ns < made_at_ns
    except OSError:
        return False


def _inside(directory: Path) -> tuple[list[str], int]:
    found, size = [], 0
    for here, inner, names in os.walk(directory):
        inner[:] = [name for name in inner if name != ".git"]
        for name in names:
            path = os.path.join(here, name)
            try:
                size += os.lstat(path).st_size
            except OSError:
                continue
            found.append(path)
    return found, size
