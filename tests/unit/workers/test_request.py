"""What an agent is asked for inside a box."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect_parallel.domain import (
    AgentProfile,
    ApprovalMode,
    Limits,
    Mechanism,
    Sandbox,
    SandboxLevel,
    SandboxMode,
)
from architect_parallel.workers.request import profile_request

BOX = Sandbox(level=SandboxLevel.WRITE, mechanism=Mechanism.NAMESPACES)


@pytest.mark.parametrize(
    ("mode", "approval", "sandbox", "own"),
    [
        (None, ApprovalMode.AUTO, Sandbox(), SandboxMode.DEFAULT),
        (None, ApprovalMode.AUTO, BOX, SandboxMode.FULL),
        (SandboxMode.WORKSPACE, ApprovalMode.NONE, Sandbox(), SandboxMode.WORKSPACE),
        (SandboxMode.WORKSPACE, ApprovalMode.NONE, BOX, SandboxMode.FULL),
        (SandboxMode.READ_ONLY, ApprovalMode.AUTO, BOX, SandboxMode.READ_ONLY),
    ],
)
def test_the_agents_own_sandbox_is_off_inside_ours(
    mode: SandboxMode | None, approval: ApprovalMode, sandbox: Sandbox, own: SandboxMode
) -> None:
    """Nested, some could not commit."""
    request = profile_request(
        "task",
        AgentProfile(name="build", sandbox_mode=mode),
        model=None,
        approval_mode=approval,
        limits=Limits(),
        directory=Path("/w"),
        prompt_file=Path("/p"),
        state_dir=Path("/s"),
        sandbox=sandbox,
    )
    assert request.sandbox_mode is own
    assert request.contained == sandbox.is_contained
