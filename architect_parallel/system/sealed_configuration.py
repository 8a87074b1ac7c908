"""A sealed copy of git's configuration, which git reads while an agent may write the real one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.system.files import make_private_dir, make_shared_dir, replace_file
from architect_parallel.system.git_settings import Setting, config_text

_MAX_AGE_S = 86400.0
"""Age in seconds from which a copy is removed."""
_WORKTREE_FILES = "extensions.worktreeconfig"
_NOT_LINKED = frozenset({"architect", "config", "config.worktree", "hooks", "user"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedConfiguration:
    """A copy of the configuration, for git to read in place of the real one."""

    common_dir: Path
    directory: Path
    repository: bytes
    """Content of the repository's configuration file."""
    user: bytes
    """The user's and the system's configuration in one file."""
    programs: frozenset[str]
    """Digests of the program entries that are used."""
    has_worktree_files: bool
    """True if worktrees have configuration files of their own (`extensions.worktreeConfig`)."""

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make git read the copy. A copy that was altered is restored first.

        Raises:
            EnvironmentProblem: The copy cannot be written.
        """
        try:
            self._restore()
        except OSError as error:
            raise not_writable(self.directory, error) from error
        return {
            "GIT_COMMON_DIR": os.fspath(self.directory),
            "GIT_CONFIG_GLOBAL": os.fspath(self.directory / "user"),
            "GIT_CONFIG_NOSYSTEM": "1",
        }

    def allows(self, setting: Setting) -> bool:
        """Return whether an entry of a worktree's own configuration file is used."""
        return not setting.is_program or setting.digest in self.programs

    def _restore(self) -> None:
        make_private_dir(self.directory)
        for name, content in (("config", self.repository), ("user", self.user)):
            path = self.directory / name
            if read_bytes_or_nothing(path) != content:
                replace_file(path, content, mode=0o600)
        owner = self.directory.stat()
        for name in os.listdir(self.common_dir):
            if name in _NOT_LINKED or name.endswith(".lock"):
                continue
            with contextlib.suppress(FileExistsError):
                os.symlink(self.common_dir / name, self.directory / name)
                if owner.st_uid != os.geteuid():  # root works on behalf of the repository's owner
                    os.lchown(self.directory / name, owner.st_uid, owner.st_gid)


def without_programs(common_dir: Path, settings: Sequence[Setting], directory: Path) -> SealedConfiguration:
    """The configuration of a repository that an agent may have written, without its own program entries.

    The program entries of the user's and the system's configuration are used.

    Args:
        settings: All entries, in git's order.
        directory: The directory for the copy. It must belong to the caller alone.
    """
    own = [setting for setting in settings if setting.scope == "local" and not setting.is_program]
    return SealedConfiguration(
        common_dir=common_dir,
        directory=directory,
        repository=_config_bytes(setting for setting in own if setting.key != _WORKTREE_FILES),
        user=_config_bytes(setting for setting in settings if setting.scope in ("system", "global")),
        programs=frozenset(),
        has_worktree_files=any(setting.key == _WORKTREE_FILES and setting.value != "false" for setting in own),
    )


def _config_bytes(settings: Iterable[Setting]) -> bytes:
    """The entries as a configuration file. What included files hold is listed already."""
    own = [
        setting for setting in settings if setting.key != "include.path" and not setting.key.startswith("includeif.")
    ]
    return os.fsencode(config_text((setting.key, setting.value) for setting in own))


def seal(common_dir: Path, copies: Path, settings: Sequence[Setting]) -> SealedConfiguration:
    """Write a copy with these settings below the directory `copies`.

    Raises:
        EnvironmentProblem: The copy cannot be written.
    """
    own = [*(setting for setting in settings if setting.scope == "local"), *_lfs_settings(common_dir, settings)]
    repository = _config_bytes(setting for setting in own if setting.key != _WORKTREE_FILES)
    user = _config_bytes(setting for setting in settings if setting.scope in ("system", "global"))
    programs = frozenset(setting.digest for setting in settings if setting.is_program)
    worktree_files = any(setting.key == _WORKTREE_FILES and setting.value != "false" for setting in own)
    facts = json.dumps({"programs": sorted(programs), "worktree_files": worktree_files}).encode()
    name = hashlib.sha256(b"\0".join((repository, user, facts))).hexdigest()[:32]
    directory = copies / name
    make_shared_dir(directory.parent)
    make_private_dir(directory)  # the user's own settings may hold credentials
    if read_bytes_or_nothing(directory / "facts.json") != facts:
        replace_file(directory / "facts.json", facts, mode=0o600)
    sealed = SealedConfiguration(
        common_dir=common_dir,
        directory=directory,
        repository=repository,
        user=user,
        programs=programs,
        has_worktree_files=worktree_files,
    )
    _ = sealed.environment  # writes the copy now: other processes read it
    return sealed


def _lfs_settings(common_dir: Path, settings: Sequence[Setting]) -> list[Setting]:
    """Settings that make git-lfs use the repository's own objects.

    Otherwise it looks in the directory of the copy, also for the objects of a remote that is a directory.
    """
    storages = (setting.value for setting in reversed(settings) if setting.key == "lfs.storage" and setting.value)
    storage = next(storages, "lfs")
    standalone = "lfs.customtransfer.lfs-standalone-file"
    needed = {
        f"{standalone}.path": "env",
        f"{standalone}.args": "-u GIT_COMMON_DIR git-lfs standalone-file",
        "lfs.storage": os.path.join(common_dir, storage),
    }
    given = {setting.key for setting in settings} - {"lfs.storage"}
    return [
        Setting(key=key, value=value, origin="", scope="local") for key, value in needed.items() if key not in given
    ]


def read_sealed(common_dir: Path, copies: Path, name: str) -> SealedConfiguration | None:
    """The copy that another process wrote. `None` means that it is missing or was altered."""
    directory = copies / os.path.basename(name)
    parts = [read_bytes_or_nothing(directory / name) for name in ("config", "user", "facts.json")]
    if not name or hashlib.sha256(b"\0".join(parts)).hexdigest()[:32] != name:
        return None
    facts = json.loads(parts[2])
    return SealedConfiguration(
        common_dir=common_dir,
        directory=directory,
        repository=parts[0],
        user=parts[1],
        programs=frozenset(facts["programs"]),
        has_worktree_files=facts["worktree_files"],
    )


def remove_old_copies(copies: Path) -> None:
    """Remove copies that are older than a day. A running git may still use a younger one."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(copies):
            if entry.stat(follow_symlinks=False).st_mtime < time.time() - _MAX_AGE_S:
                shutil.rmtree(entry.path, ignore_errors=True)


def read_bytes_or_nothing(path: Path) -> bytes:
    """The content of a file. One that cannot be read counts as empty."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def not_writable(path: Path, error: OSError) -> EnvironmentProblem:
    """The error for a directory that cannot be written."""
    return EnvironmentProblem(f"{path} cannot be written: {error.strerror}")
