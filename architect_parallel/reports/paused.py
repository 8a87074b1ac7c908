"""A paused flow as text: its question, and the command that continues it."""

from __future__ import annotations

from architect_parallel.domain import Pause


def asked(pause: Pause) -> str:
    """The question as it was written, on one or several lines, with the choices after it.

    >>> asked(Pause(state="ask", question="Try again?", choices=("yes", "no"), default="no"))
    'Try again? (yes / no; default: no)'
    """
    more = [" / ".join(pause.choices)] if pause.choices else []
    more += [f"default: {pause.default}"] if pause.default is not None else []
    text = pause.question or "no question: it waits until a person continues it"
    return f"{text} ({'; '.join(more)})" if more else text


def to_go_on(run_id: str) -> str:
    """The command that answers and continues. On a terminal, it asks when `--answer` is left out."""
    return f"architect flow run --resume {run_id} --answer TEXT"
