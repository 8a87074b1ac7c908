"""A temporary repository that borrows the objects of the real one, to compute merges in.

Computed trees never reach the user's store. Only `HARMLESS_SETTINGS` and the attributes are copied, so git runs no
merge driver that an agent wrote into the repository's configuration. Built-in drivers (`merge=union`) name no program.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from architect_parallel.system.git import Git, Repository, make_state_dir

HARMLESS_SETTINGS = frozenset(
    {
        "diff.renamelimit",
        "diff.renames",
        "merge.directoryrenames",
        "merge.renamelimit",
        "merge.renames",
        "merge.renormalize",
    }
)
"""Settings of the user that decide the result of a merge, in lower case."""

NOBODY = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in {"NAME": "nobody", "EMAIL": "nobody@example.invalid", "DATE": "@0 +0000"}.items()
}
"""The author of commits that only serve a computation."""


@contextlib.contextmanager
def temporary_repository(repository: Repository, *, as_merged: bool = False) -> Iterator[Git]:
    """Yield git on a temporary repository, and remove it at the end of the block.

    Args:
        as_merged: Copy the settings and attributes that decide how files merge.
    """
    with tempfile.TemporaryDirectory(prefix="merged-", dir=make_state_dir(repository.state_dir)) as name:
        git_dir = Path(name)
        (git_dir / "refs").mkdir()
        (git_dir / "objects" / "info").mkdir(parents=True)
        (git_dir / "HEAD").write_text("ref: refs/heads/none\n")
        hash_name = repository.store.text("rev-parse", "--show-object-format")
        checkout = repository.checkout if as_merged else None
        bare = "false" if checkout else "true"
        (git_dir / "config").write_text(
            f"[core]\n\trepositoryformatversion = 1\n\tbare = {bare}\n"
            # It is short-lived: compressing and waiting for the disk would waste time.
            "\tlooseCompression = 0\n\tfsync = none\n"
            f"[extensions]\n\tobjectFormat = {hash_name}\n" + (_merge_settings(repository) if as_merged else "")
        )
        (git_dir / "objects" / "info" / "alternates").write_bytes(alternate_of(repository))
        with contextlib.suppress(FileNotFoundError):
            (git_dir / "shallow").write_bytes((repository.common_dir / "shallow").read_bytes())
        if as_merged:
            (git_dir / "info").mkdir()
            with contextlib.suppress(OSError):
                (git_dir / "info" / "attributes").write_bytes((repository.common_dir / "info/attributes").read_bytes())
        yield Git(cwd=checkout or git_dir, git_dir=git_dir, work_tree=checkout, no_user_config=True)


def alternate_of(repository: Repository) -> bytes:
    """The content of `objects/info/alternates` that borrows the repository's objects."""
    path = os.fsencode(repository.common_dir / "objects").replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"' + path + b'"\n'


def _merge_settings(repository: Repository) -> str:
    listed = repository.git.run("config", "-z", "--get-regexp", r"^(merge|diff)\.", check=False)
    lines = []
    for line in listed.fields:
        name, _, value = line.partition("\n")
        if name in HARMLESS_SETTINGS and value.isalnum():
            section, key = name.split(".")
            lines.append(f"[{section}]\n\t{key} = {value}\n")
    return "".join(lines)
