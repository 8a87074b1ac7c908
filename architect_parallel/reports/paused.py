"""A paused flow in words: what it waits for, and the command with which it goes on."""

from __future__ import annotations

from architect_parallel.domain import Pause


def asked(pause: Pause) -> str:
    """What is asked, on one line or several as it was written; the choices behind it.

    >>> asked(Pause(state="ask", question="Try again?", choices=("yes", "no"), default="no"))
    'Try again? (yes / no; default: no)'
    """
    more = [" / ".join(pause.choices)] if pause.choices else []
    more += [f"default: {pause.default}"] if pause.default is not None else []
    text = pause.question or "nothing: it waits until somebody lets it go on"
    return f"{text} ({'; '.join(more)})" if more else text


def to_go_on(run_id: str) -> str:
    """The command that answers and goes on. On a terminal it asks when `--answer` is left out."""
    return f"architect flow run --resume {run_id} --answer TEXT"
