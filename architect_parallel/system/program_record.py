"""The record of the program entries in git's configuration, and what it leaves unconfirmed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.system.files import replace_file, share
from architect_parallel.system.git_settings import Setting
from architect_parallel.system.sealed_configuration import read_bytes_or_nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Unconfirmed:
    """Program entries that changed while agents ran and that the user has not confirmed."""

    added: tuple[Setting, ...] = ()
    """Entries in the configuration now. They are not used."""
    removed: tuple[str, ...] = ()
    """Keys of entries that are no longer in the configuration."""

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(sorted({*(setting.key for setting in self.added), *self.removed}))


@dataclass(slots=True)
class ProgramRecord:
    """The content of the state file. Each dictionary is digest → key."""

    known: dict[str, str] | None = None
    """The program entries that are used while agents run. `None` means that no agent runs."""
    copy: str = ""
    """Name of the sealed copy for these agents."""
    unconfirmed: dict[str, str] = field(default_factory=dict)
    removed: dict[str, str] = field(default_factory=dict)
    confirmed: dict[str, str] = field(default_factory=dict)


def load_record(path: Path) -> ProgramRecord:
    """Read the state file. A missing one is an empty record.

    Raises:
        EnvironmentProblem: The file cannot be read, or is no such record.
    """
    try:
        plain: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return ProgramRecord()
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path) from error
    try:
        return ProgramRecord(
            known=None if plain["known"] is None else _digests(plain["known"]),
            copy=str(plain["copy"]),
            unconfirmed=_digests(plain["unconfirmed"]),
            removed=_digests(plain["removed"]),
            confirmed=_digests(plain["confirmed"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(path) from error


def save_record(record: ProgramRecord, path: Path) -> None:
    """Write the state file, or remove it for an empty record."""
    plain = dataclasses.asdict(record)
    if record == ProgramRecord():
        path.unlink(missing_ok=True)
    elif read_bytes_or_nothing(path) != (data := json.dumps(plain, indent=1).encode()):
        replace_file(path, data, mode=0o600)
        share(path)


def find_unconfirmed(record: ProgramRecord, settings: Sequence[Setting]) -> Unconfirmed:
    """Compare the record with the configuration as it is now."""
    programs = [setting for setting in settings if setting.is_program]
    known = record.known
    added = {
        setting.digest: setting
        for setting in programs
        if setting.digest not in record.confirmed
        and (setting.digest in record.unconfirmed or (known is not None and setting.digest not in known))
    }
    present = {setting.digest for setting in programs}
    removed = {
        key
        for digest, key in {**record.removed, **(known or {})}.items()
        if digest not in present and digest not in record.confirmed
    }
    return Unconfirmed(added=tuple(added.values()), removed=tuple(sorted(removed)))


def _digests(plain: Any) -> dict[str, str]:
    return {str(digest): str(key) for digest, key in plain.items()}


def _damaged(path: Path) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"{path} cannot be read: it says which programs of git's configuration may run", hint=f"rm {path}"
    )
