"""What happens to a worker on the way stands in its result too, not only on the screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect_parallel import ParallelConfig, ParallelRunner


@pytest.mark.usefixtures("home")
def test_a_warning_on_the_way_is_in_the_result_once(checkout: Path, tmp_path: Path) -> None:
    config = tmp_path / "own.yaml"
    config.write_text("worktrees: {setup: ['echo changed >> left-by-setup']}\n")

    results = ParallelRunner(
        ParallelConfig(tasks=["true"], backend="shell", workers=1, config_file=config), workspace_root=checkout
    ).run()

    assert [warning for warning in results[0].warnings if "left-by-setup" in warning] == results[0].warnings
    assert len(results[0].warnings) == 1


def test_a_killed_supervisor_is_told(checkout: Path) -> None:
    killer = "ps -o ppid= -p $$ | xargs kill -9; sleep 60"

    results = ParallelRunner(ParallelConfig(tasks=[killer], backend="shell", workers=1), workspace_root=checkout).run()

    assert (results[0].status.value, results[0].reason) == ("failed", "crashed")
