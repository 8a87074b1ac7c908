"""The repository configuration that the user trusts: a path together with the SHA-256 of its content.

A cloned repository may bring a `.architect-parallel.yaml`. What in it could run a program, pass secrets on or widen
what an agent may do counts only after `architect config trust`. The record holds for exactly the bytes that were
trusted: another content, or the same at another path, is not trusted. Invariant: a record that cannot be read
trusts nothing, and what is recorded is what was read and shown.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from architect_parallel.config.layers import FaultList, file_layer
from architect_parallel.config.paths import REPOSITORY_FILE
from architect_parallel.config.untrusted import dangerous
from architect_parallel.config.yaml_source import Faulty, dotted, read_bytes
from architect_parallel.errors import EnvironmentProblem, NothingToDo
from architect_parallel.system.files import locked, make_private_dir, replace_file

TRUST_FILE = "trusted.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """The file that the user trusts from now on."""

    path: Path
    sha256: str
    keys: dict[str, Any]
    """Dotted key → value of everything that counts only because of it. May be empty."""


def is_trusted(config_dir: Path, path: Path, content: bytes) -> bool:
    """The user trusted `path` with exactly this content."""
    return _load(config_dir).get(_key(path)) == _digest(content)


def trust_repository(config_dir: Path, checkout: Path, *, dry_run: bool = False) -> Trusted:
    """Record that the configuration file of the repository at `checkout` is trusted as it is now.

    Args:
        dry_run: Record nothing.

    Raises:
        NothingToDo: There is no such file.
        UsageError: It is faulty. All its faults.
        EnvironmentProblem: When the user's configuration directory cannot be written.
    """
    path = checkout / REPOSITORY_FILE
    faults = FaultList()
    content = None
    try:
        content = read_bytes(path)
        if content is None:
            raise NothingToDo(f"{path}: there is no such file")
    except Faulty as error:
        faults.add(str(path), error.faults)
    layer = None if content is None else file_layer(path, content, trusted=True, faults=faults)
    if content is None or layer is None:
        raise faults.error()
    keys: dict[str, Any] = {}
    for key in dangerous(layer.data):
        value: Any = layer.data
        for step in key:
            value = value[step]
        keys[dotted(key)] = value
    if not dry_run:
        _change(config_dir, path, _digest(content))
    return Trusted(path=path, sha256=_digest(content), keys=keys)


def distrust_repository(config_dir: Path, checkout: Path) -> Path:
    """Forget the file of the repository at `checkout` and return its path.

    Raises:
        NothingToDo: It was not trusted.
        EnvironmentProblem: When the user's configuration directory cannot be written.
    """
    path = checkout / REPOSITORY_FILE
    if not _change(config_dir, path, None):
        raise NothingToDo(f"{path} was not trusted")
    return path


def _change(config_dir: Path, path: Path, digest: str | None) -> bool:
    try:
        make_private_dir(config_dir)
        with locked(config_dir / f".{TRUST_FILE}.lock", timeout_s=10):
            records = _load(config_dir)
            known = records.pop(_key(path), None) is not None
            if digest is not None:
                records[_key(path)] = digest
            text = json.dumps({"trusted": dict(sorted(records.items()))}, indent=2)
            replace_file(config_dir / TRUST_FILE, f"{text}\n".encode(), mode=0o600)
    except OSError as error:
        raise EnvironmentProblem(f"{config_dir} cannot be written: {error.strerror}") from error
    return known


def _load(config_dir: Path) -> dict[str, str]:
    try:
        records = json.loads((config_dir / TRUST_FILE).read_bytes())["trusted"]
        return {path: digest for path, digest in records.items() if isinstance(digest, str)}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _key(path: Path) -> str:
    return os.path.realpath(path)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
