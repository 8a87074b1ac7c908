"""Commits of a run on their way to another clone: git bundles out, and back in through a quarantine.

Writing: a bundle is made in a throw-away repository that borrows the objects and has just the refs wanted, so that no
ref of the user's is needed, moved or told. Reading: nothing in a bundle is believed. Its header is parsed here (a file
is never handed to git as a repository's name), its refs are held against those expected, the pack is unpacked into a
throw-away repository and checked object by object there; only when every bundle of the import has passed do objects
reach the user's store, and only after that refs, in one transaction. Whatever fails before leaves no trace.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.repository.ownership import creation_message, owner_ref
from architect_parallel.repository.temporary_repository import temporary_repository
from architect_parallel.system.git import Git, GitError, Repository

HEADER_BYTES = 65_536
"""Longer than the header of any bundle with a few refs."""
_SIGNATURE = re.compile(rb"# v[23] git bundle")
_PREREQUISITE = re.compile(rb"-([0-9a-f]{40,64})(?: .*)?")
_REF = re.compile(rb"([0-9a-f]{40,64}) (refs/[!-~]{1,200})")


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleContent:
    """What one bundle is to hold."""

    file: Path
    refs: Mapping[str, str]
    """Full ref name → commit."""
    without: Sequence[str]
    """Commits that the receiver has, with all before them."""


def write_bundles(repository: Repository, parcels: Sequence[BundleContent]) -> None:
    """Writes each parcel that brings any commit; the files of those that bring none are not made.

    Raises:
        GitError: A commit is gone, or the file cannot be written.
    """
    with temporary_repository(repository) as git:
        for parcel in parcels:
            excluded = [f"^{commit}" for commit in parcel.without]
            bringing = {
                ref: commit
                for ref, commit in parcel.refs.items()
                if git.text("rev-list", "--max-count=1", commit, *excluded)
            }
            if not bringing:
                continue
            for ref, commit in bringing.items():
                git.run("update-ref", ref, commit)
            git.run("bundle", "create", "--quiet", parcel.file, *bringing, *excluded)
            for ref in bringing:
                git.run("update-ref", "-d", ref)


def is_published(repository: Repository, commit: str) -> bool:
    """Whether another clone may have the commit: a branch that is not a worker's, a remote's, a tag or HEAD has it."""
    head = repository.git.resolve("HEAD^{commit}")
    if head is not None and repository.store.ok("merge-base", "--is-ancestor", commit, head):
        return True
    listed = repository.store.text(
        "for-each-ref", f"--contains={commit}", "--format=%(refname)", "refs/heads", "refs/remotes", "refs/tags"
    )  # fmt: skip
    return any(not ref.startswith("refs/heads/architect/") for ref in listed.splitlines())


@dataclass(frozen=True, slots=True)
class Header:
    """What a bundle says of itself."""

    refs: Mapping[str, str]
    prerequisites: tuple[str, ...]


def read_header(file: Path) -> Header:
    """The refs and prerequisites of a bundle.

    Raises:
        UsageError: It is no regular file or no bundle, or it names what no bundle of ours does.
    """
    try:
        if file.is_symlink() or not file.is_file():
            raise UsageError(f"{file} is not a regular file")
        with file.open("rb") as stream:
            data = stream.read(HEADER_BYTES)
    except OSError as error:
        raise EnvironmentProblem(f"{file} cannot be read: {error.strerror}") from error
    head, end, _ = data.partition(b"\n\n")
    signature, *lines = head.split(b"\n")
    if not end or not _SIGNATURE.fullmatch(signature):
        raise UsageError(f"{file} is not a git bundle", hint="download the artifact again")
    refs, prerequisites = {}, []
    for line in lines:
        if line.startswith(b"@object-format="):
            continue
        if found := _PREREQUISITE.fullmatch(line):
            prerequisites.append(found[1].decode())
        elif found := _REF.fullmatch(line):
            refs[found[2].decode()] = found[1].decode()
        else:
            raise UsageError(f"{file} has a line in its header that is none of ours: {line[:60]!r}")
    return Header(refs=refs, prerequisites=tuple(prerequisites))


@dataclass(slots=True)
class Quarantine:
    """Bundles that were unpacked and checked, in a throw-away repository in front of the user's."""

    repository: Repository
    git: Git
    """Sees the user's objects and the incoming ones."""
    folder: Path
    _taken: list[Path] = field(default_factory=list)

    def take_in(self, file: Path, header: Header) -> None:
        """Unpacks and checks one bundle.

        Raises:
            EnvironmentProblem: Commits that it builds upon are not in the repository.
            UsageError: It is truncated or damaged, or holds objects that git would not take.
        """
        for commit in header.prerequisites:
            if self.repository.store.resolve(f"{commit}^{{commit}}") is None:
                raise EnvironmentProblem(
                    f"{file.name} builds on commit {commit[:12]}, which is not in this repository",
                    hint="git fetch, or import into a clone that has it",
                )
        copy = self.folder / f"{len(self._taken)}.bundle"  # nobody changes it between the check and the taking
        shutil.copyfile(file, copy)
        if read_header(copy) != header:
            raise UsageError(f"{file} changes while it is read", hint="try again")
        packs = set(self._packs())
        try:
            for commit in header.prerequisites:
                self.git.run("update-ref", f"refs/incoming/{commit}", commit)
            self.git.run("bundle", "verify", "--quiet", copy)
            self.git.run("bundle", "unbundle", copy)
            for pack in self._packs():
                if pack not in packs:
                    self.git.run("index-pack", "--strict", "-o", self.folder / "check.idx", pack)
                    (self.folder / "check.idx").unlink()
            wanted = sorted(set(header.refs.values()))
            known = [f"^{commit}" for commit in header.prerequisites]
            self.git.run("rev-list", "--objects", "--quiet", *wanted, *known)
            for commit in wanted:
                if self.git.text("cat-file", "-t", commit) != "commit":
                    raise UsageError(f"{file} has a ref that is no commit")
        except GitError as error:
            said = " ".join(error.stderr.split())[:200]
            raise UsageError(f"{file} is truncated or damaged: {said}", hint="download the artifact again") from error
        self._taken.append(copy)

    def publish(self) -> None:
        """Brings all that was taken in into the user's object store; no ref names it yet.

        Raises:
            GitError: It cannot be written.
        """
        for copy in self._taken:
            self.repository.store.run("bundle", "unbundle", copy)

    def _packs(self) -> list[Path]:
        return list((self.git.cwd / "objects" / "pack").glob("*.pack"))


