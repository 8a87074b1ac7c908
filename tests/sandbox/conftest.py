"""The console script in a fresh small repository."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.console import Architect


@pytest.fixture
def architect(checkout: Path) -> Iterator[Architect]:
    """`architect(*args)` runs the console script in a fresh small repository."""
    program = Architect(checkout)
    yield program
    program.end_all()
