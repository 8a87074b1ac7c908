"""The mechanisms that work here, found out by starting a program inside, once per launcher."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from architect_parallel.containment import bwrap
from architect_parallel.containment.decision import Probe
from architect_parallel.containment.landlock import LEAST_VERSION
from architect_parallel.containment.profile import ProfilePlaces, profile
from architect_parallel.containment.steps import contained
from architect_parallel.domain import Mechanism, Sandbox, SandboxLevel
from architect_parallel.supervision.consume import consume
from architect_parallel.supervision.messages import Launch
from architect_parallel.supervision.process import start_supervised
from architect_parallel.system.landlock import landlock_version

WITHOUT = "ARCHITECT_SANDBOX_WITHOUT"
"""Variable with names of mechanisms that are taken to be missing, for tests."""


def prober(environ: Mapping[str, str]) -> Probe:
    """The probe for a launcher with these variables."""
    without = frozenset(environ.get(WITHOUT, "").replace(",", " ").split())
    return lambda mechanism: f"switched off by {WITHOUT}" if mechanism in without else problem_with(mechanism)


@functools.cache
def problem_with(mechanism: Mechanism) -> str | None:
    """Start `true` inside. The reason why that failed, or `None`."""
    if sys.platform != "linux":
        return "Linux only"
    if mechanism is Mechanism.LANDLOCK and landlock_version() < LEAST_VERSION:
        return f"the kernel has version {landlock_version()} of Landlock, {LEAST_VERSION} is needed"
    if mechanism is Mechanism.BWRAP and bwrap.program() is None:
        return "bubblewrap is not installed"
    with tempfile.TemporaryDirectory(prefix="architect-probe-") as folder:
        place = Path(folder)
        sandbox = Sandbox(level=SandboxLevel.WRITE, mechanism=mechanism)
        launch = Launch(argv=("/bin/sh", "-c", ":"), cwd=place, env={"PATH": os.defpath})
        places = ProfilePlaces(home=Path("/nonexistent"), directory=place, scratch=place / "scratch")
        with start_supervised(contained(launch, sandbox, profile(sandbox, places))) as program:
            facts = consume(program, lambda stream, data: None)
    if facts.spawn_error is not None:
        return facts.spawn_error.rpartition("/bin/sh: ")[2]
    return None if facts.exit_code == 0 else f"a program inside ended with {facts.exit_code}"
