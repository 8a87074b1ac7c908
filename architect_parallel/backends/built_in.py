"""What the built-in backends have in common: who they are, which variables they get, how their program is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from architect_parallel.backends.program import program_prefix
from architect_parallel.domain import BackendSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltIn:
    """A backend of which the configuration may say where its program is and which further variables it gets."""

    settings: BackendSettings | None = None
    environ: Mapping[str, str]
    """The launcher's environment."""

    name: ClassVar[str]
    program: ClassVar[str] = ""
    """What is started where the configuration says nothing; empty: `name`."""
    variables: ClassVar[tuple[str, ...]] = ()
    """Of its own, keys included."""
    secrets: ClassVar[tuple[str, ...]] = ()

    @property
    def environment(self) -> tuple[str, ...]:
        return (*self.variables, *(self.settings.env if self.settings else ()))

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words that start its program."""
        return program_prefix(self.name, self.program or self.name, self.settings)
