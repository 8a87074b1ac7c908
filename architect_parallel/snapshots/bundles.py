"""Move commits of a run to another clone: write git bundles, and read them through a quarantine.

Writing: a bundle is made in a temporary repository that borrows the objects and has only the refs of the bundle. So no
ref of the user's is needed, moved or published.

Reading: nothing in a bundle is taken on trust. Its header is parsed here, as a file is never passed to git as a
repository's name. Its refs are compared with the expected ones. The pack is unpacked into a temporary repository and
checked there object by object. Only when every bundle of the import has passed, objects reach the user's store, and
after that the refs, in one transaction. A failure before that leaves no trace.
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
MOST_UNPACKED_BYTES = 4 * 1024**3
"""The most that the objects of one import may take, unpacked."""
_SPARING = ("core.bigFileThreshold=1m",)
"""Larger objects are read in parts, so that none fills the memory."""
_SIGNATURE = re.compile(rb"# v[23] git bundle")
_PREREQUISITE = re.compile(rb"-([0-9a-f]{40,64})(?: .*)?")
_REF = re.compile(rb"([0-9a-f]{40,64}) (refs/[!-~]{1,200})")


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleContent:
    """The content of one bundle to write."""

    file: Path
    refs: Mapping[str, str]
    """Full ref name → commit."""
    without: Sequence[str]
    """Commits that the receiver has, with their ancestors."""


def write_bundles(repository: Repository, bundles: Sequence[BundleContent]) -> None:
    """Write a file for each bundle that has a commit new to the receiver.

    Raises:
        GitError: A commit is missing, or the file cannot be written.
    """
    with temporary_repository(repository) as git:
        for bundle in bundles:
            excluded = [f"^{commit}" for commit in bundle.without]
            new_refs = {
                ref: commit
                for ref, commit in bundle.refs.items()
                if git.text("rev-list", "--max-count=1", commit, *excluded)
            }
            if not new_refs:
                continue
            for ref, commit in new_refs.items():
                git.run("update-ref", ref, commit)
            git.run("bundle", "create", "--quiet", bundle.file, *new_refs, *excluded)
            for ref in new_refs:
                git.run("update-ref", "-d", ref)


def is_published(repository: Repository, commit: str) -> bool:
    """Return whether another clone may have the commit: HEAD, a tag, a remote's or another branch reaches it."""
    head = repository.git.resolve("HEAD^{commit}")
    if head is not None and repository.store.ok("merge-base", "--is-ancestor", commit, head):
        return True
    listed = repository.store.text(
        "for-each-ref", f"--contains={commit}", "--format=%(refname)", "refs/heads", "refs/remotes", "refs/tags"
    )
    return any(not ref.startswith("refs/heads/architect/") for ref in listed.splitlines())


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a bundle."""

    refs: Mapping[str, str]
    prerequisites: tuple[str, ...]


def read_header(file: Path) -> Header:
    """Read the refs and prerequisites of a bundle.

    Raises:
        UsageError: It is no regular file or no bundle, or its header has a line that this program never writes.
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
        if match := _PREREQUISITE.fullmatch(line):
            prerequisites.append(match[1].decode())
        elif match := _REF.fullmatch(line):
            refs[match[2].decode()] = match[1].decode()
        else:
            raise UsageError(f"{file} has a line in its header that is none of ours: {line[:60]!r}")
    return Header(refs=refs, prerequisites=tuple(prerequisites))


