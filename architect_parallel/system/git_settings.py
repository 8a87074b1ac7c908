"""The entries of git's configuration, and which of them run a program or redirect git."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_PROGRAM_KEYS = re.compile(
    r"""
    core\.(alternaterefscommand|askpass|editor|fsmonitor|gitproxy|hookspath|pager|sshcommand)
    | (alias|browser|credential|difftool|filter|gpg|guitool|http|man|mergetool|pager|protocol|remote|sendemail|url)\..*
    | diff\.external | diff\..*\.(command|textconv)
    | include\.path | includeif\..*\.path
    | init\.templatedir | interactive\.difffilter | sequence\.editor | ssh\.variant
    | lfs\.(.*\.)?(args|clean|path|priority|pushurl|smudge|standalonetransferagent|url)
    | merge\..*\.(driver|recursive)
    | submodule\..*\.(update|url)
    | tar\..*\.command | trailer\..*\.(cmd|command) | uploadpack\.packobjectshook
    """,
    re.VERBOSE | re.DOTALL,
)
"""Keys that make git, or a program that git starts, run a program or connect to another place."""

PUSH_KEYS = re.compile(r"(url|remote|credential|http|lfs)\..*|core\.(sshcommand|askpass|gitproxy)", re.DOTALL)
"""The keys that decide where a push goes, and with which credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One entry of git's configuration."""

    key: str
    """Section and name in lower case, as git lists it."""
    value: str | None
    """`None` means that the entry has no `=`, which git reads as true."""
    origin: str
    """The file that has it."""
    scope: str
    """`system`, `global`, `local` or `worktree`."""

    @property
    def digest(self) -> str:
        text = self.key if self.value is None else f"{self.key}\n{self.value}"
        return hashlib.sha256(os.fsencode(text)).hexdigest()

    @property
    def is_program(self) -> bool:
        """True if git runs a program or connects to another place because of it."""
        return _PROGRAM_KEYS.fullmatch(self.key) is not None


def parse_settings(listed: Sequence[str], directory: Path) -> list[Setting]:
    """Read the fields of `git config --list --show-scope --show-origin -z`, which ran in `directory`.

    Entries from the command line or the environment are left out: no agent can write there.
    """
    settings = []
    for scope, origin, entry in zip(listed[::3], listed[1::3], listed[2::3], strict=False):
        if scope == "command":
            continue
        key, has_value, value = entry.partition("\n")
        kind, _, name = origin.partition(":")
        file = os.path.normpath(directory / name) if kind == "file" else origin
        settings.append(Setting(key=key, value=value if has_value else None, origin=file, scope=scope))
    return settings


def config_text(settings: Iterable[tuple[str, str | None]]) -> str:
    """A configuration file with these entries, in their order.

    A value of `None` means an entry without `=`.
    """
    lines = []
    for key, value in settings:
        section, _, rest = key.partition(".")
        subsection, _, name = rest.rpartition(".")
        head = f'[{section} "{_escaped(subsection)}"]' if subsection or rest.startswith(".") else f"[{section}]"
        text = "" if value is None else ' = "{}"'.format(_escaped(value).replace("\n", "\\n"))
        lines.append(f"{head}\n\t{name}{text}\n")
    return "".join(lines)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
