"""Flows inside `parallel`: each goes its own way, its end is its task's, and a snapshot is all of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from architect_parallel.flows.instance import FlowChanged, Instance
from architect_parallel.flows.machine import Machine
from architect_parallel.flows.model import Destination, Done, Ended, Flow, FlowFault, FlowState, FlowTask, Jobs, Kind


def read(kind: str, path: str) -> str:
    return f"<{kind} {path}>"


def bash(command: str) -> FlowTask:
    return FlowTask(tool="bash", arguments={"command": command})


def calls(workflow: str, out: Destination | None = None, **variables: str) -> FlowTask:
    return FlowTask(tool="sub-flow", arguments={"workflow": workflow, "variables": variables}, output=out)


def var(name: str) -> Destination:
    return Destination(Kind.VAR, name)


def flow(*states: FlowState, flows: dict[str, Flow] | None = None, **variables: str) -> Flow:
    named = {each.name: each for each in states}
    return Flow(name="test", start_at=states[0].name, states=named, variables=variables, flows=flows or {})


def parallel(*tasks: FlowTask, to: str | None = None, most: int | None = None, **on_error: str) -> FlowState:
    arguments = {} if most is None else {"max_parallel": most}
    task = FlowTask(tool="parallel", arguments=arguments, tasks=tasks)
    return FlowState(name="p", task=task, next=to, on_error={key.lstrip("c"): on_error[key] for key in on_error})


STEPS = flow(
    FlowState(name="a", task=FlowTask(tool="claude", arguments={"prompt": "a {{ x }}"}, output=var("said")), next="b"),
    FlowState(name="b", task=FlowTask(tool="bash", arguments={"command": "{{ said }}"}, output=var("output"))),
    x="own",
)


class Course:
    """Drives an instance by the names of its jobs."""

    def __init__(self, whole: Flow, *, saving: bool = False) -> None:
        self.flow, self.whole, self.saving = Instance(Machine(whole, read), read), whole, saving
        self.ends: dict[int, Done] = {}
        self.names: list[str] = []
        """Of the jobs in the order they began; the id of a worker is its place in here."""
        self.written: dict[str, str] = {}
        self.begin()

    def begin(self) -> None:
        while True:
            if self.saving:
                saved = json.loads(json.dumps(self.flow.snapshot()))
                self.flow = Instance.restore(self.whole, read, saved)
            self.flow.go_on(self.ends.get, lambda: self.written.__setitem__)
            waiting = [each for each in self.flow.instances() if each.jobs and not each.workers]
            for each in waiting:
                assert each.jobs is not None
                first, count = len(self.names), len(each.jobs.jobs)
                self.names += [f"{each.jobs.state}#{n}" if count > 1 else each.jobs.state for n in range(count)]
                each.begin(range(first, first + count))
            if not waiting:
                return

    def job(self, name: str) -> Jobs:
        (found,) = (each.jobs for each in self.flow.instances() if each.jobs and each.jobs.state == name)
        return found

    @property
    def running(self) -> list[str]:
        return sorted(self.names[n] for each in self.flow.instances() for n in each.workers if n not in self.ends)

    def end(self, name: str, code: int = 0, output: str = "") -> None:
        worker = max(n for n, known in enumerate(self.names) if known == name)
        self.ends[worker] = Done(exit_code=code, output=output)
        self.begin()


@pytest.mark.parametrize("saving", [False, True], ids=["as it runs", "restored at each step"])
def test_three_instances_go_their_own_ways_with_variables_exit_codes_and_outputs_of_their_own(saving: bool) -> None:
    whole = flow(
        parallel(
            calls("s", var("one"), x="1"), calls("s", Destination(Kind.FILE, "two"), x="{{ y }}"), calls("s"), c7="e"
        ),
        FlowState(name="e", task=bash("{{ one }}")),
        flows={"s": STEPS}, y="2",
    )  # fmt: skip
    course = Course(whole, saving=saving)
    assert course.running == ["p-1 > a", "p-2 > a", "p-3 > a"]
    first = course.job("p-2 > a").jobs[0]
    assert (first.arguments["prompt"], first.isolated) == ("a 2", True)  # as a task of `parallel`
    assert course.job("p-3 > a").jobs[0].arguments["prompt"] == "a own"
    course.end("p-2 > a", output="from 2")
    assert course.running == ["p-1 > a", "p-2 > b", "p-3 > a"]  # it waits for nobody
    assert course.job("p-2 > b").jobs[0].values == {"{{ said }}": "from 2"}
    course.end("p-2 > b", 7, output=" late ")
    course.end("p-1 > a", output="from 1")
    course.end("p-1 > b", output="well")
    course.end("p-3 > a", 5)
    assert course.running == ["e"]  # 7 is the first failing in list order
    assert course.job("e").jobs[0].values == {"{{ one }}": "well"}
    assert course.written == {"two": "late\n"}
    course.end("e")
    assert course.flow.demanded == Ended(exit_code=0, state="e")
    assert course.names == ["p-1 > a", "p-2 > a", "p-3 > a", "p-2 > b", "p-1 > b", "e"]  # none began twice


@pytest.mark.parametrize("saving", [False, True], ids=["as it runs", "restored at each step"])
def test_nested_and_limited_beside_plain_tasks(saving: bool) -> None:
    middle = flow(
        parallel(calls("s", x="in"), bash("{{ z }}"), most=1, to="q"),
        FlowState(name="q", task=calls("s")), flows={"s": STEPS}, z="zed",
    )  # fmt: skip
    whole = flow(parallel(calls("m"), bash("x"), bash("y"), most=2), flows={"m": middle})
    course = Course(whole, saving=saving)
    assert course.running == ["p-1 > p-1 > a", "p-2"]
    course.end("p-2")
    assert course.running == ["p-1 > p-1 > a", "p-3"]
    course.end("p-1 > p-1 > a")
    course.end("p-1 > p-1 > b")
    assert course.running == ["p-1 > p-2", "p-3"]
    assert course.job("p-1 > p-2").jobs[0].values == {"{{ z }}": "zed"}
    course.end("p-3", 4)
    course.end("p-1 > p-2")
    course.end("p-1 > q > a")
    course.end("p-1 > q > b")
    assert course.flow.demanded == Ended(exit_code=4, state="p")


def test_what_cannot_begin_is_a_failure_of_its_own_instance_and_says_why() -> None:
    def missing(kind: str, path: str) -> str:
        raise FlowFault(f"there is no file {path}")

    inner = flow(FlowState(name="a", task=bash("{{ file(none) }}")))
    whole = flow(parallel(calls("i"), bash("x")), flows={"i": inner})
    instance = Instance(Machine(whole, missing), missing)
    instance.go_on(lambda worker_id: None, lambda: lambda path, text: None)
    (beside,) = (each for each in instance.instances() if each.jobs)
    beside.begin([1])
    instance.go_on(lambda worker_id: Done(exit_code=0), lambda: lambda path, text: None)
    assert instance.demanded == Ended(exit_code=1, state="p", message="p-1 > a: there is no file none")


def test_a_snapshot_holds_a_failed_instance_before_its_failure_and_an_ended_one_at_its_end() -> None:
    whole = flow(parallel(calls("s", x="1"), calls("s", x="2"), bash("x")), flows={"s": STEPS})
    course = Course(whole)
    course.end("p-1 > a")
    course.end("p-1 > b", output="done")
    course.end("p-2 > a", 3)
    saved = json.loads(json.dumps(course.flow.snapshot()))
    assert saved["inner"][0] == {"output": "done"}
    later = Instance.restore(whole, read, saved)
    later.go_on(lambda worker_id: None, lambda: lambda path, text: None)
    assert [(each.jobs.state, each.workers) for each in later.instances() if each.jobs] == [
        ("p-2 > a", (1,)),
        ("p-3", (2,)),
    ]
    for changed in (
        flow(parallel(calls("s", x="1"), bash("x")), flows={"s": STEPS}),  # another number of tasks
        flow(FlowState(name="p", task=bash("x")), flows={"s": STEPS}),  # another tool
    ):
        with pytest.raises(FlowChanged):
            Instance.restore(changed, read, saved)
    renamed = flow(whole.states["p"], flows={"s": flow(FlowState(name="z", task=bash("x")))})
    with pytest.raises(KeyError):
        Instance.restore(renamed, read, saved)


@given(
    order=st.lists(st.integers(0, 50), min_size=60, max_size=60),
    codes=st.lists(st.integers(0, 2), min_size=60, max_size=60),
)
def test_restored_at_any_point_it_goes_the_same_way(order: list[int], codes: list[int]) -> None:
    middle = flow(parallel(calls("s"), calls("s"), most=1), flows={"s": STEPS})
    whole = flow(
        parallel(calls("m"), calls("s"), bash("x"), c1="e"),
        FlowState(name="e", task=calls("m")),
        flows={"m": middle, "s": STEPS},
    )
    one, other = Course(whole), Course(whole, saving=True)
    for turn, code in zip(order, codes, strict=True):
        assert one.running == other.running
        if not one.running:
            break
        name = one.running[turn % len(one.running)]
        for course in (one, other):
            course.end(name, code, f"by {name}")
    assert isinstance(one.flow.demanded, Ended)
    assert one.flow.demanded == other.flow.demanded
    assert one.names == other.names
