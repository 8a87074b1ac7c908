"""The wait before another attempt. Pure: the caller supplies the random number."""

from __future__ import annotations

FIRST_S = 1.0
"""The longest wait after the first failure. It doubles with each further failure."""
LONGEST_S = 60.0
"""The longest wait without a provider's word. A provider may ask for more."""


def delay_s(failures: int, random: float, *, at_least_s: float = 0.0) -> float:
    """The seconds to wait after the `failures`-th failure in a row.

    Half of the wait is fixed and half is jitter, so that workers refused together do not come back together. The
    provider's own wait (`at_least_s`) is added: no worker comes back early, and not all come back at that moment.

    Args:
        failures: Counted from 1.
        random: A number from 0 (included) to 1.

    >>> [delay_s(n, 0.5) for n in (1, 2, 3, 20)]
    [0.75, 1.5, 3.0, 45.0]
    >>> delay_s(1, 0.5, at_least_s=10.0)
    10.75
    """
    span = min(LONGEST_S, FIRST_S * 2.0 ** min(failures - 1, 30))
    if at_least_s > 0:
        span = min(span, max(FIRST_S, at_least_s))
    return at_least_s + span * (0.5 + random / 2)
