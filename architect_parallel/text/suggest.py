"""The nearest known name for an unknown one, for messages. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from architect_parallel.errors import UsageError
from architect_parallel.text.quantities import quoted


def nearest(name: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """The known name most like `name`, ignoring case and `-`/`_`. `None` means that none is similar.

    >>> nearest("claud", ["claude", "codex"]), nearest("MAX-STEPS", ["max_steps"]), nearest("x", ["claude"])
    ('claude', 'max_steps', None)
    """
    folded = {_fold(item): item for item in sorted(known, reverse=True)}
    # difflib is quadratic in the length: a name longer than any of ours has no near one.
    nearest_names = get_close_matches(_fold(name[:100]), folded, n=1, cutoff=likeness)
    return folded[nearest_names[0]] if nearest_names else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for a message, or nothing.

    >>> did_you_mean("claud", ["claude"])
    "; did you mean 'claude'?"
    """
    suggestion = nearest(name, known)
    return f"; did you mean {suggestion!r}?" if suggestion else ""


def require_known(kind: str, name: str, known: Iterable[str], *, hint: str | None = None) -> str:
    """`name` when it is one of `known`.

    Raises:
        UsageError: Otherwise, with the nearest name or, where none is near, all of them.
    """
    names = sorted(known)
    if name in names:
        return name
    near = did_you_mean(name, names) or f"; known: {', '.join(names) or 'none'}"
    raise UsageError(f"unknown {kind} {quoted(name)}{near}", hint=hint)


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")
