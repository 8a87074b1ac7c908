"""A flow file: what it may say, and all that is wrong with it at once."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from architect_parallel.config.validation import ValidationContext
from architect_parallel.errors import UsageError
from architect_parallel.flows.loader import load_flow
from architect_parallel.flows.machine import Machine
from architect_parallel.flows.model import Destination, Done, Flow, Jobs, Kind

BACKENDS = ("claude", "codex", "shell")


def context(folder: Path) -> ValidationContext:
    return ValidationContext(directory=folder, checkout=None, backends=BACKENDS, agents=None, ceiling=10)


def load(folder: Path, text: str | bytes, name: str = "f.yaml") -> Flow:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_flow(folder / name, context(folder))


def faults(folder: Path, text: str | bytes) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load(folder, text)
    lines = caught.value.message.split("\n")
    return [line.removeprefix(f"{folder}/") for line in (lines[1:] if len(lines) > 1 else lines)]


def test_both_forms_and_all_spellings(tmp_path: Path) -> None:
    full = load(
        tmp_path,
        """
name: release
start-at: b
maxTransitions: 9
variables: {target: main, count: 3, on: true}
states:
  a: {tool: bash, arguments: {command: "make {{ target }} {{ file(VERSION) }}", timeout: 5m}, output: file(o.txt)}
  b:
    tool: parallel
    arguments:
      max_parallel: 2
      tasks:
        - {tool: claude, arguments: {prompt: "{{said}}", approval_mode: auto, budget: 1.5}, output: var(said)}
        - {tool: bash, isolation: worktree, arguments: {command: ls, cwd: src}}
    next: a
    onError: {124: a, _: b}
""",
    )
    assert (full.name, full.start_at, full.max_transitions) == ("release", "b", 9)
    assert full.variables == {"target": "main", "count": "3", "on": "true"}
    first, second = full.states["b"].task.tasks
    assert (first.output, first.arguments["budget"], second.isolation) == (
        Destination(Kind.VAR, "said"), 1.5, "worktree",
    )  # fmt: skip
    assert full.states["a"].task.arguments["timeout"] == 300
    assert full.states["b"].on_error == {"124": "a", "_": "b"}
    bare = load(tmp_path, "one: {tool: bash, arguments: {command: x}, next: two}\ntwo: {tool: pause}\n", "two.yaml")
    assert (bare.name, bare.start_at, list(bare.states)) == ("two", "one", ["one", "two"])
    assert load(tmp_path, '{"a": {"tool": "pause", "arguments": {"seconds": "5s"}}}', "j.json").states["a"]


def test_every_fault_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        """
start-at: nowhere
variables: {1x: a, list: [b]}
states:
  a: {tool: bsh, next: aa}
  ask: {tool: ask-user, arguments: {qestion: x}, output: file(x)}
  p:
    tool: parallel
    arguments:
      tasks:
        - {tool: ask-user, arguments: {question: "who?"}}
        - {tool: claude, arguments: {prompt: "{{ unknwn }} {{ 1 + 1 }}"}, output: var(x)}
        - {tool: shell, arguments: {prompt: y, timeout: soon, approval_mode: yolo}, output: var(x)}
        - {tool: parallel, arguments: {tasks: []}}
    output: var(all)
    on-error: {0: a, nine: b, _: c}
  s: {tool: switch, arguments: {value: "{{ x }}", goto: {yes: gone}}, extra: 1}
  n: {tool: bash, arguments: {command: ""}, isolation: maybe}
  z: 7
