"""Which results can be combined: the largest set that merges cleanly, and an order for the rest. Pure.

Exact up to `EXACT_UP_TO` results, by branch and bound. Above, results are taken greedily, those with the fewest
conflicts first. Clean in pairs does not mean clean together: whoever merges tells what went wrong together, and
`propose` is asked again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

EXACT_UP_TO = 20


def propose(
    workers: Sequence[int],
    conflicts: Mapping[int, Collection[int]],
    *,
    excluded: Collection[int] = (),
    apart: Iterable[frozenset[int]] = (),
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The largest set without a conflict, and an order for all.

    >>> propose([1, 2, 3, 4], {1: {2}, 2: {1, 3}, 3: {2}})
    ((1, 3, 4), (1, 3, 4, 2))

    Args:
        workers: Ids, the preferred first: among sets of one size the one with the preferred workers is taken.
        conflicts: Worker → those it conflicts with. Symmetric.
        excluded: Workers that conflict with the target.
        apart: Sets that do not merge cleanly though each pair of them does.

    Returns:
        The proposed set in the order to merge, which is that of `workers`. Then all workers: the proposed ones, and
        the rest, those with the fewest conflicts with the proposed ones first.
    """
    candidates = [worker for worker in workers if worker not in excluded]
    positions = {worker: position for position, worker in enumerate(candidates)}
    against = [0] * len(candidates)
    for worker, position in positions.items():
        for other in conflicts.get(worker, ()):
            if other in positions:
                against[position] |= 1 << positions[other]
    forbidden = [
        sum(1 << positions[worker] for worker in group) for group in apart if all(item in positions for item in group)
    ]
    chosen = _largest(against, forbidden) if len(candidates) <= EXACT_UP_TO else _greedy(against, forbidden)
    proposed = tuple(worker for position, worker in enumerate(candidates) if chosen >> position & 1)
    rest = [worker for worker in workers if worker not in proposed]

    def difficulty(worker: int) -> tuple[bool, int, int]:
        others = conflicts.get(worker, ())
        return worker in excluded, len(set(others) & set(proposed)), len(others)

    return proposed, (*proposed, *sorted(rest, key=difficulty))


def _largest(against: Sequence[int], forbidden: Sequence[int]) -> int:
    """The largest set as bits. Among equals the one that has the first position where they differ."""
    best = 0

    def grow(taken: int, candidates: int) -> None:
        nonlocal best
        if taken.bit_count() + candidates.bit_count() <= best.bit_count():
            return
        if not candidates:
            best = taken
            return
        lowest = candidates & -candidates
        position = lowest.bit_length() - 1
        rest = candidates ^ lowest
        if not any(group & (taken | lowest) == group for group in forbidden):
            grow(taken | lowest, rest & ~against[position])
        # Without a conflict among those left and no group to mind, leaving it out cannot be better.
        if against[position] & rest or any(group & lowest for group in forbidden):
            grow(taken, rest)

    grow(0, (1 << len(against)) - 1)
    return best


def _greedy(against: Sequence[int], forbidden: Sequence[int]) -> int:
    taken = 0
    for position in sorted(range(len(against)), key=lambda item: (against[item].bit_count(), item)):
        bit = 1 << position
        if not against[position] & taken and not any(group & (taken | bit) == group for group in forbidden):
            taken |= bit
    return taken
