"""The task graph: dependencies, a topological order, cycles, and the critical path. Pure.

A graph is a mapping from each name to the names it depends on, in the order of the file. That order is kept wherever
the dependencies leave a choice, so that the same file always gives the same plan. Nothing recurses, so a chain of ten
thousand tasks works.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

Dependencies = Mapping[T, Sequence[T]]
"""Name → the names that it depends on. Every dependency is a key, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain(Generic[T]):
    """Tasks that can only run one after another."""

    names: tuple[T, ...]
    weight: float
    """The sum of their weights."""


def cycles(graph: Dependencies[T], *, most: int = 20) -> list[tuple[T, ...]]:
    """Cycles that have no task in common. Each name depends on the next, and the last name is the first.

    >>> cycles({"a": ["c"], "b": ["a"], "c": ["b"], "d": ["a"]})
    [('a', 'c', 'b', 'a')]
    """
    rings: list[tuple[T, ...]] = []
    left: dict[T, Sequence[T]] = dict(graph)
    while len(rings) < most:
        for name in _sorted(left):
            del left[name]
        if not left:
            break
        left = {name: [dependency for dependency in wanted if dependency in left] for name, wanted in left.items()}
        path: dict[T, None] = {}
        name = next(iter(left))
        while name not in path:  # every name that is left depends on another one that is left
            path[name] = None
            name = left[name][0]
        walked = list(path)
        ring = walked[walked.index(name) :]
        rings.append((*ring, name))
        left = {other: [before for before in wanted if before not in ring] for other, wanted in left.items()}
        for member in ring:
            del left[member]
    return rings


def topological(graph: Dependencies[T]) -> tuple[T, ...]:
    """The names, each after its dependencies. Where several could be next, the first one of the file is.

    Raises:
        ValueError: There is a cycle.

    >>> topological({"tests": ["api", "ui"], "ui": ["design"], "api": ["design"], "design": []})
    ('design', 'ui', 'api', 'tests')
    """
    order = _sorted(graph)
    if len(order) < len(graph):
        raise ValueError("the graph has a cycle")
    return tuple(order)


def levels(graph: Dependencies[T]) -> tuple[tuple[T, ...], ...]:
    """The names by the length of the longest chain before them. They are for display: no task waits for a level.

    >>> levels({"a": [], "b": ["a"], "c": [], "d": ["b", "c"]})
    (('a', 'c'), ('b',), ('d',))
    """
    depth: dict[T, int] = {}
    for name in topological(graph):
        depth[name] = 1 + max((depth[dependency] for dependency in graph[name]), default=-1)
    steps: list[list[T]] = [[] for _ in range(1 + max(depth.values(), default=-1))]
    for name in graph:
        steps[depth[name]].append(name)
    return tuple(tuple(step) for step in steps)


def heights(graph: Dependencies[T]) -> dict[T, int]:
    """The length of the longest chain of dependents that begins with each name.

    >>> heights({"a": [], "b": ["a"], "c": ["b"], "d": []})
    {'a': 3, 'b': 2, 'c': 1, 'd': 1}
    """
    lengths = dict.fromkeys(graph, 1)
    for name in reversed(topological(graph)):
        for dependency in graph[name]:
            lengths[dependency] = max(lengths[dependency], lengths[name] + 1)
    return lengths


def critical_path(graph: Dependencies[T], weights: Mapping[T, float] | None = None) -> Chain[T]:
    """The heaviest chain: no run can be shorter, however many workers run at a time.

    Args:
        weights: The weight of each task, at least 0. `None` means that each weighs 1.

    >>> critical_path({"a": [], "b": ["a"], "c": []}, {"a": 1.0, "b": 2.0, "c": 2.5})
    Chain(names=('a', 'b'), weight=3.0)
    """
    total: dict[T, float] = {}
    before: dict[T, T | None] = {}
    for name in topological(graph):
        last = max(graph[name], key=lambda item: total[item], default=None)
        before[name] = last
        total[name] = (1.0 if weights is None else weights[name]) + (0.0 if last is None else total[last])
    if not total:
        return Chain(names=(), weight=0.0)
    end: T | None = max(total, key=lambda item: total[item])
    weight, path = total[end] if end is not None else 0.0, list[T]()
    while end is not None:
        path.append(end)
        end = before[end]
    return Chain(names=tuple(reversed(path)), weight=weight)


def closure(graph: Dependencies[T], names: Iterable[T]) -> set[T]:
    """`names` and all their dependencies, direct and indirect.

    >>> sorted(closure({"a": [], "b": ["a"], "c": ["b"]}, ["b"]))
    ['a', 'b']
    """
    closed: set[T] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in closed:
            closed.add(name)
            left += graph[name]
    return closed


def _sorted(graph: Dependencies[T]) -> list[T]:
    """Sort with Kahn's algorithm. The result lacks the names on a cycle, and all that depend on them."""
    place = {name: index for index, name in enumerate(graph)}
    names = list(graph)
    missing = {name: len(set(wanted)) for name, wanted in graph.items()}
    followers: dict[T, list[T]] = {name: [] for name in graph}
    for name, wanted in graph.items():
        for dependency in set(wanted):
            followers[dependency].append(name)
    ready = [place[name] for name, count in missing.items() if not count]
    heapq.heapify(ready)
    order: list[T] = []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for follower in followers[name]:
            missing[follower] -= 1
            if not missing[follower]:
                heapq.heappush(ready, place[follower])
    return order
