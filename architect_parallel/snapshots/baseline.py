"""The facts about a worktree before an agent runs in it. Afterwards the agent may have changed them."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.repository import side_effects
from architect_parallel.repository.filters import Filters, configured
from architect_parallel.repository.heads import head_branch
from architect_parallel.system.git import Git, Repository

HARMLESS_SETTINGS = frozenset(
    {
        "core.autocrlf",
        "core.bigfilethreshold",
        "core.compression",
        "core.eol",
        "core.filemode",
        "core.ignorecase",
        "core.loosecompression",
        "core.precomposeunicode",
        "core.sharedrepository",
        "core.symlinks",
        "extensions.objectformat",
        "i18n.filesencoding",
    }
)
"""Settings of the repository that decide how bytes on disk become blobs, and that name no program."""

OWN_IDENTITY = ("architect-parallel", "architect-parallel@localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The author and committer of commits: the configured user, or this program if no user is configured."""

    author_name: str
    author_email: str
    committer_name: str
    committer_email: str

    @property
    def environment(self) -> dict[str, str]:
        """The identity as git's variables. The user's own `GIT_AUTHOR_*` and `GIT_COMMITTER_*` are in it already."""
        return {
            "GIT_AUTHOR_NAME": self.author_name,
            "GIT_AUTHOR_EMAIL": self.author_email,
            "GIT_COMMITTER_NAME": self.committer_name,
            "GIT_COMMITTER_EMAIL": self.committer_email,
        }


OWN = Identity(
    author_name=OWN_IDENTITY[0],
    author_email=OWN_IDENTITY[1],
    committer_name=OWN_IDENTITY[0],
    committer_email=OWN_IDENTITY[1],
)
"""The identity for commits that only keep something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorktreeFacts:
    """The state of the worktree before the agent ran, as plain data, stored in `facts.json`."""

    worktree: str
    admin_dir: str
    """git's directory of the worktree (`<common>/worktrees/<name>`). For a main checkout it is the git directory."""
    common_dir: str
    base_commit: str
    """The commit of the worktree's HEAD."""
    settings: Mapping[str, str]
    """Name in lower case → value. Only `HARMLESS_SETTINGS`."""
    excludes: str
    """Content of `info/exclude`, with undecodable bytes as surrogate escapes."""
    user_excludes: str
    """Content of the file that `core.excludesFile` names."""
    attributes: str
    user_attributes: str
    filters: Filters
    """Filter drivers the user configured (git-lfs, say)."""
    partial: bool
    """The repository is a partial clone: objects may be absent."""
    identity: Identity
    index_stamp: tuple[int, int]
    """Size in bytes and mtime in ns of the worktree's index."""
    refs: Mapping[str, str]
    """The refs that no worker should change, with their commits. See `side_effects`."""
    stashes: tuple[str, ...]
    """Commits of the stash list."""
    surroundings: Mapping[str, str]
    """Digests of the repository's settings and hooks."""
    made_at_ns: int = 0
    """Time of reading, before the first agent ran. A file that changed later may be the agent's."""
    has_filtered: bool = False
    """True if attributes mention a filter, and a driver is configured."""
    filtered: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Path → blob and SHA-256 of the content on disk, of small unchanged files that a filter wrote."""
    sealed_ns: int = 0
    """Time of the copy of the index. A file that agrees with the index and is older has not changed since."""


def observe(repository: Repository, worktree: Path, admin_dir: Path) -> WorktreeFacts:
    """Read the facts, before any agent can change them."""
    git = Git(cwd=worktree)
    output = git.run("config", "--list", "-z")
    lines = (line.partition("\n") for line in output.fields)
    pairs = [(name, value if separator else "true") for name, separator, value in lines]
    settings = dict(pairs)
    refs = side_effects.read_refs(repository)
    branch = head_branch(admin_dir)
    base = (refs.oids.get(f"refs/heads/{branch}") if branch else None) or git.resolve("HEAD")
    if base is None:
        raise EnvironmentProblem(f"{worktree} has no commit", hint="git commit --allow-empty")
    index = (admin_dir / "index").lstat() if (admin_dir / "index").exists() else None
    home = Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")) / "git"
    excludes_file = settings.get("core.excludesfile", os.fspath(home / "ignore"))
    attributes_file = settings.get("core.attributesfile", os.fspath(home / "attributes"))
    return WorktreeFacts(
        worktree=os.fspath(worktree),
        admin_dir=os.fspath(admin_dir),
        common_dir=os.fspath(repository.common_dir),
        base_commit=base,
        settings={name: value for name, value in settings.items() if name in HARMLESS_SETTINGS},
        excludes=_content(repository.common_dir / "info" / "exclude"),
        user_excludes=_content(worktree / os.path.expanduser(excludes_file)) if excludes_file else "",
        attributes=_content(repository.common_dir / "info" / "attributes"),
        user_attributes=_system_attributes()
        + (_content(worktree / os.path.expanduser(attributes_file)) if attributes_file else ""),
        filters=configured(pairs),
        partial="extensions.partialclone" in settings
        or any(name.startswith("remote.") and name.endswith(".promisor") for name in settings),
        identity=identity_of(settings),
        index_stamp=(index.st_size, index.st_mtime_ns) if index else (0, 0),
        refs=side_effects.watched(refs),
        stashes=tuple(stash.oid for stash in side_effects.stashes(repository)),
        surroundings=side_effects.surroundings(repository),
        made_at_ns=time.time_ns(),
    )


def _system_attributes() -> str:
    """The system's attributes, from git's usual path: `git var GIT_ATTR_SYSTEM` came with 2.41."""
    return "" if os.environ.get("GIT_ATTR_NOSYSTEM") else _content(Path("/etc/gitattributes"))


def _content(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes())
    except OSError:
        return ""


def identity_of(settings: Mapping[str, str]) -> Identity:
    """The identity with which git would commit.

    Args:
        settings: git's settings, as name in lower case → value.
    """

    def of(role: str) -> tuple[str, str]:
        name_and_email = tuple(
            os.environ.get(f"GIT_{role.upper()}_{part.upper()}")
            or settings.get(f"{role}.{part}")
            or settings.get(f"user.{part}")
            or ""
            for part in ("name", "email")
        )
        return (name_and_email[0], name_and_email[1]) if all(name_and_email) else OWN_IDENTITY

    (author_name, author_email), (committer_name, committer_email) = of("author"), of("committer")
    return Identity(
        author_name=author_name,
        author_email=author_email,
        committer_name=committer_name,
        committer_email=committer_email,
    )


def is_real_directory(path: Path) -> bool:
    """Return whether `path` is a directory and no link, which an agent may have put in a worktree's place."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def git_dir_of(worktree: Path) -> Path:
    """git's own directory of a worktree, read from its `.git` without running git.

    Raises:
        EnvironmentProblem: `worktree` has no usable `.git`.
    """
    link = worktree / ".git"
    if is_real_directory(link):
        return link
    try:
        text = os.fsdecode(link.read_bytes())
    except OSError as error:
        raise EnvironmentProblem(f"{worktree} is not the top of a git checkout") from error
    if not text.startswith("gitdir: "):
        raise EnvironmentProblem(f"{link} does not name a git directory")
    return Path(os.path.normpath(worktree / text.removeprefix("gitdir: ").removesuffix("\n")))
