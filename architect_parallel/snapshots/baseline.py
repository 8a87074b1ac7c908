"""What is true of a worktree before an agent runs in it, read once: afterwards the agent may have written it."""

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
"""Copied from the repository's configuration: they decide how bytes on disk become blobs, and name no program."""

OWN_IDENTITY = ("architect-parallel", "architect-parallel@localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who commits: the user as configured, or this tool where nothing is configured."""

    author_name: str
    author_email: str
    committer_name: str
    committer_email: str

    @property
    def environment(self) -> dict[str, str]:
        """As git's variables. The user's own `GIT_AUTHOR_*`/`GIT_COMMITTER_*` are already in these fields."""
        return {
            "GIT_AUTHOR_NAME": self.author_name,
            "GIT_AUTHOR_EMAIL": self.author_email,
            "GIT_COMMITTER_NAME": self.committer_name,
            "GIT_COMMITTER_EMAIL": self.committer_email,
        }


OWN = Identity(
    author_name=OWN_IDENTITY[0], author_email=OWN_IDENTITY[1],
    committer_name=OWN_IDENTITY[0], committer_email=OWN_IDENTITY[1],
)  # fmt: skip
"""Who makes commits that only keep something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was true of the worktree before the agent ran; plain data, kept in `facts.json`."""

    worktree: str
    admin_dir: str
    """git's directory of the worktree (`<common>/worktrees/<name>`); the git directory itself in a main checkout."""
    common_dir: str
    base_commit: str
    """HEAD of the worktree then."""
    settings: Mapping[str, str]
    """Name in lower case → value, of `HARMLESS_SETTINGS` only."""
    excludes: str
    """Content of `info/exclude`; bytes as surrogate escapes."""
    user_excludes: str
    """Content of the file `core.excludesFile` names."""
    attributes: str
    user_attributes: str
    filters: Filters
    """Filter drivers the user configured (git-lfs, say)."""
    partial: bool
    """The repository is a partial clone: objects may be absent."""
    identity: Identity
    index_stamp: tuple[int, int]
    """Size and mtime in ns of the worktree's index then."""
    refs: Mapping[str, str]
    """The refs workers have no business with, and the commits they stood at; see `traces`."""
    stashes: tuple[str, ...]
    """Commits of the stash list."""
    surroundings: Mapping[str, str]
    """Digests of the repository's settings and hooks."""
    made_at_ns: int = 0
    """When this was read, before the first agent ran; files that changed later are perhaps the agent's."""
    has_filtered: bool = False
    """Whether attributes mention a filter, and a driver is configured."""
    filtered: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Path → blob and SHA-256 of the content on disk, of small files that a filter wrote and nobody has changed."""
    sealed_ns: int = 0
    """When the index was copied; a file that looks as in the index and is older has not changed since."""


def observe(repository: Repository, worktree: Path, admin_dir: Path) -> Facts:
    """Reads what counts while nobody has tampered with it."""
    here = Git(cwd=worktree)
    output = here.run("config", "--list", "-z")
    lines = (line.partition("\n") for line in output.fields)
    pairs = [(name, value if separator else "true") for name, separator, value in lines]
    settings = dict(pairs)
    refs = side_effects.read_refs(repository)
    branch = head_branch(admin_dir)
    base = (refs.oids.get(f"refs/heads/{branch}") if branch else None) or here.resolve("HEAD")
    if base is None:
        raise EnvironmentProblem(f"{worktree} has no commit", hint="git commit --allow-empty")
    found = (admin_dir / "index").lstat() if (admin_dir / "index").exists() else None
    home = Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")) / "git"
    excludes_file = settings.get("core.excludesfile", os.fspath(home / "ignore"))
    attributes_file = settings.get("core.attributesfile", os.fspath(home / "attributes"))
    return Facts(
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
        index_stamp=(found.st_size, found.st_mtime_ns) if found else (0, 0),
        refs=side_effects.watched(refs),
        stashes=tuple(stash.oid for stash in side_effects.stashes(repository)),
        surroundings=side_effects.surroundings(repository),
        made_at_ns=time.time_ns(),
    )


def _system_attributes() -> str:
    """Where git looks for them unless it was built otherwise; `git var GIT_ATTR_SYSTEM` came with 2.41."""
    return "" if os.environ.get("GIT_ATTR_NOSYSTEM") else _content(Path("/etc/gitattributes"))


def _content(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes())
    except OSError:
        return ""


def identity_of(settings: Mapping[str, str]) -> Identity:
    """Who would commit here.

    Args:
        settings: Of git, name in lower case → value.
    """

    def of(role: str) -> tuple[str, str]:
        found = tuple(
            os.environ.get(f"GIT_{role.upper()}_{part.upper()}")
            or settings.get(f"{role}.{part}")
            or settings.get(f"user.{part}")
            or ""
            for part in ("name", "email")
        )
        return (found[0], found[1]) if all(found) else OWN_IDENTITY

    (author_name, author_email), (committer_name, committer_email) = of("author"), of("committer")
    return Identity(
        author_name=author_name,
        author_email=author_email,
        committer_name=committer_name,
        committer_email=committer_email,
    )


def is_real_directory(path: Path) -> bool:
    """Whether `path` is a directory itself, not a link to one (which an agent may have put in its worktree's place)."""
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
