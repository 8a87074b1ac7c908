"""Find files that only the agent's own ignore rules hide. They are not collected, yet they are changes.

git's list of ignored files is compared with the ignore rules of the base commit and of the user from before the agent
ran. Files that those rules do not ignore are hidden by the agent, on purpose (`*` in `.gitignore`) or not (a
`.gitignore` for `node_modules`). A few files are kept under a keep ref. Many files are counted by directory and stay in
the worktree, which a cleanup then leaves alone.

Directories with a cache tag are left out (https://bford.info/cachedir/), and so are directories that ignored themselves
before the agent ran, such as a virtual environment made by a setup command.
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
"""The most files and bytes of one directory that are kept in git. A larger directory is only counted."""
_CACHE_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """The files that the agent's own ignore rules hide in a worktree."""

    files: tuple[str, ...] = ()
    """Paths of single files and of files in small directories, sorted."""
    directories: Mapping[str, int] = field(default_factory=dict)
    """Large directories, each with a `/` at its end, with the number of their files."""

    def __bool__(self) -> bool:
        return bool(self.files or self.directories)

    @property
    def words(self) -> str:
        """The directories with their counts, for a sentence."""
        return summarize([f"{name} ({show_count(count, 'file')})" for name, count in self.directories.items()], most=3)


def find_hidden(private: PrivateGit) -> Hidden:
    """List the files that only the agent's ignore rules hide in the worktree of `private`.

    Raises:
        GitError: The worktree cannot be listed.
    """
    command = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory", "--no-empty-directory")
    listed = private.git.run(*command).fields
    files: list[str] = []
    directories: dict[str, int] = {}
    for name in _not_ignored_before(private, listed) if listed else ():
        directory = private.worktree / name
        if not name.endswith("/"):
            files.append(name)
        elif not _is_expendable(directory, private.facts.made_at_ns):
            inside, size = _inside(directory)
            if len(inside) > MOST_FILES or size > MOST_BYTES:
                directories[name] = len(inside)
            else:
                files += [os.path.relpath(path, private.worktree) for path in inside]
    return Hidden(files=tuple(sorted(files)), directories=dict(sorted(directories.items())))


def commit_hidden(private: PrivateGit, hidden: Hidden, parent: str) -> str | None:
    """Write a commit of `parent` and the hidden files, for a keep ref. `None` means that no file can be read.

    A file with a filter of the user's is left out, because it must not be stored as it is.

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
    """Those of `names` that the rules from before the agent ran do not ignore."""
    listed = private.git.run("ls-tree", "-r", "-z", "--name-only", private.base_commit).fields
    rules = [path for path in listed if path.rpartition("/")[2] == ".gitignore"]
    with tempfile.TemporaryDirectory(dir=private.directory.parent) as folder:
        tree = Path(folder)
        for path in rules:
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(private.git.run("cat-file", "blob", f"{private.base_commit}:{path}").stdout)
        # A directory is checked by a file in it: it does not exist here, so git cannot know that it is a directory.
        by_query = {f"./{name}x" if name.endswith("/") else f"./{name}": name for name in names}
        git = dataclasses.replace(private.git, work_tree=tree, cwd=tree)
        plain = {"GIT_LITERAL_PATHSPECS": "0"}
        command = ("check-ignore", "-z", "--stdin", "--no-index")
        ignored = set(git.run(*command, input=nul_terminated(by_query), check=False, env=plain).fields)
    return [name for query, name in by_query.items() if query not in ignored]


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
    """The paths of the files in a directory, at any depth, and their size in bytes."""
    paths, size = [], 0
    for parent, inner, names in os.walk(directory):
        inner[:] = [name for name in inner if name != ".git"]
        for name in names:
            path = os.path.join(parent, name)
            try:
                size += os.lstat(path).st_size
            except OSError:
                continue
            paths.append(path)
    return paths, size
