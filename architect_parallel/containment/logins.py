"""Logins that a contained agent uses: copied into its home for the run, and taken back where it refreshed them.

Backends link the user's files into the home of a worker. Inside a box the user's own files cannot be changed, but a
login has to be: refresh tokens rotate, and one that is lost logs the user out. So for the run a copy takes the place of
the link. Afterwards a copy that changed, that is whole, and that names the same account replaces the user's file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from architect_parallel.system.files import replace_file

NAMES = frozenset(
    {
        *("auth.json", ".credentials.json", "oauth_creds.json", "gemini-credentials.json", "mcp-oauth-tokens.json"),
        *("google_accounts.json", "config.json", "permissions-config.json", "trustedFolders.json", "installation_id"),
    }
)
"""Names of files of agents that hold a login, or that agents rewrite beside it."""
DEEPEST = 3
"""Levels of directories below a home in which backends make links."""
LARGEST_BYTES = 1 << 20
_ACCOUNT_WORDS = ("account", "email", "user", "client", "org", "issuer", "url", "host")


@dataclass(frozen=True, slots=True)
class LentLogin:
    """A copy of a file of the user in an agent's home."""

    copy: Path
    users: Path
    content: bytes
    """When it was lent."""


def links(home: Path, depth: int = DEEPEST) -> Iterator[Path]:
    """The links in an agent's home that lead out of it."""
    try:
        entries = list(os.scandir(home))
    except OSError:
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.is_symlink():
            yield path
        elif depth and entry.is_dir(follow_symlinks=False):
            yield from links(path, depth - 1)


def lend(home: Path) -> list[LentLogin]:
    """Put a copy (0600) in the place of each link to a login. A file that cannot be read is left out."""
    lent = []
    for link in links(home):
        if link.name in NAMES:
            try:
                users = Path(os.path.realpath(link))
                if not users.is_file() or users.stat().st_size > LARGEST_BYTES:
                    continue
                content = users.read_bytes()
                replace_file(link, content, mode=0o600)
            except OSError:
                continue
            lent.append(LentLogin(link, users, content))
    return lent


def take_back(login: LentLogin) -> str | None:
    """Let the link take its place again. A refreshed login replaces the user's. Return a warning if it may not."""
    warning = None
    try:
        changed = _regular_file(login.copy)
        if changed is not None and changed != login.content and _is_newer(login):
            if names_same_account(login.content, changed):
                replace_file(login.users, changed, mode=login.users.stat().st_mode & 0o777)
            else:
                warning = f"{login.users} was not replaced: what the agent left of it names another account, or none"
        if login.copy.is_dir() and not login.copy.is_symlink():
            return warning
        login.copy.unlink(missing_ok=True)
        login.copy.symlink_to(login.users)
    except OSError as error:
        return f"{login.users} could not be taken back: {error.strerror}"
    return warning


def names_same_account(before: bytes, after: bytes) -> bool:
    """The login `after` is as whole as `before`, and everything in it that names an account is the same."""
    old, new = _parsed(before), _parsed(after)
    return old is not None and new is not None and _is_like(old, new)


def _is_like(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    for key, value in old.items():
        if key not in new:
            return False
        if isinstance(value, Mapping):
            if not isinstance(new[key], Mapping) or not _is_like(value, new[key]):
                return False
            continue
        names_account = any(word in key.lower() for word in _ACCOUNT_WORDS)
        if new[key] != value and (names_account or not isinstance(new[key], type(value))):
            return False
    return True


def _parsed(content: bytes) -> Mapping[str, Any] | None:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _regular_file(path: Path) -> bytes | None:
    """The content, never through a link that the agent has put there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(LARGEST_BYTES + 1)
    return content if len(content) <= LARGEST_BYTES else None


def _is_newer(login: LentLogin) -> bool:
    """Several workers may refresh the same login: the newest counts."""
    return login.copy.stat().st_mtime_ns > login.users.stat().st_mtime_ns
