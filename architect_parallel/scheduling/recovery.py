"""What is tried after a task of a spec has failed for good. Pure.

Tasks with the same dependencies are a group: they began from the same state. A failed one waits until the rest of its
group has ended, because only then can be seen whether it failed alone. If all of a group of two or more failed alike,
another try would fail alike too, several times over: they are left to a person, with a briefing. Otherwise each is
tried again, told of its error and of what the others of its group found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from architect_parallel.domain import Status, WorkerResult, WorkerSpec
from architect_parallel.text.quantities import show_cost, show_count
from architect_parallel.text.sanitize import one_line

TOLD_CHARACTERS = 1000
"""Of each other task's words, how much a further attempt is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of a group that has ended."""

    again: tuple[int, ...] = ()
    """Ids of those that are tried again."""
    given_up: tuple[int, ...] = ()
    """Ids of those that are left to a person."""


def group_of(spec: WorkerSpec) -> tuple[int, ...]:
    """What tells the group of a worker: those it began after."""
    return tuple(sorted(spec.dependencies))


def decide_group(group: Sequence[WorkerSpec], failed: Mapping[int, WorkerResult], *, related: bool = False) -> Decision:
    """What becomes of the members of a group that failed and may be tried again.

    Args:
        group: All members.
        failed: Result by worker id of those that failed and have a further attempt left.
        related: The debugger says that their failures have one cause: a word that can only stop, never start anything.
    """
    alike = related or len({shape(each.error) + str(each.reason) for each in failed.values()}) == 1
    escalates = all(spec.recovery is not None and spec.recovery.escalate for spec in group)
    if len(group) > 1 and len(failed) == len(group) and alike and escalates:
        return Decision(given_up=tuple(failed))
    return Decision(again=tuple(failed))


def question(specs: Sequence[WorkerSpec], failed: Sequence[WorkerResult]) -> str:
    """What the debugger is asked of the failures of a group."""
    asked = {spec.worker_id: spec.prompt for spec in specs}
    lines = [
        "Several tasks of one run failed. Change nothing; say in a few sentences what went wrong and what to do.",
        "",
    ]
    for each in failed:
        lines += [f"## {each.name}: {str(each.reason or each.status).replace('_', ' ')}"]
        lines.append(f"Asked: {one_line(asked.get(each.worker_id, ''), TOLD_CHARACTERS)}")
        if each.error:
            lines.append(f"Error: {one_line(each.error, TOLD_CHARACTERS)}")
        if each.output.strip():
            lines.append(
                f"The end of what it said: {one_line(each.output.strip()[-TOLD_CHARACTERS:], TOLD_CHARACTERS)}"
            )
        lines.append("")
    lines.append("Do these failures have one cause? Your last line is `RELATED: yes` or `RELATED: no`.")
    return "\n".join(lines)


def says_related(answer: str) -> bool:
    """Whether the debugger's last line says so.

    >>> says_related("no disk\\nRELATED: yes"), says_related("RELATED: yes\\nor not")
    (True, False)
    """
    lines = answer.strip().splitlines()
    return bool(lines) and re.fullmatch(r"\W*related:\W*yes\W*", lines[-1], re.IGNORECASE) is not None


def debugger_words(result: WorkerResult) -> str:
    """What people are told of a debugger's run, its cost included."""
    cost = show_cost(result.cost)
    if result.status is not Status.SUCCESS or not result.output.strip():
        why = one_line(result.error or str(result.reason or result.status), 300)
        return f"the debugger had no answer: {why} ({cost})"
    return f"the debugger says: {one_line(result.output.strip(), 500)} ({cost})"


def found_by_others(worker_id: int, ended: Sequence[WorkerResult]) -> str:
    """What the others of a group found, as the end of a refined prompt; empty: there is nobody else."""
    lines = []
    for each in ended:
        if each.worker_id == worker_id:
            continue
        said = one_line(each.output if each.status is Status.SUCCESS else each.error or each.output, TOLD_CHARACTERS)
        lines.append(f"- {each.name} ended as {each.status}" + (f": {said}" if said else ""))
    return "\n".join(["", "", "What the tasks beside this one found:", *lines]) if lines else ""


def briefing(
    specs: Sequence[WorkerSpec], results: Sequence[WorkerResult], run_id: str, answers: Sequence[str] = ()
) -> str:
    """For the person a group of tasks that failed alike is left to: what was asked, what was tried, the choices.

    Args:
        answers: What the debugger said.
    """
    names = ", ".join(each.name for each in results)
    lines = [f"{names} failed alike, so nothing was tried again side by side.", "", "What was asked:"]
    lines += [f"- {spec.name}: {one_line(spec.prompt, 200)}" for spec in specs]
    lines += ["", "What was tried:"]
    for each in results:
        tried = show_count(each.attempts, "attempt")
        error = one_line(each.error or "", 300) or str(each.reason or each.status).replace("_", " ")
        lines.append(f"- {each.name} (worker {each.worker_id}), {tried}: {error}")
    for answer in answers:
        lines += ["", "What the debugger said:", answer.strip()[:TOLD_CHARACTERS]]
    lines += ["", "The choices:"]
    lines.append(f"- look: architect logs {run_id} {results[0].worker_id}")
    lines.append(f"- mend what they share (a login, a tool, the base commit), then: architect resume {run_id}")
    lines.append("- change what is asked, or drop it, and run the spec anew")
    return "\n".join(lines)


def shape(error: str | None) -> str:
    """An error without its figures: times and process ids differ where the failure is the same.

    >>> shape("exit code 3 after 12 s") == shape("exit code 3 after 7 s")
    True
    """
    return re.sub(r"\d+", "#", error or "")
