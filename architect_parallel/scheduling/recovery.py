"""Recovery of tasks of a spec whose own retries are used up. Pure.

Tasks with the same dependencies are a group: they began from the same state. A failed task is parked until the rest of
its group has ended, because only then is it known whether it failed alone. If all tasks of a group of two or more
failed alike, another attempt would fail alike too: the group is escalated to a person, with a briefing. Otherwise each
is tried again, with its error and the results of its group in the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from architect_parallel.domain import Status, WorkerResult, WorkerSpec
from architect_parallel.scheduling.retries import shape
from architect_parallel.text.quantities import show_cost, show_count
from architect_parallel.text.sanitize import one_line

QUOTED_CHARACTERS = 1000
"""The longest quotation of a prompt, an error or an output."""

Group = tuple[int, ...]
"""The identity of a group: the worker ids of its dependencies, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryGroup:
    """The parked workers of a group are tried again."""

    worker_ids: tuple[int, ...]
    ended: tuple[WorkerResult, ...]
    """The results of the whole group so far."""
    answer: str
    """The debugger's answer. Empty without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalateGroup:
    """All of a group failed alike: its workers end, and a person decides."""

    results: tuple[WorkerResult, ...]
    answer: str
    """The debugger's answer. Empty without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskDebugger:
    """The decision about a group needs an answer of the debugger first."""

    group: Group
    question: str


class GroupRecovery:
    """The workers that failed and wait for the rest of their group, and the decision about each group."""

    def __init__(self, specs: Iterable[WorkerSpec], *, has_debugger: bool) -> None:
        self.parked: dict[int, WorkerResult] = {}
        """Results of the failed workers that wait for their group, by worker id."""
        self._has_debugger = has_debugger
        self._groups: dict[Group, list[WorkerSpec]] = {}
        for spec in specs:
            if spec.recovery is not None:
                self._groups.setdefault(group_of(spec), []).append(spec)
        self._asked: dict[int, Group] = {}
        """Worker id of a debugger → the group that it is asked about."""
        self._answers: dict[Group, str] = {}
        self._escalated: list[Group] = []

    @property
    def answers(self) -> list[str]:
        """The debugger's answers about groups that were escalated."""
        return [text for group, text in self._answers.items() if group in self._escalated and text.strip()]

    def park(self, worker_id: int, result: WorkerResult) -> None:
        """Keep a failed worker until its group has ended."""
        self.parked[worker_id] = result

    def restore(self, spec: WorkerSpec, answer: str) -> None:
        """Note that an earlier launch escalated the group of `spec`, with the debugger's `answer`."""
        self._answers[group_of(spec)] = answer
        self._escalated.append(group_of(spec))

    def ask(self, debugger_id: int, group: Group) -> None:
        """Note that the debugger with this worker id is asked about a group."""
        self._asked[debugger_id] = group

    def answer(self, debugger_id: int, text: str) -> None:
        """Take the answer of a debugger. Empty text means that it had none."""
        self._answers[self._asked[debugger_id]] = text

    def decide(
        self, spec: WorkerSpec, end_of: Callable[[int], WorkerResult | None]
    ) -> RetryGroup | EscalateGroup | AskDebugger | None:
        """Decide about the group of `spec`, a worker or a debugger, once every worker of it has ended or is parked.

        Args:
            end_of: Returns the result of a worker, or `None` for one that has not ended.

        Returns:
            `None` where no decision is due.
        """
        group = self._asked.get(spec.worker_id, group_of(spec))
        members = self._groups.get(group, [])
        ends = {member.worker_id: end_of(member.worker_id) for member in members}
        parked = {worker_id: self.parked[worker_id] for worker_id in ends if worker_id in self.parked}
        if not parked or any(end is None and worker_id not in parked for worker_id, end in ends.items()):
            return None
        if self._has_debugger and len(parked) > 1 and group not in self._answers:
            if group in self._asked.values():
                return None
            return AskDebugger(group=group, question=question(members, list(parked.values())))
        for worker_id in parked:
            del self.parked[worker_id]
        answer = self._answers.get(group, "")
        if is_escalated(members, parked, related=says_related(answer)):
            self._escalated.append(group)
            return EscalateGroup(results=tuple(parked.values()), answer=answer)
        ended = (*parked.values(), *(end for end in ends.values() if end is not None))
        return RetryGroup(worker_ids=tuple(parked), ended=ended, answer=answer)


