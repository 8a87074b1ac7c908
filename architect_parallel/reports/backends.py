"""The list of backends: a line each, the options that each lacks (on a terminal only if wide), and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from architect_parallel.backends.base import Availability, Backend, Capabilities
from architect_parallel.domain import ApprovalMode, SandboxMode
from architect_parallel.reports.table import Cell, TableColumn, render
from architect_parallel.text.display import PIPE, Display, Style

_COLUMNS = (
    TableColumn(title="BACKEND", rank=0),
    TableColumn(title="READY", rank=1),
    TableColumn(title="VERSION", rank=2, least=10),
    TableColumn(title="COST", rank=3),
    TableColumn(title="SESSIONS", rank=4),
    TableColumn(title="PROGRAM", rank=5, least=16),
)


_HEADING = "Options that a backend does not support itself (limits are enforced in any case):"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One backend, with its availability on this machine."""

    backend: Backend
    availability: Availability
    version: str | None
    """The version of its program. `None` means unknown."""


def as_data(rows: Sequence[Row]) -> dict[str, Any]:
    """The list for `--json`."""
    return {
        "backends": [
            {
                "name": row.backend.name,
                "ready": row.availability.ready,
                "version": row.version,
                "program": row.availability.program,
                "missing": row.availability.missing,
                "remedy": row.availability.remedy,
                "capabilities": {
                    "model": row.backend.capabilities.model,
                    "system_prompt": row.backend.capabilities.system_prompt,
                    "approval_modes": sorted(row.backend.capabilities.approval_modes),
                    "sandbox_modes": sorted(row.backend.capabilities.sandbox_modes),
                    "max_steps": row.backend.capabilities.max_steps,
                    "budget": row.backend.capabilities.budget,
                    "cost": row.backend.capabilities.cost,
                    "sessions": row.backend.capabilities.sessions,
                },
            }
            for row in rows
        ]
    }


def as_text(rows: Sequence[Row], display: Display = PIPE) -> str:
    """The list for people, with the ready backends first."""
    table: list[tuple[Cell, ...]] = []
    ordered = sorted(rows, key=lambda row: (not row.availability.ready, row.backend.name))
    for row in ordered:
        can = row.backend.capabilities
        table.append(
            (
                row.backend.name,
                ("yes", Style.GOOD) if row.availability.ready else ("no", Style.FAINT),
                row.version or "-",
                "known" if can.cost else "unknown",
                "yes" if can.sessions else "no",
                row.availability.program or "-",
            )
        )
    lines = render(_COLUMNS, table, display)
    if display.is_pipe or display.wide:
        lines += [*([] if display.is_pipe else [""]), *display.wrap(_HEADING)]
        for row in ordered:
            words = f"{row.backend.name}: {', '.join(lacking(row.backend.capabilities)) or 'none'}"
            lines += display.wrap(words, "  ", hanging="    ")
    lines += [] if display.is_pipe else [""]
    for row in ordered:
        availability = row.availability
        if availability.missing is not None:
            missing = f"{row.backend.name}: {availability.missing}" + (
                f" (try: {availability.remedy})" if availability.remedy else ""
            )
            lines += display.wrap(missing, hanging="  ")
    if not (display.is_pipe or display.wide):
        lines += display.wrap("--wide also shows the options that a backend does not support itself")
    return "\n".join(lines)


def lacking(can: Capabilities) -> list[str]:
    """The options of a task that this backend does not support, in words."""
    words = [] if can.model else ["a model"]
    words += [] if can.system_prompt else ["a system prompt"]
    words += [f"approval mode {mode}" for mode in ApprovalMode if mode not in can.approval_modes]
    words += [f"sandbox mode {mode}" for mode in SandboxMode if mode not in can.sandbox_modes]
    words += [] if can.max_steps else ["a step limit"]
    words += [] if can.budget else ["a budget"]
    words += [] if can.sessions else ["resuming a session"]
    return words
