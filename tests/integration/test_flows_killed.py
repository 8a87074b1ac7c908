"""A flow's launcher killed after any event: resuming gives the same ends, and what had ended does not run again."""

from __future__ import annotations

import shutil
from pathlib import Path

from architect_parallel.domain import RunResult, RunStatus
from architect_parallel.events import FlowMoved, RunExtended, WorkerFinished
from architect_parallel.flows.model import Demand
from architect_parallel.flows.plan import FlowConfig
from architect_parallel.flows.runner import resume_flow, run_flow
from architect_parallel.journal import Journal
from architect_parallel.system.git import open_repository

FLOW = """
states:
  a: {tool: bash, arguments: {command: "echo 1 >> log; echo A; exit 3"}, output: var(x), on-error: {3: p}}
  p:
    tool: parallel
    arguments:
      tasks:
        - {tool: bash, arguments: {command: "echo 2 >> log; exit 4"}, output: file(out)}
        - {tool: bash, arguments: {command: "echo 3 >> log; echo {{ x }}"}, output: var(y)}
    on-error: {4: loop}
  loop: {tool: for-each, arguments: {items: [b, c], as: i, goto: s}, next: wait}
  s: {tool: sub-flow, arguments: {workflow: inner, variables: {i: "{{ i }}"}}, output: var(z), next: loop}
  wait: {tool: pause, arguments: {seconds: 0.01}, next: end}
  end: {tool: bash, arguments: {command: "echo 6 >> log; echo {{ y }} {{ z }} {{ file(out) }}"}}
"""
INNER = """
variables: {i: none}
states:
  q: {tool: bash, arguments: {command: "echo {{ i }} >> log; echo in {{ i }}"}, output: var(output)}
"""
SAID = {1: "1", 2: "2", 3: "3", 4: "b", 5: "c", 6: "6"}
"""What each worker writes into the log, by its id."""


PARALLEL = """
states:
  p:
    tool: parallel
    arguments:
      max_parallel: 3
      tasks:
        - {tool: sub-flow, arguments: {workflow: middle, variables: {i: a}}, output: var(x)}
        - {tool: sub-flow, arguments: {workflow: steps, variables: {i: b}}, output: file(out)}
        - {tool: sub-flow, arguments: {workflow: steps, variables: {i: c, code: "3"}}, output: var(z)}
        - {tool: bash, arguments: {command: "echo d >> log"}}
    on-error: {3: end}
  end: {tool: bash, arguments: {command: "echo e >> log; echo {{ x }} {{ file(out) }} {{ z }}"}}
"""
MIDDLE = """
variables: {i: none}
states:
  two:
    tool: parallel
    arguments:
      tasks:
        - {tool: sub-flow, arguments: {workflow: steps, variables: {i: "{{ i }}1"}}, output: var(one)}
        - {tool: sub-flow, arguments: {workflow: steps, variables: {i: "{{ i }}2"}}, output: var(other)}
    next: last
  last: {tool: bash, arguments: {command: "echo {{ i }} >> log; echo {{ one }} {{ other }}"}, output: var(output)}
"""
STEPS = """
variables: {i: none, code: "0"}
states:
  f: {tool: bash, arguments: {command: "echo {{ i }}f >> log; echo {{ i }}"}, output: var(said), next: g}
  g: {tool: bash, arguments: {command: "echo {{ i }}g >> log; echo ={{ said }}; exit {{ code }}"}, output: var(output)}
"""
STEP = {
    "p-1 > two-1 > f": "a1f", "p-1 > two-1 > g": "a1g", "p-1 > two-2 > f": "a2f", "p-1 > two-2 > g": "a2g",
    "p-1 > last": "a", "p-2 > f": "bf", "p-2 > g": "bg", "p-3 > f": "cf", "p-3 > g": "cg", "p-4": "d", "end": "e",
}  # fmt: skip
"""What each worker of `PARALLEL` writes into the log, by its name."""


def nobody(demand: Demand) -> None:
    raise AssertionError(f"nobody is asked: {demand}")


def ends(result: RunResult) -> list[tuple[str, int | None, str]]:
    return [(each.name, each.exit_code, each.output) for each in result.results]


def test_a_flow_killed_after_any_event(checkout: Path) -> None:
    (checkout / "f.yaml").write_text(FLOW)
    (checkout / "inner.yaml").write_text(INNER)
    whole = run_flow(FlowConfig(file=checkout / "f.yaml", variables={}), checkout, nobody)
    assert (whole.status, len(whole.results)) == (RunStatus.SUCCESS, len(SAID))
    assert whole.results[-1].output == "A in c"
    assert sorted((checkout / "log").read_text().split()) == sorted(SAID.values())
    state_dir = open_repository(checkout).state_dir
    with Journal.open(state_dir) as journal:
        recorded = journal.recorded(whole.run_id)
    assert len(recorded) > 30

    for kept in range(1, len(recorded)):
        if isinstance(recorded[kept - 1].event, RunExtended):
            assert isinstance(recorded[kept].event, FlowMoved)
            continue  # the two are one transaction
        shutil.rmtree(state_dir)
        (checkout / "log").unlink(missing_ok=True)
        with Journal.open(state_dir) as journal:
            journal.append([(whole.run_id, each.worker_id, each.event) for each in recorded[:kept]])
        done = {each.worker_id for each in recorded[:kept] if isinstance(each.event, WorkerFinished)}
        result = resume_flow(checkout, whole.run_id, nobody)
        assert (result.status, ends(result)) == (RunStatus.SUCCESS, ends(whole)), f"killed after event {kept}"
        ran = (checkout / "log").read_text().split() if (checkout / "log").exists() else []
        assert sorted(ran) == sorted(said for worker_id, said in SAID.items() if worker_id not in done), kept


def test_flows_inside_parallel_killed_after_any_event(checkout: Path) -> None:
    for name, text in (("f", PARALLEL), ("middle", MIDDLE), ("steps", STEPS)):
        (checkout / f"{name}.yaml").write_text(text)
    whole = run_flow(FlowConfig(file=checkout / "f.yaml", variables={}), checkout, nobody)
    assert (whole.status, whole.results[-1].output) == (RunStatus.SUCCESS, "=a1 =a2 =b =c")
    assert {each.name: each.exit_code for each in whole.results} == {name: 3 * (name == "p-3 > g") for name in STEP}
    assert sorted((checkout / "log").read_text().split()) == sorted(STEP.values())
    state_dir = open_repository(checkout).state_dir
    with Journal.open(state_dir) as journal:
        recorded = journal.recorded(whole.run_id)

    points = [n for n, each in enumerate(recorded) if n and isinstance(each.event, WorkerFinished | FlowMoved)]
    for kept in [1, *(point + 1 for point in points), len(recorded) - 1]:
        shutil.rmtree(state_dir)
        (checkout / "log").unlink(missing_ok=True)
        with Journal.open(state_dir) as journal:
            journal.append([(whole.run_id, each.worker_id, each.event) for each in recorded[:kept]])
        ended = [each.event.result.name for each in recorded[:kept] if isinstance(each.event, WorkerFinished)]
        result = resume_flow(checkout, whole.run_id, nobody)
        assert (result.status, sorted(ends(result))) == (RunStatus.SUCCESS, sorted(ends(whole))), f"after event {kept}"
        ran = (checkout / "log").read_text().split() if (checkout / "log").exists() else []
        assert sorted(ran) == sorted(said for name, said in STEP.items() if name not in ended), kept