""",
    )
    shown = "\n".join(found)
    for part in (
        "f.yaml:2:1: start-at: unknown state 'nowhere'",
        "variables.1x: the name must consist of letters",
        "variables.list: must be text",
        "f.yaml:5:7: states.a.tool: unknown tool 'bsh'; did you mean 'bash'?",
        "states.a.next: unknown state 'aa'",
        "unknown key states.ask.arguments.qestion; did you mean 'question'?",
        "states.ask.arguments.question is missing",
        "states.ask.output: the answer of ask-user goes to a variable: var(NAME)",
        "states.p.arguments.tasks[0].tool: ask-user asks a person and is not allowed inside parallel",
        "states.p.arguments.tasks[1].arguments.prompt: unknown variable 'unknwn'",
        "'{{ 1 + 1 }}' is neither a variable nor file(PATH) nor path(PATH)",
        "states.p.arguments.tasks[2].arguments.timeout is 'soon': must be a duration",
        "states.p.arguments.tasks[2].arguments.approval_mode is 'yolo': must be one of",
        "states.p.arguments.tasks[2].output: tasks[1] already writes to var(x)",
        "states.p.arguments.tasks[3].tool: parallel is not a task and is not allowed inside parallel",
        "states.p.output: parallel has no output of its own",
        "states.p.on-error.0: the name must be an exit code from 1 to 255, or _",
        "states.p.on-error.nine: unknown state 'b'",
        "states.s.arguments.goto.yes: unknown state 'gone'",
        "unknown key states.s.extra",
        "states.n.arguments.command is '': must not be empty",
        "states.n.isolation is 'maybe': must be one of worktree, none",
        "states.z: a state must hold a mapping with its tool",
    ):
        assert part in shown, part
    assert [line.split(":")[1] for line in found] == sorted((line.split(":")[1] for line in found), key=int)


def test_sub_flows_are_found_checked_and_never_their_own(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text("i: {tool: bash, arguments: {command: '{{ given }}'}}\n")
    outer = "o: {tool: sub-flow, arguments: {workflow: inner, variables: {given: x}}, output: var(r)}\n"
    assert list(load(tmp_path, outer).flows["inner"].states) == ["i"]
    without = outer.replace(", variables: {given: x}", "")
    assert "inner.yaml:1:29: i.arguments.command: unknown variable 'given'" in faults(tmp_path, without)[0]
    (tmp_path / "inner.yaml").write_text("i: {tool: sub-flow, arguments: {workflow: f}}\n")
    assert "a flow cannot run itself: f.yaml → inner.yaml → f.yaml" in faults(tmp_path, outer)[0]
    assert "there is no flow 'other'" in faults(tmp_path, outer.replace("workflow: inner", "workflow: other"))[0]


def test_a_sub_flow_may_stand_inside_parallel_unless_it_asks_somebody(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text("i: {tool: bash, arguments: {command: 'echo {{ given }}'}}\n")
    outer = """
p:
  tool: parallel
  arguments:
    tasks:
      - {tool: sub-flow, arguments: {workflow: inner, variables: {given: a}}, output: var(x)}
      - {tool: sub-flow, arguments: {workflow: inner, variables: {given: b}}, output: file(y)}
      - {tool: sub-flow, arguments: {workflow: middle}}
      - {tool: bash, arguments: {command: ls}}
"""
    (tmp_path / "middle.yaml").write_text(
        "m: {tool: parallel, arguments: {tasks: ["
        "{tool: sub-flow, arguments: {workflow: inner, variables: {given: c}}}]}}\n"
    )
    tasks = load(tmp_path, outer).states["p"].task.tasks
    assert [each.tool for each in tasks] == ["sub-flow", "sub-flow", "sub-flow", "bash"]
    assert tasks[1].output == Destination(Kind.FILE, "y")
    assert (
        "tasks[1].output: tasks[0] already writes to var(x)" in faults(tmp_path, outer.replace("file(y)", "var(x)"))[0]
    )
    assert "isolation: sub-flow runs nothing" in faults(tmp_path, outer.replace("output: var(x)", "isolation: none"))[0]
    assert "unknown variable 'given'" in faults(tmp_path, outer.replace(", variables: {given: b}", ""))[0]
    (tmp_path / "middle.yaml").write_text("m: {tool: sub-flow, arguments: {workflow: asking}}\n")
    for state in ("tool: ask-user, arguments: {question: who}", "tool: pause, arguments: {seconds: 5}"):
        (tmp_path / "asking.yaml").write_text(f"q: {{{state}}}\n")
        said = f"its state 'q' is {state[6:].split(',')[0]}, which is not allowed inside parallel"
        assert faults(tmp_path, outer) == [f"f.yaml:8:38: p.arguments.tasks[2].arguments.workflow: {said}"]
    (tmp_path / "middle.yaml").write_text(
        "m: {tool: parallel, arguments: {tasks: [{tool: sub-flow, arguments: {workflow: f}}]}}\n"
    )
    assert "a flow cannot run itself: f.yaml → middle.yaml → f.yaml" in faults(tmp_path, outer)[0]


def test_what_could_not_work_is_found_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    shown = "\n".join(
        faults(
            tmp_path,
            r"""