@dataclass(slots=True)
class Quarantine:
    """Unpacks and checks bundles in a temporary repository, before the user's repository gets them."""

    repository: Repository
    git: Git
    """Git with the user's objects and the incoming ones."""
    folder: Path
    _checked: list[Path] = field(default_factory=list)
    _unpacked_bytes: int = 0

    def take_in(self, file: Path, header: Header) -> None:
        """Unpack and check one bundle.

        Raises:
            EnvironmentProblem: The repository lacks commits that the bundle needs.
            UsageError: It is truncated or damaged, or has objects that git would refuse.
        """
        for commit in header.prerequisites:
            if self.repository.store.resolve(f"{commit}^{{commit}}") is None:
                raise EnvironmentProblem(
                    f"{file.name} builds on commit {commit[:12]}, which is not in this repository",
                    hint="git fetch, or import into a clone that has it",
                )
        copy = self.folder / f"{len(self._checked)}.bundle"  # a copy cannot change between the check and `publish`
        shutil.copyfile(file, copy)
        if read_header(copy) != header:
            raise UsageError(f"{file} changes while it is read", hint="try again")
        packs = set(self._packs())
        try:
            for commit in header.prerequisites:
                self.git.run("update-ref", f"refs/incoming/{commit}", commit)
            self.git.run("bundle", "verify", "--quiet", copy)
            self.git.run("bundle", "unbundle", copy, settings=_SPARING)
            for pack in self._packs():
                if pack not in packs:
                    self._require_bearable(file, pack)
                    self.git.run("index-pack", "--strict", "-o", self.folder / "check.idx", pack)
                    (self.folder / "check.idx").unlink()
            tips = sorted(set(header.refs.values()))
            known = [f"^{commit}" for commit in header.prerequisites]
            self.git.run("rev-list", "--objects", "--quiet", *tips, *known)
            named = "".join(f"{tip}\n" for tip in tips).encode()
            kinds = self.git.run("cat-file", "--batch-check=%(objecttype)", input=named).text.split("\n")
            if tips and set(kinds) != {"commit"}:
                raise UsageError(f"{file} has a ref that is no commit")
        except GitError as error:
            reason = " ".join(error.stderr.split())[:200]
            raise UsageError(f"{file} is truncated or damaged: {reason}", hint="download the artifact again") from error
        self._checked.append(copy)

    def publish(self) -> None:
        """Write the objects of all checked bundles to the user's object store. No ref names them yet.

        Raises:
            GitError: The objects cannot be written.
        """
        for copy in self._checked:
            self.repository.store.run("bundle", "unbundle", copy)

    def _require_bearable(self, file: Path, pack: Path) -> None:
        """Refuse a pack whose objects are too large unpacked: a small file may hold terabytes of zeros."""
        names = self.git.run("show-index", input=pack.with_suffix(".idx").read_bytes()).stdout.splitlines()
        listed = b"".join(line.split(b" ")[1] + b"\n" for line in names)
        sizes = self.git.run("cat-file", "--batch-check=%(objectsize)", input=listed).stdout.split()
        self._unpacked_bytes += sum(int(size) for size in sizes if size.isdigit())
        if self._unpacked_bytes > MOST_UNPACKED_BYTES:
            limit = f"{MOST_UNPACKED_BYTES // 2**20} MiB"
            raise UsageError(f"{file} is larger than {limit} unpacked", hint="ask whoever made it for fewer workers")

    def _packs(self) -> list[Path]:
        return list((self.git.cwd / "objects" / "pack").glob("*.pack"))


@contextlib.contextmanager
def quarantine(repository: Repository) -> Iterator[Quarantine]:
    """Yield a quarantine, and remove it at the end."""
    with temporary_repository(repository) as git:
        yield Quarantine(repository, git, git.cwd)


def adopt(repository: Repository, run_id: str, branches: Mapping[str, str], kept: Mapping[str, str], lock: int) -> None:
    """Create branches (short name → commit) as run `run_id`'s own, and keep refs: all or none.

    Called under the registration lock, whose descriptor is `lock`.

    Raises:
        EnvironmentProblem: One of the names is taken, or the refs cannot be written. Then nothing was created.
    """
    lines = [f"create refs/heads/{name} {commit}" for name, commit in branches.items()]
    lines += [f"update {owner_ref(run_id, name)} {commit}" for name, commit in branches.items()]
    lines += [f"create {ref} {commit}" for ref, commit in kept.items()]
    _update(repository, run_id, lines, lock)


def give_back(
    repository: Repository, run_id: str, branches: Mapping[str, str], kept: Mapping[str, str], lock: int
) -> None:
    """Delete the refs that `adopt` created."""
    lines = [f"delete refs/heads/{name} {commit}" for name, commit in branches.items()]
    lines += [f"delete {owner_ref(run_id, name)}" for name in branches]
    lines += [f"delete {ref} {commit}" for ref, commit in kept.items()]
    _update(repository, run_id, lines, lock)


def _update(repository: Repository, run_id: str, lines: Sequence[str], lock: int) -> None:
    # The reflog is the proof of ownership, as for branches that a run makes here.
    command = ("update-ref", "--no-deref", "--create-reflog", "-m", creation_message(run_id), "--stdin")
    text = "".join(f"{line}\n" for line in lines).encode()
    output = repository.store.run(*command, input=text, check=False, holding=(lock,))
    if output.code != 0:
        reason = " ".join(output.stderr.split())[:300]
        raise EnvironmentProblem(f"the branches cannot be made: {reason}", hint="git branch --list 'architect/*'")
