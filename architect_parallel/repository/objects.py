"""Bring objects of another object directory into a repository. Git checks each by its content."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from architect_parallel.repository.git_dir_files import OBJECT_ID, read_regular_file
from architect_parallel.system.files import names, replace_file
from architect_parallel.system.git import Git, Repository
from architect_parallel.system.git_command import copy_objects

UNPACK_LIMIT = 100
"""Up to this many objects are written one by one, more as one pack. The same number as git's `fetch.unpackLimit`."""
_EMPTY_TREES = frozenset(
    {
        "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
    }
)
"""Ids of the tree without entries, with SHA-1 and with SHA-256."""


def bring_objects(repository: Repository, objects: Path) -> None:
    """Copy every object of another object directory into the common one. Git checks each by its content.

    Objects that the other directory borrows, and those that the common store already has, are left out.

    Raises:
        GitError: An object is damaged, or the common store cannot be written.
    """
    listed = _own_objects(repository, objects)
    if not listed:
        return
    source = Git(cwd=repository.common_dir, git_dir=repository.common_dir, object_directory=objects)
    command = ("cat-file", "--batch-check=%(objectname)", "--buffer")
    known = repository.store.run(*command, input="\n".join(listed).encode(), check=False)
    missing = [line.partition(" ")[0] for line in known.text.split("\n") if line.endswith(" missing")]
    missing += [oid for oid in listed if oid in _EMPTY_TREES]  # git says it knows this one where no store has it
    if known.code != 0:  # a partial clone cannot say what is missing without fetching it
        missing = listed
    promised = _promised(repository, objects)
    for promisor in (False, True):
        oids = [oid for oid in missing if (oid in promised) == promisor]
        if not oids:
            continue
        if len(oids) <= UNPACK_LIMIT and not promisor:
            receive: tuple[str, ...] = ("unpack-objects", "-q")
        else:
            receive = ("index-pack", "--stdin", "--fsck-objects", *(("--promisor",) if promisor else ()))
        copy_objects(source, oids, repository.store, *receive)


def bring_reachable_objects(source: Git, tips: Iterable[str], known: Iterable[str], destination: Path) -> None:
    """Copy the objects that `tips` reach and `known` do not into the git directory `destination`.

    Args:
        known: Objects of the destination. Those that `source` does not see are ignored.

    Raises:
        GitError: An object is missing or damaged, or the destination cannot be written.
    """
    lines = "".join(f"{oid}\n" for oid in known).encode()
    listed = source.run("cat-file", "--batch-check=%(objectname)", input=lines).text.splitlines()
    visible = [line for line in listed if " " not in line]  # another line is `<name> missing`
    target = Git(cwd=destination, git_dir=destination, no_user_config=True)
    copy_objects(source, [*tips, "--not", *visible], target, "index-pack", "--stdin", reachable=True)


def _own_objects(repository: Repository, objects: Path) -> list[str]:
    """Ids of the objects in the directory itself, without those that it borrows."""
    oids = []
    for folder in names(objects):
        if re.fullmatch("[0-9a-f]{2}", folder):
            oids += [oid for name in names(objects / folder) if OBJECT_ID.fullmatch(oid := folder + name)]
    for name in names(objects / "pack"):
        if name.endswith(".idx"):
            oids += _packed(repository, objects / "pack" / name)
    return oids


def _packed(repository: Repository, index: Path) -> list[str]:
    """Ids of the objects in a pack, read from its index."""
    output = repository.store.run("show-index", input=read_regular_file(index, largest=None), check=False)
    lines = (line.split() for line in output.text.split("\n"))
    return [fields[1] for fields in lines if len(fields) > 1 and OBJECT_ID.fullmatch(fields[1])]


def _promised(repository: Repository, objects: Path) -> frozenset[str]:
    """Objects that came from a promisor remote, which may lack what they name."""
    packs = [name for name in names(objects / "pack") if name.endswith(".promisor")]
    indexes = [objects / "pack" / f"{name.removesuffix('.promisor')}.idx" for name in packs]
    return frozenset(oid for index in indexes for oid in _packed(repository, index))


def bring_shallow(repository: Repository, directory: Path) -> None:
    """Add the commits at which a shallow fetch of the agent ended history, if their parents are missing here."""
    common = repository.common_dir / "shallow"
    known = read_regular_file(common).split()
    new = [
        line
        for line in read_regular_file(directory / "shallow").split()
        if line not in known and OBJECT_ID.fullmatch(line.decode("ascii", "replace"))
    ]
    cut_off = []
    for line in new:
        commit = repository.store.run("cat-file", "commit", line.decode(), check=False)
        parents = [
            head.split()[1].decode()
            for head in commit.stdout.split(b"\n\n")[0].split(b"\n")
            if head.startswith(b"parent ")
        ]
        if commit.code == 0 and not all(repository.store.ok("cat-file", "-e", parent) for parent in parents):
            cut_off.append(line)
    if cut_off:
        replace_file(common, b"".join(line + b"\n" for line in (*known, *cut_off)))
