"""Which repository configuration the user trusts: a path together with the SHA-256 of its content.

A cloned repository may bring a `.architect-parallel.yaml`; what in it could run a program, pass secrets on or widen
what an agent may do counts only after `architect config trust`. The record holds for exactly the bytes that were
trusted: another content, or the same at another path, is not trusted. Invariant: a record that cannot be read
trusts nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.system.files import locked, make_private_dir, replace_file

TRUST_FILE = "trusted.json"


def is_trusted(config_dir: Path, path: Path, content: bytes) -> bool:
    """Whether the user trusted `path` with exactly this content."""
    return _load(config_dir).get(_key(path)) == _digest(content)


def trust(config_dir: Path, path: Path, content: bytes) -> None:
    """Records that `path` with this content is trusted; replaces an earlier record of the path.

    Raises:
        EnvironmentProblem: When the user's configuration directory cannot be written.
    """
    _change(config_dir, path, _digest(content))


def distrust(config_dir: Path, path: Path) -> bool:
    """Forgets `path`; returns whether there was a record. Raises like `trust`."""
    return _change(config_dir, path, None)


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
