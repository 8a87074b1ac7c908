"""Submodule links that a merge lands: whoever clones the result needs their commits from the submodule's remote."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from architect_parallel.errors import ArchitectParallelError
from architect_parallel.repository.registry import admin_dirs, registered_path
from architect_parallel.snapshots.nested_repositories import has_commit
from architect_parallel.system.git import Repository

_LINK = "160000"


def link_warnings(repository: Repository, old: str, new: str, branch: str) -> list[str]:
    """Warn about each submodule link that changes from `old` to `new` and whose commit no known remote has.

    Args:
        branch: Short name of the branch that the proposed push makes in the submodule's remote.
    """
    links = _changed_links(repository, old, new)
    names = _names(repository, new) if links else {}
    warnings = []
    for path, commit in links.items():
        places = []
        for git_dir, checkout in _repositories(repository, names.get(path, path)):
            known = None
            with contextlib.suppress(ArchitectParallelError):
                known = has_commit(repository, git_dir, commit)
            if known:
                break
            if known is not None:
                places.append(checkout / path)
        else:
            push = "push it from where it was made"
            if places:
                push = f"git -C {places[0]} push origin {commit}:refs/heads/{branch}"
            warnings.append(f"{path} links to {commit[:12]}, which no remote of the submodule has yet: {push}")
    return warnings


def _changed_links(repository: Repository, old: str, new: str) -> dict[str, str]:
    """The commits of the links that `new` has and `old` has not, by path."""
    words = ("diff-tree", "-r", "-z", "--raw", "--no-abbrev", "--no-renames", "--ignore-submodules=none", old, new)
    fields = repository.store.run(*words).fields
    links = {}
    for head, path in zip(fields[::2], fields[1::2], strict=True):
        _, mode, _, oid, _ = head.split(" ")
        if mode == _LINK:
            links[path] = oid
    return links


def _names(repository: Repository, commit: str) -> dict[str, str]:
    """The names of the submodules that the commit's `.gitmodules` declares, by path."""
    words = (
        "config",
        "--no-includes",
        "--blob",
        f"{commit}:.gitmodules",
        "-z",
        "--get-regexp",
        r"^submodule\..*\.path$",
    )
    pairs = (field.partition("\n") for field in repository.store.run(*words, check=False).fields)
    return {path: key.removeprefix("submodule.").removesuffix(".path") for key, _, path in pairs}


def _repositories(repository: Repository, name: str) -> Iterator[tuple[Path, Path]]:
    """The git directories of the submodule, each with the top of the checkout it belongs to. The main one comes
    first.
    """
    places = [(repository.common_dir, repository.root)]
    places += [(admin, path) for admin in admin_dirs(repository) if (path := registered_path(admin)) is not None]
    for git_dir, checkout in places:
        module = git_dir / "modules" / name
        if (module / "HEAD").is_file():
            yield module, checkout
