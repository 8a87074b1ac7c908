"""`architect --help` against a three-line typer program in the same environment."""

from __future__ import annotations

import os
import sys

from benchmarks.measure import ARCHITECT, Goal, alternate, cpu, folder, median_of, median_ratio, run_measured

REPEAT = 15
PROGRAM = "import typer\ndef main(name: str) -> None: print(name)\ntyper.run(main)\n"


def measure() -> list[Goal]:
    """Runs the benchmark."""
    with folder() as place:
        program, env = place / "program.py", {"PATH": os.environ["PATH"], "HOME": str(place), "LC_ALL": "C.UTF-8"}
        program.write_text(PROGRAM)
        theirs, ours = alternate(
            REPEAT,
            lambda: run_measured((sys.executable, str(program), "--help"), cwd=program.parent, env=env),
            lambda: run_measured((*ARCHITECT, "--help"), cwd=program.parent, env=env),
        )
    return [
        Goal(
            name="architect --help: CPU",
            measured=median_ratio(ours, theirs, cpu),
            limit=1.5,
            note=f"{median_of(ours, cpu):.3f} s against {median_of(theirs, cpu):.3f} s",
        )
    ]


if __name__ == "__main__":
    from benchmarks.__main__ import show

    sys.exit(show(measure()))
