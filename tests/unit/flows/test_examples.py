"""The examples in docs/ are sound."""

from __future__ import annotations

from pathlib import Path

from architect_parallel.config.validation import ValidationContext
from architect_parallel.flows.loader import load_flow

EXAMPLES = Path(__file__).resolve().parents[3] / "docs" / "examples"


def test_the_example_of_a_flow_is_sound() -> None:
    context = ValidationContext(
        directory=EXAMPLES, checkout=None, backends=("claude", "codex"), agents=None, ceiling=10
    )
    flow = load_flow(EXAMPLES / "release.flow.yaml", context)
    assert (flow.start_at, len(flow.states)) == ("plan", 7)
