"""The launcher's repository on its way to hosts: its facts, and the commits that workers start from."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.hosts.link import Link
from architect_parallel.hosts.mirror import BASE, CHUNK_BYTES
from architect_parallel.hosts.wire import REFUSED, GitFacts
from architect_parallel.snapshots.baseline import HARMLESS_SETTINGS
from architect_parallel.snapshots.bundles import BundleContent, write_bundles
from architect_parallel.system.files import replace_file
from architect_parallel.system.git import Repository, make_state_dir

LARGEST_BASE = 512 << 20
CALL_S = 60.0
"""Seconds that a host has to take a part of a base: it may have to unpack it."""
_SENT_SETTINGS = HARMLESS_SETTINGS - {"extensions.objectformat", "core.sharedrepository"}


def origin_of(repository: Repository) -> str:
    """A name of this clone for hosts. Two clones never have the same, also if one is a copy of the other."""
    file = make_state_dir(repository.state_dir) / "origin"
    if not file.is_file():
        replace_file(file, uuid.uuid4().hex.encode(), mode=0o600)
    place = os.fsencode(os.path.realpath(repository.common_dir))
    return hashlib.sha256(file.read_bytes() + b"\0" + place).hexdigest()[:32]


def git_facts(repository: Repository) -> GitFacts:
    """The facts that decide what a result looks like."""
    git = repository.git
    lines = (line.partition("\n") for line in git.run("config", "--list", "-z").fields)
    settings = {name: value if separator else "true" for name, separator, value in lines}
    home = Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")) / "git"
    ignored = Path(os.path.expanduser(settings.get("core.excludesfile", os.fspath(home / "ignore"))))
    info = repository.common_dir / "info"
    return GitFacts(
        object_format=git.text("rev-parse", "--show-object-format"),
        settings={name: value for name, value in settings.items() if name in _SENT_SETTINGS},
        exclude=_text(repository.root / ignored) + _text(info / "exclude"),
        attributes=_text(info / "attributes"),
        author_name=os.environ.get("GIT_AUTHOR_NAME") or settings.get("user.name", ""),
        author_email=os.environ.get("GIT_AUTHOR_EMAIL") or settings.get("user.email", ""),
    )


@dataclass(slots=True)
class Shipping:
    """Sends each base to each host once."""

    link: Link
    repository: Repository
    origin: str
    object_format: str
    sent_bytes: int = 0
    """Bytes of all bundles that were sent."""
    _there: set[tuple[str, str]] = field(default_factory=set)
    """(host id, commit) of the bases that hosts have."""
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def bring(self, address: str, host_id: str, commit: str) -> None:
        """Send a base to a host that lacks it.

        Raises:
            LinkBroken: The host cannot be reached now.
            EnvironmentProblem: The host refuses it, or it is too large.
        """
        with self._lock:
            lock = self._locks.setdefault(host_id, threading.Lock())
        with lock:
            if (host_id, commit) in self._there:
                return
            have = self._ask(address, "bases", {"origin": self.origin})["bases"]
            if commit not in have:
                self._send(address, commit, [base for base in have if self.repository.store.resolve(base) == base])
            self._there.add((host_id, commit))

    def _send(self, address: str, commit: str, have: list[str]) -> None:
        with tempfile.TemporaryDirectory(prefix="base-", dir=make_state_dir(self.repository.state_dir)) as folder:
            file = Path(folder) / "base.bundle"
            write_bundles(self.repository, [BundleContent(file=file, refs={f"{BASE}/{commit}": commit}, without=have)])
            total = file.stat().st_size if file.exists() else 0
            if total > LARGEST_BASE:
                raise EnvironmentProblem(f"the base is {total >> 20} MiB, the most is {LARGEST_BASE >> 20} MiB")
            file.touch()
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                message = {"origin": self.origin, "commit": commit, "total": total, "digest": digest}
                message["object_format"] = self.object_format
                offset = 0
                while True:
                    stream.seek(offset)
                    data = stream.read(CHUNK_BYTES)
                    reply = self._ask(address, "base", {**message, "offset": offset, "data": data})
                    self.sent_bytes += len(data)
                    offset = int(reply["size"])
                    if offset >= total:
                        return

    def _ask(self, address: str, verb: str, message: dict[str, Any]) -> dict[str, Any]:
        reply = dict(self.link.call(address, verb, message, CALL_S))
        if REFUSED in reply:
            raise EnvironmentProblem(str(reply[REFUSED]))
        return reply


def _text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        return ""
    return text if text.endswith("\n") or not text else f"{text}\n"