name: [a]
states:
  a: {tool: bash, arguments: {command: "cat <<'END'\n{{ x }}\nEND"}, output: var(x), on-error: {03: a, "+3": a, ٣: a}}
  p:
    tool: parallel
    arguments:
      tasks:
        - {tool: bash, arguments: {command: a}, output: file(out/a), name: first}
        - {tool: bash, arguments: {command: a}, output: file(./out//a)}
        - {tool: bash, arguments: {command: a}, output: file(link/out/a)}
        - {tool: bash, arguments: {command: a}, output: "file(out/{{ x }})"}
  ask: {tool: ask-user, arguments: {question: a, choices: ["yes", "no"], default: maybe}}
  fine: {tool: ask-user, arguments: {question: a, choices: ["yes", "{{ x }}"], default: maybe}}
  s: {tool: sub-flow, arguments: {workflow: inner, variables: {ok: 3, 1x: a, bad: [b], worse: {a: b}}}}
  "": {tool: pause}
  "a\tb": {tool: pause}
  "\x1b[31m": {tool: pauze, on-error: {"\x1b[32m": fine}}
""",
        )
    )
    for part in (
        "name: must be text",
        "'{{ x }}' is in a here-document whose end word is quoted",
        "states.a.on-error.03: the name must be an exit code",
        "on-error.+3: the name must be",
        "on-error.٣: the name must be",
        "unknown key states.p.arguments.tasks[0].name",
        "tasks[1].output: tasks[0] already writes to file(./out//a)",
        "tasks[2].output: tasks[0] already writes to file(link/out/a)",
        "states.ask.arguments.default is 'maybe': must be one of the choices",
        "arguments.variables.1x: the name must consist of letters",
        "arguments.variables.bad: must be text",
        "arguments.variables.worse: must be text",
        "states.'': the name must be text",
        "states.'a\\tb': the name must be text",
        r"states.'\x1b[31m'.tool: unknown tool 'pauze'",
        r"states.'\x1b[31m'.on-error.'\x1b[32m': the name must be",
    ):
        assert part in shown, part
    assert "tasks[3].output" not in shown
    assert "states.fine" not in shown
    assert "\x1b" not in shown


def test_a_fault_names_the_key_as_it_is_written_and_where(tmp_path: Path) -> None:
    text = "startAt: b\nstates:\n  a:\n    tool: parallel\n    onError:\n      0: a\n"
    text += "    arguments: {maxParallel: 0, tasks: []}\n"
    assert [line.split(" '")[0] for line in faults(tmp_path, text)] == [
        "f.yaml:1:1: startAt: unknown state",
        "f.yaml:6:7: states.a.onError.0: the name must be an exit code from 1 to 255, or _",
        "f.yaml:7:17: states.a.arguments.maxParallel is 0: must be a whole number of at least 1",
        "f.yaml:7:33: states.a.arguments.tasks: must not be empty",
    ]


def test_half_a_character_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "h.json").write_text('{"a": {"tool": "bash", "arguments": {"command": "echo \\ud800"}}}')
    with pytest.raises(UsageError, match="must not contain half a surrogate pair"):
        load_flow(tmp_path / "h.json", context(tmp_path))


def test_nothing_written_behind_a_key_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    read = load(tmp_path, "start-at:\nstates:\n  a: {tool: pause, arguments: , next: null, output: ~, on-error: }\n")
    assert (read.start_at, read.states["a"].next, read.states["a"].task.output) == ("a", None, None)
    assert faults(tmp_path, "a: {tool: bash, arguments: }") == ["f.yaml:1:17: a.arguments.command is missing"]


def test_what_a_sub_flow_is_given_is_text_and_so_are_the_words_of_extra(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text("i: {tool: bash, arguments: {command: 'echo {{ n }} {{ b }}'}}\n")
    read = load(
        tmp_path,
        "variables: {x: -v}\nstates:\n"
        "  o: {tool: sub-flow, arguments: {workflow: inner, variables: {n: 3, b: true}}, next: e}\n"
        "  e: {tool: claude, arguments: {prompt: a, extra: ['{{ x }}', -q]}}\n",
    )
    machine = Machine(read, lambda kind, path: "")
    assert isinstance(inside := machine.demand(), Jobs)
    assert inside.jobs[0].values == {"{{ n }}": "3", "{{ b }}": "true"}
    machine.finished([Done(exit_code=0)])
    assert isinstance(outside := machine.demand(), Jobs)
    assert outside.jobs[0].arguments["extra"] == ["-v", "-q"]


def test_a_sub_flow_is_read_and_told_of_once_however_often_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("i: {tool: nope}\n")
    (tmp_path / "middle.yaml").write_text("m: {tool: sub-flow, arguments: {workflow: ./bad.yaml}}\n")
    calls = ["bad", "bad.yaml", "./bad.yaml", "middle", "middle.yaml"]
    states = [f"s{n}: {{tool: sub-flow, arguments: {{workflow: {call}}}}}\n" for n, call in enumerate(calls)]
    assert len(faults(tmp_path, "".join(states))) == 1
    for n in range(19):  # each calls the next one twice: half a million readings, were each for itself
        (tmp_path / f"f{n}.yaml").write_text(
            f"a: {{tool: sub-flow, arguments: {{workflow: f{n + 1}}}}}\n"
            f"b: {{tool: sub-flow, arguments: {{workflow: f{n + 1}.yaml}}}}\n"
        )
    (tmp_path / "f19.yaml").write_text("a: {tool: pause}\n")
    assert load(tmp_path, (tmp_path / "f0.yaml").read_text()).flows["f1"].name == "f1"


def test_a_chain_is_checked_as_a_whole(tmp_path: Path) -> None:
    shown = "\n".join(
        faults(
            tmp_path,
            """
steps:
  - {backend: shell, prompt: "{{ b }}", name: a, output: file(x)}
  - {backend: shell, prompt: "{{ b }} {{ a }} {{ file(c) }}", name: b}
  - {backend: claude, prompt: x, system_prompt: "{{ previous }}", name: c}
  - {backend: shell, prompt: x, name: previous}
  - {backend: shell, prompt: x, name: [d]}
""",
        )
    )
    for part in (
        "steps[0].prompt: {{ b }} has no value yet",
        "unknown key steps[0].output; the output of a step has its `name`",
        "steps[1].prompt: {{ b }} has no value yet",
        "steps[3].name is 'previous': must not be 'previous'",
        "steps[4].name: must consist of letters",
    ):
        assert part in shown, part
    assert len(shown.splitlines()) == 5


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"a", b"a: &x {tool: bash}\nb: *x", b"a: {tool: !!python/x bash}", b"a: {tool: bash, tool: bash}",
     b"\xff\xfe", b"a: {", b"a:\n" + b"".join(b" " * n + b"b:\n" for n in range(1, 60)), b"states: {}", b"states: 3"],
)  # fmt: skip
def test_bad_text_is_a_fault_and_nothing_else(tmp_path: Path, text: bytes) -> None:
    assert all(line.startswith("f.yaml") for line in faults(tmp_path, text))


KEYS = ("states", "a", "tool", "arguments", "tasks", "output", "next", "on-error", "goto", "command")
VALUES = ("bash", "x", "{{ a }}", "var(a)", "", "parallel")


@settings(max_examples=60, deadline=None)
@given(
    data=st.recursive(
        st.none() | st.booleans() | st.integers() | st.sampled_from(VALUES),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
        max_leaves=20,
    )
)
def test_no_data_is_a_traceback(tmp_path_factory: pytest.TempPathFactory, data: object) -> None:
    folder = tmp_path_factory.mktemp("flow")
    with contextlib.suppress(UsageError):
        assert load(folder, json.dumps(data), "f.json").states
