"""The changes between two commits or trees, read from `git diff-tree`.

External diff programs and text conversions are off, so git runs no program that the configuration or attributes name.
Works with any `Git`: a private directory or the repository's own store.
"""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass

from architect_parallel.domain import Diff, FileChange
from architect_parallel.system.git import Git

GITLINK_MODE = "160000"

_PLAIN = ("--no-ext-diff", "--no-textconv", "--ignore-submodules=none", "--no-commit-id", "-r")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One changed path with its modes, six octal digits. `000000` means that the file is missing."""

    file: FileChange
    old_mode: str
    new_mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePatch:
    """One changed path and its part of the patch."""

    change: Change
    patch: bytes
    """The patch from its `diff --git` line on. Empty if git's output could not be split."""


def parse_changes(output: bytes) -> tuple[Change, ...]:
    """Read `git diff-tree -r -z --raw --numstat` (first all raw records, then all counts), sorted by path.

    Format: https://git-scm.com/docs/git-diff-tree, "Raw output format" and "Other diff formats" with `-z`.

    Raises:
        ValueError: The output has another format.
    """
    return tuple(sorted(_in_order(output), key=lambda change: os.fsencode(change.file.path)))


def _in_order(output: bytes) -> list[Change]:
    fields = iter([os.fsdecode(part) for part in output.split(b"\0")][:-1])
    changes: dict[str, Change] = {}
    for head in fields:
        try:
            if head.startswith(":"):
                old_mode, new_mode, _, _, letter = head[1:].split(" ")
                first = next(fields)
                path, old_path = (next(fields), first) if letter[0] in "RC" else (first, None)
                file = FileChange(path=path, status=letter[0], old_path=old_path)
                changes[path] = Change(file=file, old_mode=old_mode, new_mode=new_mode)
            else:
                insertions, deletions, path = head.split("\t", 2)
                if not path:
                    _, path = next(fields), next(fields)
                change = changes[path]
                counted = dataclasses.replace(change.file, insertions=_count(insertions), deletions=_count(deletions))
                changes[path] = dataclasses.replace(change, file=counted)
        except (StopIteration, KeyError, ValueError) as error:
            raise ValueError(f"not the output of diff-tree --raw --numstat -z: {head[:80]!r}") from error
    return list(changes.values())


def _count(text: str) -> int | None:
    return None if text == "-" else int(text)


def changes(git: Git, base: str, head: str) -> tuple[Change, ...]:
    """The changes from `base` to `head` (commits or trees), renames detected, sorted by path.

    If a blob is missing (partial clone), only renames and counts are left out.

    Raises:
        GitError: One of the two cannot be read.
    """
    output = git.run("diff-tree", *_PLAIN, "-z", "-M", "--raw", "--numstat", base, head, "--", check=False)
    if output.code != 0:
        output = git.run("diff-tree", *_PLAIN, "-z", "--raw", base, head, "--")
    return parse_changes(output.stdout)


def diff_of(base: str, head: str, changed: tuple[Change, ...]) -> Diff:
    """The changes as the domain's `Diff`."""
    return Diff(
        base=base,
        head=head,
        files=tuple(change.file for change in changed),
        insertions=sum(change.file.insertions or 0 for change in changed),
        deletions=sum(change.file.deletions or 0 for change in changed),
    )


def diff(git: Git, base: str, head: str) -> Diff:
    """The changes from commit `base` to commit `head`. Raises like `changes`."""
    return diff_of(base, head, changes(git, base, head))


def patch(git: Git, base: str, head: str, *, binary: bool = False, color: bool = False) -> bytes:
    """The changes as a patch. With `binary`, `git apply` can apply it to any file.

    Raises:
        GitError: One of the two cannot be read.
    """
    extent = ("--binary", "--full-index") if binary else ()
    return git.run("diff-tree", *_PLAIN, *_colors(color), "-M", "-p", *extent, base, head, "--").stdout


def stat(git: Git, base: str, head: str, *, width: int, color: bool) -> bytes:
    """The changed files with their line counts and a total, as `git diff --stat` shows them in `width` columns.

    Raises:
        GitError: One of the two cannot be read.
    """
    return git.run("diff-tree", *_PLAIN, *_colors(color), "-M", f"--stat={width}", base, head, "--").stdout


def _colors(color: bool) -> tuple[str, ...]:
    return ("--color=always",) if color else ("--no-color",)


def file_patches(git: Git, base: str, head: str) -> tuple[FilePatch, ...]:
    """The changes from `base` to `head`, each with its part of the patch, sorted by path. One git process.

    Raises:
        GitError: One of the two cannot be read.
    """
    output = git.run("diff-tree", *_PLAIN, "-z", "-M", "--raw", "--numstat", "-p", base, head, "--").stdout
    return parse_file_patches(output)


def parse_file_patches(output: bytes) -> tuple[FilePatch, ...]:
    """Read `git diff-tree -r -z --raw --numstat -p`: after the counts an empty field, then the patches in raw's order.

    Only lines in the head of a file begin with a letter, so no content of a file looks like a head.

    Raises:
        ValueError: The output has another format.
    """
    end = output.find(b"\0\0diff --git ")
    ordered = _in_order(output if end < 0 else output[: end + 1])
    texts = re.split(rb"(?m)^(?=diff --git )", output[end + 2 :])[1:] if end >= 0 else []
    # A change of type (file to symlink) has two patches: a deletion and an addition.
    needed = [2 if change.file.status == "T" else 1 for change in ordered]
    if sum(needed) != len(texts):
        texts, needed = [], [0] * len(ordered)
    rest = iter(texts)
    paired = [
        FilePatch(change=change, patch=b"".join(next(rest) for _ in range(count)))
        for change, count in zip(ordered, needed, strict=True)
    ]
    return tuple(sorted(paired, key=lambda file_patch: os.fsencode(file_patch.change.file.path)))
