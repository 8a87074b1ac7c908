"""A flow as a machine: where it goes, what it asks for, and that a snapshot is all of it."""

from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from architect_parallel.flows.machine import Machine
from architect_parallel.flows.model import (
    Destination,
    Done,
    Ended,
    Flow,
    FlowFault,
    FlowState,
    FlowTask,
    Job,
    Jobs,
    Kind,
    Question,
    Wait,
)
from architect_parallel.templates.shell import as_script


def read(kind: str, path: str) -> str:
    if path == "missing":
        raise FlowFault("there is no file missing")
    return f"<{kind} {path}>"


def state(name: str, tool: str = "bash", *, to: str | None = None, out: str | None = None, **more: object) -> FlowState:
    on_error = more.pop("on_error", {})
    tasks = more.pop("tasks", ())
    arguments = {key.rstrip("_"): value for key, value in more.items()} or {"command": f"echo {name}"}
    output = None if out is None else Destination(Kind.VAR, out)
    task = FlowTask(tool=tool, arguments=arguments, output=output, tasks=tasks)  # type: ignore[arg-type]
    return FlowState(name=name, task=task, next=to, on_error=on_error)  # type: ignore[arg-type]


def flow(*states: FlowState, flows: dict[str, Flow] | None = None, limit: int = 1000, **variables: str) -> Flow:
    return Flow(
        name="test", start_at=states[0].name, states={each.name: each for each in states}, variables=variables,
        max_transitions=limit, flows=flows or {},
    )  # fmt: skip


def run(machine: Machine, **codes: int) -> tuple[list[str], Ended]:
    """The states in which jobs ran, and the end; a state's exit code by its name (default 0)."""
    visited = []
    while True:
        match machine.demand():
            case Jobs(state=name, jobs=jobs):
                visited.append(name)
                machine.finished([Done(exit_code=codes.get(name, 0), output=f" {name}\n")] * len(jobs))
            case Question() | Wait() as asked:
                visited.append(asked.state)
                machine.answered("yes")
            case Ended() as end:
                return visited, end


def test_states_follow_each_other_and_errors_go_their_own_way() -> None:
    steps = flow(
        state("a", to="b"), state("b", to="c", on_error={"124": "late", "_": "other"}), state("c"), state("late"),
        state("other"),
    )  # fmt: skip
    assert run(Machine(steps, read)) == (["a", "b", "c"], Ended(exit_code=0, state="c"))
    assert run(Machine(steps, read), b=124)[0] == ["a", "b", "late"]
    assert run(Machine(steps, read), b=3) == (["a", "b", "other"], Ended(exit_code=0, state="other"))
    assert run(Machine(steps, read), a=3) == (["a"], Ended(exit_code=3, state="a"))


def test_parallel_ends_as_its_first_failing_task_in_list_order() -> None:
    tasks = tuple(
        FlowTask(tool=tool, arguments={}, output=Destination(Kind.VAR, name), isolation=isolation)
        for tool, name, isolation in (("claude", "x", None), ("claude", "y", "none"), ("codex", "z", "worktree"))
    )
    machine = Machine(flow(state("p", "parallel", tasks=tasks, on_error={"7": "q"}, max_parallel=2), state("q")), read)
    demanded = machine.demand()
    assert isinstance(demanded, Jobs)
    assert ([job.isolated for job in demanded.jobs], demanded.at_once) == ([True, False, True], 2)
    machine.finished([Done(exit_code=0, output="1"), Done(exit_code=7, output=" 2 "), Done(exit_code=5, output="3")])
    assert machine.variables == {"x": "1", "y": "2", "z": "3"}  # also of those that failed
    assert isinstance(demanded := machine.demand(), Jobs)
    assert demanded.state == "q"


def test_conditions_choices_and_loops() -> None:
    machine = Machine(
        flow(
            state("loop", "for-each", items="one\n\n two \nthree", as_="item", goto="which", to="end"),
            state("which", "switch", value="{{ item }}", goto={"two": "loop", "_": "test"}),
            state("test", "if-contains", left="{{ item }}", right="ee", then="three", else_="body"),
            state("body", command="work {{ item }}", to="loop"),
            state("three", to="loop"),
            state("end"),
        ),
        read,
    )
    assert run(machine)[0] == ["body", "three", "end"]
    numbers = flow(state("n", "if-less", left="9", right="10", then="yes", else_="no"), state("yes"), state("no"))
    assert run(Machine(numbers, read))[0] == ["yes"]
    words = flow(state("n", "if-less", left="nan", right="10", then="yes"), state("yes"))
    assert run(Machine(words, read))[1].message == "'nan' is not a number"


