"""The question of a paused flow, and answers to it."""

from __future__ import annotations

from architect_parallel.domain import Pause
from architect_parallel.errors import UsageError
from architect_parallel.flows.model import (
    Demand,
    Question,
    Wait,
)
from architect_parallel.text.sanitize import require_utf8


def pause_of(demanded: Demand) -> Pause | None:
    """The question that waits for an answer. `None` means that there is none."""
    if isinstance(demanded, Question):
        return Pause(state=demanded.state, question=demanded.text, choices=demanded.choices, default=demanded.default)
    if isinstance(demanded, Wait) and demanded.seconds is None:
        return Pause(state=demanded.state, question=demanded.text)
    return None


def require_answer(demanded: Demand, answer: str, run_id: str) -> None:
    """Raise `UsageError` for an answer without a question, or one that is not among the choices."""
    pause = pause_of(demanded)
    if pause is None:
        raise UsageError(f"the flow of run {run_id} has no open question", hint=f"architect flow run --resume {run_id}")
    require_utf8(answer, "--answer")
    if pause.choices and answer not in pause.choices:
        raise UsageError(f"--answer {answer!r} is not one of the choices: {', '.join(pause.choices)}")
