"""Recorded runs of real agents, and what each amounts to: `tests/recordings/<backend>/…/<case>/`.

A case is a directory with `stdout`, `stderr` and `exit` as the agent left them (paths made neutral), for codex also
`rollout.jsonl`; the table `expected.yaml` of the backend says what must be read out of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

RECORDINGS = Path(__file__).parent.parent / "recordings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One recorded run and the row of the table that says what it amounts to."""

    backend: str
    case: str
    stdout: bytes
    stderr: str
    exit_code: int
    expected: dict[str, Any]

    @property
    def directory(self) -> Path:
        return RECORDINGS / self.backend / self.case


def recorded_cases(backend: str) -> list[str]:
    """Names of the backend's recordings, sorted; found by their files, not by the table."""
    place = RECORDINGS / backend
    return sorted(str(each.parent.relative_to(place)) for each in place.rglob("stdout"))


def load_recording(backend: str, case: str) -> Recording:
    """One recording; a case without a row in the table is an error."""
    table = yaml.safe_load((RECORDINGS / backend / "expected.yaml").read_text())
    directory = RECORDINGS / backend / case
    return Recording(
        backend=backend,
        case=case,
        stdout=(directory / "stdout").read_bytes(),
        stderr=(directory / "stderr").read_text(),
        exit_code=int((directory / "exit").read_text()),
        expected=table[case],
    )
