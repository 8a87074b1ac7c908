"""The objects of launchers' repositories on a host: one mirror for each, and a bare repository for each run.

A mirror has no refs but the base commits that it got, and no name of the launcher's. A run's repository borrows the
mirror's objects and has no remote, no hook and no setting that names a program. So agents of different runs share
nothing they can write, and a run is removed as one directory.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.errors import UsageError
from architect_parallel.hosts.wire import GitFacts
from architect_parallel.repository.temporary_repository import alternate_of
from architect_parallel.system.git import Git, Repository

BASE = "refs/architect/base"
CHUNK_BYTES = 4 << 20
_OBJECT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SETTING = re.compile(r"([a-z]+)\.([a-z]+)")


@dataclass(frozen=True, slots=True)
class Mirror:
    """The objects of one launcher's repository, below the host's root."""

    folder: Path

    @property
    def repository(self) -> Repository:
        path = self.folder / "mirror.git"
        return Repository(root=path, checkout=None, common_dir=path, bare=True)

    def bases(self) -> list[str]:
        """The base commits that it has."""
        if not (self.folder / "mirror.git").is_dir():
            return []
        listed = self.repository.store.text("for-each-ref", "--format=%(objectname)", BASE)
        return listed.split()

    def take(self, base: str, object_format: str, offset: int, data: bytes, total: int, digest: str) -> int:
        """Take a part of the bundle that brings the commit `base`. An empty bundle means that nothing is missing.

        Args:
            offset: Where the part begins. A part that does not continue what is here is ignored.
            total: Size of the bundle in bytes.
            digest: SHA-256 of the bundle, in hexadecimal digits.

        Returns:
            The size of what is here: the next part begins there.

        Raises:
            UsageError: The bundle is complete and not as its digest says. It is removed.
            GitError: It does not bring the commit.
        """
        if not _OBJECT_ID.fullmatch(base) or not _OBJECT_ID.fullmatch(digest):
            raise UsageError(f"{base!r} is no commit, or {digest!r} no digest")
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "mirror.git").is_dir():
            _make_bare(self.folder / "mirror.git", object_format, GitFacts(object_format=object_format), None)
        file = self.folder / f"{base}-{digest}.incoming"
        with file.open("ab") as stream:
            if stream.tell() == offset:
                stream.write(data)
            size = stream.tell()
        if size < total:
            return size
        if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            file.unlink()
            raise UsageError("the base did not arrive as it was sent", hint="try again")
        store = self.repository.store
        if total:
            store.run("bundle", "unbundle", file)
        store.run("rev-parse", "--verify", "--quiet", f"{base}^{{commit}}")
        store.run("update-ref", f"{BASE}/{base}", base)
        file.unlink()
        return size

    def run_repository(self, folder: Path, git: GitFacts) -> Repository:
        """The repository of a run in `folder`, which is made at the first call."""
        path = folder / "repo.git"
        if not path.is_dir():
            _make_bare(path, git.object_format, git, self.repository)
        return Repository(root=folder, checkout=None, common_dir=path, bare=True)


def _make_bare(path: Path, object_format: str, git: GitFacts, lender: Repository | None) -> None:
    """Make a bare repository. It appears whole or not at all."""
    if not re.fullmatch(r"sha1|sha256", object_format):
        raise UsageError(f"{object_format!r} is no object format")
    unfinished = path.with_name(f".{path.name}.unfinished")
    for directory in ("refs/heads", "objects/info", "objects/pack", "info"):
        (unfinished / directory).mkdir(parents=True, exist_ok=True)
    (unfinished / "HEAD").write_text("ref: refs/heads/none\n")
    version = 0 if object_format == "sha1" else 1
    lines = f"[core]\n\trepositoryformatversion = {version}\n\tbare = true\n\tlogAllRefUpdates = always\n"
    lines += "" if object_format == "sha1" else f"[extensions]\n\tobjectFormat = {object_format}\n"
    (unfinished / "config").write_text(lines + "[gc]\n\tauto = 0\n")
    if lender is not None:
        (unfinished / "objects" / "info" / "alternates").write_bytes(alternate_of(lender))
    (unfinished / "info" / "exclude").write_bytes(git.exclude.encode("utf-8", "surrogateescape"))
    (unfinished / "info" / "attributes").write_bytes(git.attributes.encode("utf-8", "surrogateescape"))
    writer = Git(cwd=unfinished, git_dir=unfinished)
    named = {"user.name": git.author_name, "user.email": git.author_email}
    for name, value in ({**git.settings} | {name: value for name, value in named.items() if value}).items():
        if _SETTING.fullmatch(name) and not name.startswith("extensions."):
            writer.run("config", "--file", unfinished / "config", name, value)
    unfinished.rename(path)
