"""Marks of tests that need a mechanism of containment that works here."""

from __future__ import annotations

import pytest

from architect_parallel.containment.probe import problem_with
from architect_parallel.domain import Mechanism


def needs(mechanism: Mechanism) -> pytest.MarkDecorator:
    """Skip the test where the mechanism does not work, and say why."""
    problem = problem_with(mechanism)
    return pytest.mark.skipif(problem is not None, reason=f"no {mechanism}: {problem}")


needs_namespaces = needs(Mechanism.NAMESPACES)
needs_bwrap = needs(Mechanism.BWRAP)
needs_landlock = needs(Mechanism.LANDLOCK)
