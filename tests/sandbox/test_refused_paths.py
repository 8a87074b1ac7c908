"""A build that breaks on a place that the sandbox holds is understood in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.console import Architect

from architect_parallel.containment.probe import problem_with
from architect_parallel.domain import Mechanism

needs_namespaces = pytest.mark.skipif(
    problem_with(Mechanism.NAMESPACES) is not None, reason=f"no namespaces: {problem_with(Mechanism.NAMESPACES)}"
)


@needs_namespaces
@pytest.mark.parametrize("by", ["agent", "check"])
def test_the_warning_names_the_path_and_the_setting_that_allows_it(
    architect: Architect, home: Path, tmp_path: Path, by: str
) -> None:
    (home / "toolkit").mkdir()
    build = f"echo x > {home}/toolkit/lock && echo built"
    words = ["parallel", build if by == "agent" else "true", "--backend", "shell", "--workers", "1", "--json"]
    words += ["--sandbox", "write", *(("--check", build) if by == "check" else ())]
    (result,) = architect(*words).json["results"]
    assert result["status"] == "failed"
    (warning,) = [text for text in result["warnings"] if "the sandbox" in text]
    setting = f"{{write: [{home}/toolkit]}}"
    assert warning == (
        f"the sandbox keeps {home}/toolkit/lock read-only; to allow it: sandbox: {setting} in your configuration"
    )

    (tmp_path / "own.yaml").write_text(json.dumps({"sandbox": {"write": [f"{home}/toolkit"]}}))
    (result,) = architect(*words, "-c", str(tmp_path / "own.yaml")).json["results"]
    assert result["status"] == "success"
    assert [text for text in result["warnings"] if "the sandbox" in text] == []
