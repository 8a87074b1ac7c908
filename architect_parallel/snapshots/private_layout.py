"""The files of a private git directory, written again before each use."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from pathlib import Path

from architect_parallel.snapshots.baseline import HARMLESS_SETTINGS, WorktreeFacts
from architect_parallel.system.files import make_private_dir
from architect_parallel.system.git import Git
from architect_parallel.system.git_settings import config_text
from architect_parallel.system.own_files import is_intact, seal, write_own

FACTS = "facts.json"
LEFT_OUT = "left-out.json"
_OWN_ENTRIES = frozenset({FACTS, LEFT_OUT, "HEAD", "config", "index", "info", "refs"})


def write_private_files(directory: Path, facts: WorktreeFacts) -> None:
    """Write every file except the facts and the index again, and remove all other entries."""
    for entry in os.scandir(directory):
        if entry.name not in _OWN_ENTRIES:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
    info = directory / "info"
    for part in (info, directory / "refs"):
        if part.is_symlink():
            part.unlink()
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700)
    with contextlib.suppress(
        FileNotFoundError
    ):  # without it, git reports the commits below a shallow clone's end as missing
        shutil.copyfile(Path(facts.common_dir) / "shallow", directory / "shallow")
    _write(directory / "HEAD", "ref: refs/heads/private\n")
    _write(directory / "config", _configuration(directory, facts))
    _write(info / "exclude", facts.excludes)
    _write(info / "attributes", facts.attributes)
    _write(info / "user-exclude", facts.user_excludes)
    _write(info / "user-attributes", facts.user_attributes)


def _configuration(directory: Path, facts: WorktreeFacts) -> str:
    settings = {name: value for name, value in facts.settings.items() if name in HARMLESS_SETTINGS}
    settings |= {
        # git respects extensions from version 1 on.
        "core.repositoryformatversion": "1",
        "core.bare": "false",
        "core.excludesfile": os.fspath(directory / "info" / "user-exclude"),
        "core.attributesfile": os.fspath(directory / "info" / "user-attributes"),
        "core.safecrlf": "false",
        "core.splitindex": "false",
        "core.logallrefupdates": "false",
        "index.sparse": "false",
        "advice.addembeddedrepo": "false",
        "advice.updatesparsepath": "false",
    }
    return config_text(sorted(settings.items()))


def _write(path: Path, text: str) -> None:
    write_own(path, os.fsencode(text))


def complete_directory(unfinished: Path, directory: Path, facts: WorktreeFacts) -> None:
    """Write the facts, let `unfinished` become `directory`, and seal what later calls read."""
    data = json.dumps(dataclasses.asdict(facts), ensure_ascii=True).encode()
    (unfinished / FACTS).write_bytes(data)
    index = (unfinished / "index").read_bytes()
    os.rename(unfinished, directory)
    seal(directory / FACTS, data)
    seal(directory / "index", index)


def unfinished_directory(directory: Path) -> Path:
    """An empty directory that becomes `directory` by a rename once it is complete. Remove what was there before."""
    unfinished = directory.with_name(f"{directory.name}.new")
    for path in (unfinished, directory):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)
    make_private_dir(unfinished)
    return unfinished


def copy_index(index: Path, target: Path, git: Git, base_commit: str) -> tuple[str, ...]:
    """Copy the private index. One that another program changed is made anew from the base commit.

    Args:
        git: Git with `target` as its index.

    Returns:
        The warnings.
    """
    with contextlib.suppress(OSError):
        if is_intact(index):
            shutil.copy2(index, target)
            return ()
    git.run("read-tree", base_commit)
    return (f"{index} was changed while it ran: every file was read again",)