def group_of(spec: WorkerSpec) -> Group:
    """The recovery group of a worker: workers with the same dependencies."""
    return tuple(sorted(spec.dependencies))


def is_escalated(members: Sequence[WorkerSpec], failed: Mapping[int, WorkerResult], *, related: bool = False) -> bool:
    """Return whether a group is left to a person, instead of trying its failed workers again.

    Args:
        failed: The results of the workers that failed and have an attempt left, by worker id.
        related: The debugger says that the failures have one cause. It can only stop a group, never start one.
    """
    alike = related or len({shape(result.error) + str(result.reason) for result in failed.values()}) == 1
    escalates = all(spec.recovery is not None and spec.recovery.escalate for spec in members)
    return len(members) > 1 and len(failed) == len(members) and alike and escalates


def question(specs: Sequence[WorkerSpec], failed: Sequence[WorkerResult]) -> str:
    """The prompt for the debugger about the failures of a group."""
    prompts = {spec.worker_id: spec.prompt for spec in specs}
    lines = [
        "Several tasks of one run failed. Change nothing. Say in a few sentences what went wrong and what to do.",
        "",
    ]
    for result in failed:
        lines += [f"## {result.name}: {str(result.reason or result.status).replace('_', ' ')}"]
        lines.append(f"Asked: {one_line(prompts.get(result.worker_id, ''), QUOTED_CHARACTERS)}")
        if result.error:
            lines.append(f"Error: {one_line(result.error, QUOTED_CHARACTERS)}")
        if result.output.strip():
            lines.append(
                f"The end of what it said: {one_line(result.output.strip()[-QUOTED_CHARACTERS:], QUOTED_CHARACTERS)}"
            )
        lines.append("")
    lines.append("Do these failures have one cause? Your last line is `RELATED: yes` or `RELATED: no`.")
    return "\n".join(lines)


def says_related(answer: str) -> bool:
    """Return whether the debugger's last line says that the failures are related.

    >>> says_related("no disk\\nRELATED: yes"), says_related("RELATED: yes\\nor not")
    (True, False)
    """
    lines = answer.strip().splitlines()
    return bool(lines) and re.fullmatch(r"\W*related:\W*yes\W*", lines[-1], re.IGNORECASE) is not None


def debugger_words(result: WorkerResult) -> str:
    """The warning that shows a debugger's answer and its cost."""
    cost = show_cost(result.cost)
    if result.status is not Status.SUCCESS or not result.output.strip():
        why = one_line(result.error or str(result.reason or result.status), 300)
        return f"the debugger had no answer: {why} ({cost})"
    return f"the debugger says: {one_line(result.output.strip(), 500)} ({cost})"


def results_of_others(worker_id: int, ended: Sequence[WorkerResult]) -> str:
    """The results of the others of a group, as the end of a refined prompt. Empty without others."""
    lines = []
    for result in ended:
        if result.worker_id == worker_id:
            continue
        quoted = one_line(
            result.output if result.status is Status.SUCCESS else result.error or result.output, QUOTED_CHARACTERS
        )
        lines.append(f"- {result.name} ended as {result.status}" + (f": {quoted}" if quoted else ""))
    return "\n".join(["", "", "What the other tasks found:", *lines]) if lines else ""


def briefing(
    specs: Sequence[WorkerSpec], results: Sequence[WorkerResult], run_id: str, answers: Sequence[str] = ()
) -> str:
    """The text for the person who decides about groups that failed alike: the tasks, the attempts, the choices.

    Args:
        answers: The debugger's answers.
    """
    names = ", ".join(result.name for result in results)
    lines = [f"{names} failed alike, so none of them was tried again.", "", "What was asked:"]
    lines += [f"- {spec.name}: {one_line(spec.prompt, 200)}" for spec in specs]
    lines += ["", "What was tried:"]
    for result in results:
        tried = show_count(result.attempts, "attempt")
        error = one_line(result.error or "", 300) or str(result.reason or result.status).replace("_", " ")
        lines.append(f"- {result.name} (worker {result.worker_id}), {tried}: {error}")
    for answer in answers:
        lines += ["", "What the debugger said:", answer.strip()[:QUOTED_CHARACTERS]]
    lines += ["", "The choices:"]
    lines.append(f"- read the log: architect logs {run_id} {results[0].worker_id}")
    lines.append(f"- fix the common cause (a login, a tool, the base commit), then: architect resume {run_id}")
    lines.append("- change the tasks, or remove them, and run the spec again")
    return "\n".join(lines)
