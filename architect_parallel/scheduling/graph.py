"""The one task graph: who waits for whom, in what order, and which chain decides how long it takes. Pure.

A graph is a mapping from each name to the names it depends on, in the order in which they were written. That order is
kept wherever the dependencies leave a choice, so that the same file always gives the same plan. Nothing recurses: a
chain of ten thousand tasks is as good as any.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

Dependencies = Mapping[T, Sequence[T]]
"""Name → what it depends on; every name that is depended on is a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain(Generic[T]):
    """Tasks that can only run one after another."""

    names: tuple[T, ...]
    weight: float
    """The sum of their weights."""


def cycles(graph: Dependencies[T], *, most: int = 20) -> list[tuple[T, ...]]:
    """Cycles that have to be broken, no two with a task in common; each name waits for the next, the last is the first.

    >>> cycles({"a": ["c"], "b": ["a"], "c": ["b"], "d": ["a"]})
    [('a', 'c', 'b', 'a')]
    """
    found: list[tuple[T, ...]] = []
    left: dict[T, Sequence[T]] = dict(graph)
    while len(found) < most:
        for name in _sorted(left):
            del left[name]
        if not left:
            break
        left = {name: [each for each in wanted if each in left] for name, wanted in left.items()}
        path: dict[T, None] = {}
        name = next(iter(left))
        while name not in path:  # each that is left waits for another one that is
            path[name] = None
            name = left[name][0]
        walked = list(path)
        ring = walked[walked.index(name) :]
        found.append((*ring, name))
        left = {each: [other for other in wanted if other not in ring] for each, wanted in left.items()}
        for each in ring:
            del left[each]
    return found


def topological(graph: Dependencies[T]) -> tuple[T, ...]:
    """The names, each after all it depends on; among those that could come next the one written first.

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
    """The names by the length of the longest chain before them: for people, nobody waits for a level.

    >>> levels({"a": [], "b": ["a"], "c": [], "d": ["b", "c"]})
    (('a', 'c'), ('b',), ('d',))
    """
    depth: dict[T, int] = {}
    for name in topological(graph):
        depth[name] = 1 + max((depth[each] for each in graph[name]), default=-1)
    found: list[list[T]] = [[] for _ in range(1 + max(depth.values(), default=-1))]
    for name in graph:
        found[depth[name]].append(name)
    return tuple(tuple(each) for each in found)


def heights(graph: Dependencies[T]) -> dict[T, int]:
    """How many tasks stand on the longest chain that waits for each, itself included.

    >>> heights({"a": [], "b": ["a"], "c": ["b"], "d": []})
    {'a': 3, 'b': 2, 'c': 1, 'd': 1}
    """
    found = dict.fromkeys(graph, 1)
    for name in reversed(topological(graph)):
        for each in graph[name]:
            found[each] = max(found[each], found[name] + 1)
    return found


def critical_path(graph: Dependencies[T], weights: Mapping[T, float] | None = None) -> Chain[T]:
    """The heaviest chain: with places enough no run can be shorter.

    Args:
        weights: Of each task, at least 0; `None`: each weighs 1.

    >>> critical_path({"a": [], "b": ["a"], "c": []}, {"a": 1.0, "b": 2.0, "c": 2.5})
    Chain(names=('a', 'b'), weight=3.0)
    """
    total: dict[T, float] = {}
    before: dict[T, T | None] = {}
    for name in topological(graph):
        last = max(graph[name], key=lambda each: total[each], default=None)
        before[name] = last
        total[name] = (1.0 if weights is None else weights[name]) + (0.0 if last is None else total[last])
    if not total:
        return Chain(names=(), weight=0.0)
    end: T | None = max(total, key=lambda each: total[each])
    weight, path = total[end] if end is not None else 0.0, list[T]()
    while end is not None:
        path.append(end)
        end = before[end]
    return Chain(names=tuple(reversed(path)), weight=weight)


def closure(graph: Dependencies[T], names: Iterable[T]) -> set[T]:
    """`names` and all they depend on, directly or not.

    >>> sorted(closure({"a": [], "b": ["a"], "c": ["b"]}, ["b"]))
    ['a', 'b']
    """
    found: set[T] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += graph[name]
    return found


def _sorted(graph: Dependencies[T]) -> list[T]:
    """Kahn's algorithm; what hangs on a cycle is missing."""
    place = {name: index for index, name in enumerate(graph)}
    names = list(graph)
    missing = {name: len(set(wanted)) for name, wanted in graph.items()}
    followers: dict[T, list[T]] = {name: [] for name in graph}
    for name, wanted in graph.items():
        for each in set(wanted):
            followers[each].append(name)
    ready = [place[name] for name, count in missing.items() if not count]
    heapq.heapify(ready)
    order: list[T] = []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for each in followers[name]:
            missing[each] -= 1
            if not missing[each]:
                heapq.heappush(ready, place[each])
    return order