def test_a_sub_flow_has_variables_of_its_own_each_time() -> None:
    inner = flow(
        state("i", "ask-user", question="{{ x }} {{ kept }}", out="kept", to="o"),
        state("o", command="{{ kept }}", out="output"), x="default", kept="fresh",
    )  # fmt: skip
    outer = flow(
        state("first", "sub-flow", workflow="inner", variables={"x": "{{ x }}!"}, out="answer", to="second"),
        state("second", "sub-flow", workflow="inner", out="answer", to="last"),
        state("last", command="{{ answer }}"),
        flows={"inner": inner}, x="mine",
    )  # fmt: skip
    machine = Machine(outer, read)
    asked = machine.demand()
    assert asked == Question(state="first > i", text="mine! fresh")
    machine.answered("a")
    machine.finished([Done(exit_code=0, output="from inside")])
    assert machine.demand() == Question(state="second > i", text="default fresh")
    machine.answered("b")
    machine.finished([Done(exit_code=4, output="late")])
    assert machine.demand() == Ended(exit_code=4, state="second")
    assert machine.variables["answer"] == "late"


def test_circles_end_with_a_word_and_no_value_is_an_error_that_can_be_handled() -> None:
    circle = flow(state("a", to="b"), state("b", to="a"), limit=7)
    visited, end = run(Machine(circle, read))
    assert (len(visited), end.exit_code) == (7, 1)
    assert "more than 7 transitions" in end.message
    unset = flow(state("a", command="{{ later }}", on_error={"_": "b"}), state("b", command="x", out="later"))
    assert run(Machine(unset, read))[0] == ["b"]
    missing = flow(state("a", command="{{ file(missing) }}"))
    assert run(Machine(missing, read)) == ([], Ended(exit_code=1, state="a", message="there is no file missing"))


def test_a_snapshot_is_all_of_it() -> None:
    steps = flow(
        state("loop", "for-each", items=["1", "2", "3"], as_="n", goto="ask", to="end"),
        state("ask", "ask-user", question="{{ n }}?", out="said", to="sub"),
        state("sub", "sub-flow", workflow="s", variables={"v": "{{ said }}"}, to="loop"),
        state("end"), flows={"s": flow(state("inside", command="{{ v }}"), v="")},
    )  # fmt: skip
    whole = run(Machine(steps, read))
    machine, visited = Machine(steps, read), []
    while not isinstance(demanded := machine.demand(), Ended):
        machine = Machine.restore(steps, read, json.loads(json.dumps(machine.snapshot())))
        assert machine.demand() == demanded
        visited.append(demanded.state)
        machine.answered("yes") if isinstance(demanded, Question) else machine.finished([Done(exit_code=0)])
    assert (visited, demanded) == whole


@pytest.mark.parametrize(
    "command",
    [
        "printf %s {{ x }}", 'printf %s "{{ x }}"', "printf %s '{{ x }}'", "printf %s pre'a{{ x }}b'\"c\"{{x}}",
        'printf %s "$(printf %s {{ x }})"', "printf %s \\\"{{ x }}", "cat <<END\n{{ x }}\nEND",
    ],
)  # fmt: skip
@given(value=st.text(alphabet=st.sampled_from("ab '\"\\$`();|&<>\n*!{}touch#"), max_size=30))
def test_no_value_is_ever_run_by_the_shell(command: str, value: str) -> None:
    machine = Machine(flow(state("a", command=command), x=f"$(touch pwned)`touch pwned`{value}; touch pwned"), read)
    demanded = machine.demand()
    assert isinstance(demanded, Jobs)
    job: Job = demanded.jobs[0]
    assert job.arguments["command"] == command  # what people read is what was written
    text, variables = as_script(job.arguments["command"], job.values)
    assert "touch" not in text
    assert set(variables.values()) == {machine.variables["x"]}
    assert "{{" not in text


def test_a_value_arrives_as_it_is_in_every_kind_of_quotes(tmp_path: object) -> None:
    value = "a  b'c\"d`e$(exit 3)\\*\n;f"
    for command in ("printf %s {{ x }}", 'printf %s "{{ x }}"', "printf %s '{{ x }}'"):
        demanded = Machine(flow(state("a", command=command), x=value), read).demand()
        assert isinstance(demanded, Jobs)
        job = demanded.jobs[0]
        script, variables = as_script(job.arguments["command"], job.values)
        done = subprocess.run(["/bin/sh", "-c", script], env=variables, capture_output=True, text=True)
        assert (done.stdout, done.returncode) == (value, 0)


def test_the_stored_form_of_a_machine_stays_what_it_was() -> None:
    """Recorded runs hold it: a later version must go on with them."""
    inner = flow(state("i", "for-each", items="a\nb", as_="item", goto="work"), state("work", command="{{ item }}"))
    outer = flow(state("o", "sub-flow", workflow="inner"), flows={"inner": inner}, kept="x")
    stored = {
        "transitions": 3,
        "frames": [
            {"path": [], "state": "o", "variables": {"kept": "x"}, "loops": {}},
            {"path": ["inner"], "state": "work", "variables": {"item": "a"}, "loops": {"i": ["b"]}},
        ],
    }
    machine = Machine.restore(outer, lambda function, path: "", stored)
    assert machine.snapshot() == stored
    assert list(machine.snapshot()["frames"][0]) == ["path", "state", "variables", "loops"]
    demand = machine.demand()
    assert isinstance(demand, Jobs)
    assert (demand.state, demand.jobs[0].values) == ("o > work", {"{{ item }}": "a"})