@contextlib.contextmanager
def quarantine(repository: Repository) -> Iterator[Quarantine]:
    """A place to look at bundles in; gone afterwards."""
    with temporary_repository(repository) as git:
        yield Quarantine(repository, git, git.cwd)


def adopt(repository: Repository, run_id: str, branches: Mapping[str, str], kept: Mapping[str, str], lock: int) -> None:
    """Creates branches (short name → commit) as run `run_id`'s own, and refs that keep commits: all or none.

    Called under the registration lock, whose descriptor is `lock`.

    Raises:
        EnvironmentProblem: One of the names is taken, or the refs cannot be written; nothing was made.
    """
    lines = [f"create refs/heads/{name} {commit}" for name, commit in branches.items()]
    lines += [f"update {owner_ref(run_id, name)} {commit}" for name, commit in branches.items()]
    lines += [f"create {ref} {commit}" for ref, commit in kept.items()]
    _update(repository, run_id, lines, lock)


def give_back(
    repository: Repository, run_id: str, branches: Mapping[str, str], kept: Mapping[str, str], lock: int
) -> None:
    """Takes back what `adopt` made just now."""
    lines = [f"delete refs/heads/{name} {commit}" for name, commit in branches.items()]
    lines += [f"delete {owner_ref(run_id, name)}" for name in branches]
    lines += [f"delete {ref} {commit}" for ref, commit in kept.items()]
    _update(repository, run_id, lines, lock)


def _update(repository: Repository, run_id: str, lines: Sequence[str], lock: int) -> None:
    # The reflog is the proof of ownership, as for branches that a run makes here.
    words = ("update-ref", "--no-deref", "--create-reflog", "-m", creation_message(run_id), "--stdin")
    text = "".join(f"{line}\n" for line in lines).encode()
    output = repository.store.run(*words, input=text, check=False, holding=(lock,))
    if output.code != 0:
        said = " ".join(output.stderr.split())[:300]
        raise EnvironmentProblem(f"the branches cannot be made: {said}", hint="git branch --list 'architect/*'")
