"""The examples in docs/ are sound."""

from __future__ import annotations

from pathlib import Path

from architect_parallel.flows.loader import FlowContext, load_flow

EXAMPLES = Path(__file__).resolve().parents[3] / "docs" / "examples"


def test_the_example_of_a_flow_is_sound() -> None:
    flow = load_flow(EXAMPLES / "release.flow.yaml", FlowContext(directory=EXAMPLES, backends=("claude", "codex")))
    assert (flow.start_at, len(flow.states)) == ("plan", 7)
