"""The files of a private git directory, written again before each use."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from architect_parallel.snapshots.baseline import HARMLESS_SETTINGS, WorktreeFacts
from architect_parallel.system.git_settings import config_text

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
    if path.is_symlink():
        path.unlink()
    path.write_bytes(os.fsencode(text))
