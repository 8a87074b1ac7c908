"""The list of backends: a line each, then what is missing where something is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from architect_parallel.backends.base import Availability, Backend

Row = tuple[Backend, Availability]


def as_data(rows: Sequence[Row]) -> dict[str, Any]:
    """For `--json`."""
    return {
        "backends": [
            {
                "name": backend.name,
                "ready": found.ready,
                "program": found.program,
                "missing": found.missing,
                "remedy": found.remedy,
                "capabilities": {
                    "model": backend.capabilities.model,
                    "system_prompt": backend.capabilities.system_prompt,
                    "approval_modes": sorted(backend.capabilities.approval_modes),
                    "sandbox_modes": sorted(backend.capabilities.sandbox_modes),
                    "max_steps": backend.capabilities.max_steps,
                    "budget": backend.capabilities.budget,
                    "cost": backend.capabilities.cost,
                    "sessions": backend.capabilities.sessions,
                },
            }
            for backend, found in rows
        ]
    }


def as_text(rows: Sequence[Row]) -> str:
    """For people: what is ready first."""
    table = [("BACKEND", "READY", "COST", "SESSIONS", "PROGRAM")]
    ordered = sorted(rows, key=lambda row: (not row[1].ready, row[0].name))
    for backend, found in ordered:
        can = backend.capabilities
        table.append(
            (
                backend.name,
                "yes" if found.ready else "no",
                "known" if can.cost else "unknown",
                "yes" if can.sessions else "no",
                found.program or "-",
            )
        )
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    for backend, found in ordered:
        if found.missing is not None:
            lines.append(f"{backend.name}: {found.missing}" + (f" (try: {found.remedy})" if found.remedy else ""))
    return "\n".join(lines)
