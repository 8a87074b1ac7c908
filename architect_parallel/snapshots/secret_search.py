"""Search what an agent added to git for secrets: file contents, file names and messages of all its commits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from architect_parallel.system.git import Git
from architect_parallel.system.git_stream import output_lines

_BLOCK_BYTES = 1 << 20
_OVERLAP_BYTES = 1 << 16
"""More than a secret takes in any spelling."""


def adds_secret(git: Git, base: str, commit: str, holds_secret: Callable[[bytes], bool]) -> bool:
    """Return whether a commit between `base` and `commit` adds a secret. Files that an agent removed do not count.

    A commit in between counts too: a push of the branch would publish it.

    Args:
        git: Git in a private git directory.
    """
    held = b""
    for block in _added(git, base, commit):
        held = held[-_OVERLAP_BYTES:] + block
        if holds_secret(held):
            return True
    return False


def _added(git: Git, base: str, commit: str) -> Iterator[bytes]:
    """The messages and added lines of the commits, in blocks, then the names. Binary files are read like text."""
    options = ("--format=%an%n%ae%n%B", "--patch", "-m", "--text", "--unified=0", "--no-renames", "--submodule=short")
    size, lines = 0, list[bytes]()
    for line in output_lines(git, "log", *options, "--no-ext-diff", "--no-textconv", f"{base}..{commit}", "--"):
        if line.startswith(b"-"):
            continue
        lines.append(line.removeprefix(b"+"))
        size += len(line)
        if size >= _BLOCK_BYTES:
            yield b"".join(lines)
            size, lines = 0, []
    yield b"".join(lines)
    # In a patch, git writes some characters of names as octal numbers. Here it does not.
    names = ("--format=", "--name-only", "-z", "-m", "--no-renames", "--diff-filter=d")
    yield b"".join(output_lines(git, "log", *names, "--no-ext-diff", f"{base}..{commit}", "--"))
