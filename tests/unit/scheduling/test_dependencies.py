"""Runs of random graphs on a made-up clock: who starts when, who is skipped, who is tried again, and who ends how."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from support.dispatching import dispatch, ended, graphs, own_end, results_of, spec

from architect_parallel.domain import OnPartial, Reason, Recovery, Retry, Role, Status, WorkerSpec
from architect_parallel.events import AttemptEnded, WorkerFinished
from architect_parallel.scheduling.scheduler import Scheduler


class Story:
    """What happened in one run."""

    def __init__(self, queue: Scheduler, dice: random.Random, kinds: list[str], at_once: int) -> None:
        self.ends: dict[int, Status] = {}
        self.starts: list[tuple[WorkerSpec, frozenset[int]]] = []
        """With who had ended by then."""
        self.attempts = Counter[int]()
        self.most_at_once = 0
        now_s, running, moves = 0.0, list[tuple[float, int, WorkerSpec]](), iter(kinds)
        while queue.unfinished:
            found = queue.next(now_s)
            if found.index is not None:
                started = queue.begin(found.index, now_s)
                self.starts.append((started, frozenset(self.ends)))
                self.attempts[started.worker_id] += 1
                heapq.heappush(running, (now_s + dice.random(), started.worker_id, started))
                self.most_at_once = max(self.most_at_once, len(running))
                continue
            if not running:
                assert found.at_s > now_s, "nothing runs, nothing may start, and no time will change that"
                now_s = found.at_s
                continue
            if found.at_s < running[0][0]:
                now_s = found.at_s
                continue
            now_s, worker_id, started = heapq.heappop(running)
            kind = next(moves, "good")
            reason, status = {
                "good": (Reason.COMPLETED, Status.SUCCESS), "partial": (Reason.BUDGET, Status.PARTIAL),
                "refused": (Reason.RATE_LIMITED, Status.FAILED),
            }.get(kind, (Reason.AGENT_ERROR, Status.FAILED))  # fmt: skip
            end = ended(started, reason, status)
            end = replace(end, result=replace(end.result, error=kind))
            entries = queue.ended(worker_id, end, now_s, stopping=False)
            assert isinstance(own_end(entries, worker_id), AttemptEnded | WorkerFinished)
            for result in results_of(entries):
                self._end(result.worker_id, result.status)

    def _end(self, worker_id: int, status: Status) -> None:
        assert worker_id not in self.ends, "a worker ended twice"
        self.ends[worker_id] = status


@given(
    specs=graphs(),
    kinds=st.lists(st.sampled_from(["good", "good", "partial", "error a", "error b", "refused"]), max_size=40),
    at_once=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_nobody_starts_early_and_everybody_ends_once(
    specs: list[WorkerSpec], kinds: list[str], at_once: int, seed: int
) -> None:
    story = Story(dispatch(*specs, at_once=at_once), random.Random(seed), kinds, at_once)
    assert story.ends.keys() == {each.worker_id for each in specs}
    assert story.most_at_once <= at_once
    for started, before in story.starts:
        assert before.issuperset(started.dependencies)
        if started.on_partial is OnPartial.SKIP:
            assert all(story.ends[each] is Status.SUCCESS for each in started.dependencies)
    for each in specs:
        failed = [story.ends[needed] for needed in each.dependencies if story.ends[needed] is not Status.SUCCESS]
        skipped = bool(failed) and each.on_partial is OnPartial.SKIP
        assert (story.ends[each.worker_id] is Status.SKIPPED) == skipped
        assert (each.worker_id in story.attempts) == (not skipped)


def play(
    *specs: WorkerSpec, kinds: dict[int, list[str]], debugger: str | None = None
) -> tuple[dict[int, Status], list[WorkerSpec], Scheduler]:
    """Everything that may start does, and then ends in the order in which it started; a debugger answers `debugger`."""
    queue = dispatch(*specs, debugger=None if debugger is None else spec(99, name="debugger"))
    ends: dict[int, Status] = {}
    starts: list[WorkerSpec] = []
    now_s = 0.0
    while queue.unfinished:
        now_s += 100
        batch = []
        while (found := queue.next(now_s)).index is not None:
            batch.append(queue.begin(found.index, now_s))
        starts += batch
        assert batch, "it stands still"
        for each in batch:
            word = kinds.get(each.worker_id, []).pop(0) if kinds.get(each.worker_id) else ""
            good = (Reason.COMPLETED, Status.SUCCESS)
            end = ended(each, *((Reason.AGENT_ERROR, Status.FAILED) if word else good))
            said = (debugger or "") if queue.role_of(each.worker_id) is Role.DEBUGGER else ""
            end = replace(end, result=replace(end.result, name=each.name, error=word or None, output=said))
            entries = queue.ended(each.worker_id, end, now_s, stopping=False)
            ends |= {result.worker_id: result.status for result in results_of(entries)}
    return ends, starts, queue


def test_a_task_that_failed_alone_is_tried_again_and_told_what_others_found() -> None:
    one, other = (spec(number, name=f"t{number}", recovery=Recovery()) for number in (1, 2))
    ends, starts, queue = play(one, other, kinds={1: ["no such file x"]})
    assert ends == {1: Status.SUCCESS, 2: Status.SUCCESS}
    assert "no such file x" in starts[-1].lesson
    assert "t2 ended as success" in starts[-1].lesson
    assert not queue.given_up


def test_a_group_that_failed_alike_is_left_to_a_person_and_nothing_of_it_is_tried_again() -> None:
    group = [spec(number, recovery=Recovery()) for number in (1, 2, 3)]
    after = spec(4, dependencies=(1,), recovery=Recovery())
    ends, starts, queue = play(*group, after, kinds={1: ["port 80 taken"], 2: ["port 81 taken"], 3: ["port 82 taken"]})
    assert ends == {1: Status.FAILED, 2: Status.FAILED, 3: Status.FAILED, 4: Status.SKIPPED}
    assert [each.worker_id for each in starts] == [1, 2, 3]
    assert [each.worker_id for each in queue.given_up] == [1, 2, 3]


def test_a_group_that_failed_each_in_its_own_way_is_tried_again() -> None:
    group = [spec(number, recovery=Recovery()) for number in (1, 2)]
    ends, starts, queue = play(*group, kinds={1: ["no login"], 2: ["no disk", "no disk"]})
    assert ends == {1: Status.SUCCESS, 2: Status.FAILED}
    assert [each.worker_id for each in starts] == [1, 2, 1, 2]
    assert not queue.given_up


def test_a_debugger_is_asked_when_several_fail_and_its_word_can_only_stop() -> None:
    group = [spec(number, name=f"t{number}", recovery=Recovery()) for number in (1, 2)]
    failures = {1: ["no login"], 2: ["no disk"]}

    ends, starts, queue = play(*group, kinds={k: [*v] for k, v in failures.items()}, debugger="moon\nRELATED: no")
    assert ends == {1: Status.SUCCESS, 2: Status.SUCCESS}
    asked = starts[2]
    assert queue.role_of(asked.worker_id) is Role.DEBUGGER
    assert "no login" in asked.prompt
    assert "no disk" in asked.prompt
    assert all("moon" in each.lesson for each in starts[3:])

    ends, starts, queue = play(*group, kinds={k: [*v] for k, v in failures.items()}, debugger="tide\nRELATED: yes")
    assert ends == {1: Status.FAILED, 2: Status.FAILED}
    assert queue.answers == ["tide\nRELATED: yes"]

    ends, starts, queue = play(*group, kinds={1: ["same"], 2: ["same"]}, debugger="all is well\nRELATED: no")
    assert ends == {1: Status.FAILED, 2: Status.FAILED}

    ends, starts, _ = play(*group, kinds={1: ["alone"]}, debugger="nobody asks")
    assert [each.worker_id for each in starts] == [1, 2, 1]


def test_the_same_error_twice_ends_recovery() -> None:
    often = spec(1, recovery=Recovery(retries=5))
    ends, starts, _ = play(often, kinds={1: ["pid 7 died", "pid 9 died", "other", "never seen"]})
    assert ends == {1: Status.FAILED}
    assert len(starts) == 2


def test_retry_goes_before_recovery_and_repeats_any_failure() -> None:
    once = spec(1, retry=Retry(max_attempts=3), recovery=Recovery())
    ends, starts, _ = play(once, kinds={1: ["a", "a", "a", ""]})
    assert ends == {1: Status.SUCCESS}
    assert [bool(each.lesson) for each in starts] == [False, False, False, True]


def test_the_longest_chain_goes_first_and_without_dependencies_the_order_stays() -> None:
    chain = [spec(1), spec(2), spec(3, dependencies=(2,)), spec(4, dependencies=(3,))]
    queue = dispatch(*chain, at_once=1)
    assert [each.spec.worker_id for each in queue.waiting] == [2, 1]
    assert [each.spec.worker_id for each in dispatch(*(spec(n) for n in range(1, 5))).waiting] == [1, 2, 3, 4]


def test_a_worker_that_is_dropped_while_held_takes_its_dependents_along() -> None:
    queue = dispatch(spec(1), spec(2, name="b", dependencies=(1,)), spec(3, dependencies=(2,)))
    dropped, result = results_of(queue.cancel(2))
    assert dropped.status is Status.CANCELED
    assert (result.worker_id, result.status, result.error) == (
        3, Status.SKIPPED, "it depends on b, which did not succeed",
    )  # fmt: skip
    assert [each.spec.worker_id for each in queue.waiting] == [1]
