"""Task files: every field, every other name, every fault at once, whatever the bytes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from architect_parallel.config.task_common import LARGEST_TASK_FILE_BYTES, MOST_TASKS
from architect_parallel.config.task_file import holds_tasks, load_task_file, read_task_file
from architect_parallel.config.task_schema import TaskSection, camel_name, task_file_schema
from architect_parallel.config.validation import ValidationContext
from architect_parallel.domain import (
    ApprovalMode,
    Complexity,
    Isolation,
    Network,
    OutputFormat,
    SandboxMode,
    TaskFile,
    TaskText,
)
from architect_parallel.errors import UsageError

HERE = Path(__file__).resolve().parent
AROUND = ValidationContext(
    directory=HERE,
    checkout=HERE.parents[2],
    backends=("claude", "codex", "shell"),
    agents=("build", "plan"),
    ceiling=10,
)
FULL: dict[str, Any] = {
    "backend": "claude", "prompt": "review the auth module", "model": "claude-opus-4-5-20251101", "workdir": ".",
    "approval_mode": "auto", "sandbox_mode": "workspace", "sandbox": "off",
    "network": "none", "output_format": "json", "max_tokens": 4096, "max_turns": 10,
    "system_prompt": "You are a code reviewer.", "name": "review", "timeout": "5m", "budget": 1.0, "tags": ["x"],
    "meta": {"k": "v"}, "id": "r1", "agent": "plan", "extra": ["--verbose", ""], "isolation": "worktree",
    "files": ["src/**"], "critical": False, "complexity": "high", "needs": {"gpu": 1}, "retries": 2,
    "checks": ["make test"], "dependencies": [],
}  # fmt: skip


def read(text: str | bytes | object, name: str = "tasks.yaml", around: ValidationContext = AROUND) -> TaskFile:
    if not isinstance(text, (str, bytes)):
        text = json.dumps(text)
    return read_task_file(TaskText(name=name, data=text if isinstance(text, bytes) else text.encode()), around)


def faults(text: str | bytes | object, name: str = "tasks.yaml", around: ValidationContext = AROUND) -> list[str]:
    with pytest.raises(UsageError) as caught:
        read(text, name, around)
    lines = caught.value.message.split("\n")
    return [line.removeprefix(f"{name}:") for line in (lines[1:] if len(lines) > 1 else lines)]


def assert_tasks_or_faults(data: bytes, name: str) -> None:
    """Any other exception is the failure looked for."""
    try:
        tasks = read(data, name).tasks
    except UsageError as error:
        told = error.message
    else:
        told = name if tasks else ""
    assert name in told


def test_every_field_arrives() -> None:
    (task,) = read({"tasks": [FULL]}).tasks
    assert (task.prompt, task.name, task.id) == ("review the auth module", "review", "r1")
    assert (task.backend, task.model, task.agent) == ("claude", "claude-opus-4-5-20251101", "plan")
    assert (task.approval_mode, task.sandbox_mode) == (ApprovalMode.AUTO, SandboxMode.WORKSPACE)
    assert (task.sandbox, task.network) == ("off", Network.NONE)
    assert (task.output_format, task.isolation) == (OutputFormat.JSON, Isolation.WORKTREE)
    assert (task.max_tokens, task.max_turns, task.timeout_s, task.budget_usd) == (4096, 10, 300.0, 1.0)
    assert (task.tags, task.meta, task.extra_argv) == (("x",), {"k": "v"}, ("--verbose", ""))
    assert (task.files, task.checks, task.retries) == (("src/**",), ("make test",), 2)
    assert (task.critical, task.complexity, task.workdir) == (False, Complexity.HIGH, ".")
    assert task.needs == {"gpu": 1}
    assert task.system_prompt == "You are a code reviewer."


def test_the_table_above_has_every_field() -> None:
    assert set(FULL) == set(TaskSection.model_fields)


def test_camel_case_and_task_are_other_names() -> None:
    other = {"task" if key == "prompt" else camel_name(key): value for key, value in FULL.items()}
    one, two = read({"tasks": [FULL]}), read({"tasks": [other], "maxParallel": 2, "failFast": True, "outputDir": "out"})
    assert two.tasks == one.tasks
    assert (two.max_parallel, two.fail_fast, two.output_dir) == (2, True, "out")


def test_json_yaml_and_a_bare_list_are_the_same() -> None:
    tasks = [{"backend": "shell", "prompt": "one"}, {"backend": "codex", "prompt": "two"}]
    forms = [
        read(json.dumps({"tasks": tasks}), "a.json"),
        read(yaml.safe_dump({"tasks": tasks})),
        read(json.dumps(tasks), "a.json"),
        read(yaml.safe_dump(tasks)),
        read(json.dumps({"tasks": tasks}, indent="\t"), "stdin"),
        read("{tasks: [{backend: shell, prompt: one}, {backend: codex, prompt: two}]}", "stdin"),
        read(b"\xef\xbb\xbf" + json.dumps({"tasks": tasks}, indent=1).replace("\n", "\r\n").encode(), "a.json"),
    ]
    assert {tuple((task.backend, task.prompt) for task in form.tasks) for form in forms} == {
        (("shell", "one"), ("codex", "two"))
    }


def test_defaults_hold_for_tasks_that_say_nothing() -> None:
    file = read("""
defaults: {backend: claude, maxTurns: 5, tags: [a], critical: false}
tasks:
  - prompt: one
  - {prompt: two, max_turns: 7, backend: shell, tags: [], critical: true}
  - {prompt: three, max_turns: null}
""")
    one, two, three = file.tasks
    assert (one.backend, one.max_turns, one.tags, one.critical) == ("claude", 5, ("a",), False)
    assert (two.backend, two.max_turns, two.tags, two.critical) == ("shell", 7, (), True)
    assert three.max_turns is None


def test_a_task_needs_no_backend() -> None:
    assert read("tasks: [{prompt: x}]").tasks[0].backend is None


PLANTS: dict[str, tuple[str, object, str]] = {
    "unknown backend": ("backend", "cluade", "unknown backend 'cluade'; did you mean 'claude'?"),
    "unknown agent": ("agent", "biuld", "unknown agent 'biuld'; did you mean 'build'?"),
    "empty prompt": ("prompt", "  ", "must not be empty"),
    "wrong enum": ("approval_mode", "sometimes", "must be one of default, auto, none, always"),
    "wrong sandbox": ("sandbox_mode", "tight", "must be one of default, read-only, workspace, full"),
    "wrong format": ("output_format", "xml", "must be one of text, json, stream-json"),
    "wrong type": ("tags", "x", "must be a list of texts"),
    "wrong member": ("extra", [1], "must be text"),
    "no number": ("max_turns", "many", "must be a whole number"),
    "no duration": ("timeout", ".nan", "must be a duration"),
    "negative budget": ("budget", -1, "must be an amount"),
    "unknown key": ("promt", "x", "unknown key tasks[{index}].promt; did you mean 'prompt'?"),
    "missing directory": ("workdir", "no/such/dir", "there is no such directory"),
    "no mapping": ("meta", [1], "must hold a mapping"),
    "no boolean": ("critical", "maybe", "must be true or false"),
    "two lines": ("name", "a\n#", "must be one line"),
    "no task of that name": ("dependencies", ["nobody"], "unknown task 'nobody'"),
    "a reserved label": ("needs", {"agent": 1}, "must be the name of a label"),
    "none of a label": ("needs", {"gpu": 0}, "must be a whole number of at least 1"),
    "too many retries": ("retries", 1000, "must be a whole number from 0 to 100"),
    "half a pair": ("system_prompt", "\ud800", "surrogate"),
}  # fmt: skip


def sound(index: int) -> dict[str, object]:
    return {"backend": "shell", "prompt": f"task {index}"}


@settings(max_examples=150)
@given(st.lists(st.sets(st.sampled_from(sorted(PLANTS)), max_size=6), min_size=1, max_size=6), st.booleans())
def test_all_planted_faults_are_reported_each_with_its_place(planted: list[set[str]], as_json: bool) -> None:
    tasks, expected = [], []
    for index, kinds in enumerate(planted):
        task = sound(index)
        fields = set[str]()
        for kind in sorted(kinds):
            field, value, words = PLANTS[kind]
            # YAML cannot write half a surrogate pair.
            if field in fields or (not as_json and kind == "half a pair"):
                continue
            fields.add(field)
            # Copied: YAML would write an alias. Names differ, or they would be a fault of their own.
            task[field] = value.replace("#", str(index)) if isinstance(value, str) else copy.deepcopy(value)
            expected.append((f"tasks[{index}].{field}", words.format(index=index)))
        tasks.append(task)
    text = json.dumps({"tasks": tasks}, indent=1) if as_json else yaml.safe_dump({"tasks": tasks})
    if not expected:
        assert len(read(text, "t.json" if as_json else "t.yaml").tasks) == len(planted)
        return

    found = faults(text, "t.json" if as_json else "t.yaml")

    assert len(found) == len(expected)
    for field, words in expected:
        assert any(field in line and words in line for line in found), (field, found)
    lines = text.splitlines()
    for line in found:
        number, column = map(int, line.split(":")[:2])
        assert 0 < number <= len(lines)
        assert 0 < column <= len(lines[number - 1]) + 1


@settings(max_examples=300)
@given(st.binary(max_size=300), st.sampled_from(["t.json", "t.yaml", "stdin"]))
@example(b"tasks: &a [*a]", "t.yaml")
@example(b"tasks:\n" + b"- " * 3000, "t.yaml")
@example(b'{"tasks": [{"meta": ' + b"[" * 50_000, "t.json")
@example(b"\xff\xfe", "stdin")
def test_any_bytes_are_tasks_or_faults(data: bytes, name: str) -> None:
    holds_tasks(data)
    assert_tasks_or_faults(data, name)


KEYS = st.sampled_from(
    [*TaskSection.model_fields, "tasks", "defaults", "max_parallel", "output_dir", "task", "maxTurns"]
)
SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["shell", "none"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=300)
@given(SHAPES | st.fixed_dictionaries({"tasks": st.lists(st.dictionaries(KEYS, SHAPES, max_size=5), max_size=3)}))
def test_any_shape_is_tasks_or_faults(shape: object) -> None:
    assert_tasks_or_faults(json.dumps(shape).encode(), "t.json")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty: there is no task"),
        ("tasks: []", "1:1: tasks: is empty: there must be at least one task"),
        ("[]", "1:1: tasks: is empty: there must be at least one task"),
        ("max_parallel: 2", "1:1: tasks is missing"),
        ("tasks: 3", "1:1: tasks is 3: must be a list"),
        ("words", "1:1: must hold a mapping with a list `tasks`"),
        ("tasks: [x]", "1:9: tasks[0] is 'x': must hold a mapping of keys to values"),
        ("tasks: [{backend: shell, prompt: x}]\ntasks: []", "2:1: duplicate key tasks (first in line 1)"),
        ("tasks: [{backend: shell, prompt: x, task: y}]", "1:37: tasks[0].task is another name of prompt"),
        ("tasks: [{backend: shell, prompt: x, maxTurns: 1, max_turns: 1}]", "1:37: tasks[0].maxTurns is another name"),
        ("tasks: [{backend: shell}]", "1:9: tasks[0].prompt is missing"),
        ("tasks: &a []", "1:8: anchor &a is not allowed"),
        ("tasks: [{backend: shell, prompt: !!python/name:os.system x}]", "1:34: tag"),
        ("tasks: [{backend: shell, prompt: x}]\nmax_parallel: 11", "2:1: max_parallel: 11 is more than"),
        ("tasks: [{backend: shell, prompt: x}]\nmax_paralel: 1", "2:1: unknown key max_paralel; did you mean"),
        ("tasks: [{backend: shell, prompt: x, dependencies: [a], name: a}]", "1:52: tasks[0].dependencies[0]: a task"),
        (
            "defaults: {dependencies: [x]}\ntasks: [{backend: shell, prompt: x, name: a}]",
            "1:27: defaults.dependencies[0]: unknown task 'x'",
        ),
        (
            "defaults: {dependencies: [a]}\ntasks: [{backend: shell, prompt: x, name: a}]",
            "2:9: tasks[0].dependencies: a task cannot wait for itself",
        ),
        ("a: 1\n\xff".encode("latin-1"), "2:1: byte 0xff is not UTF-8"),
    ],
)  # fmt: skip
def test_a_fault_has_its_place(text: str | bytes, fault: str) -> None:
    assert any(line.removeprefix("tasks.yaml: ").strip().startswith(fault) for line in faults(text)), faults(text)


def test_what_is_no_json_number_hides_no_other_fault() -> None:
    text = '{"tasks": [{"backend": "cluade", "prompt": NaN}, {"backend": "shell", "prompt": "x", "budget": -Infinity}]}'
    assert faults(text, "t.json") == [
        "1:13: tasks[0].backend: unknown backend 'cluade'; did you mean 'claude'?",
        "1:44: 'NaN' is not a JSON value",
        "1:86: tasks[1].budget is '-Infinity': must be an amount in US dollars above 0, such as 2 or 0.50",
        "1:96: '-Infinity' is not a JSON value",
    ]


def test_duplicate_names_and_ids_are_named() -> None:
    tasks = [sound(0) | {"name": "a"}, sound(1) | {"name": "a"}, sound(2) | {"id": "a"}]
    assert [line.split(": ", 1)[1] for line in faults(json.dumps({"tasks": tasks}), "t.json")] == [
        "tasks[1].name: duplicate name 'a' (first used by tasks[0])",
        "tasks[2].id: duplicate name 'a' (first used by tasks[0])",
    ]


def test_directories_are_held_against_the_machine(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dir").mkdir()
    around = ValidationContext(
        directory=tmp_path, checkout=tmp_path / "repo", backends=("shell",), agents=(), ceiling=10
    )
    task = {"backend": "shell", "prompt": "x"}
    text = {
        "tasks": [task | {"workdir": "file"}, task | {"workdir": "dir", "isolation": "worktree"}],
        "output_dir": "file/x",
    }

    found = faults(json.dumps(text), "t.json", around)

    assert "tasks[0].workdir: 'file': is not a directory" in found[0]
    assert "tasks[1].workdir: 'dir' is outside the repository" in found[1]
    assert "output_dir" in found[2]
    assert "'file/x': 'file' is not a directory" in found[2]
    good = {"tasks": [task | {"workdir": "dir"}], "output_dir": "new/deep"}
    assert read(json.dumps(good), "t.json", around).output_dir == "new/deep"


def test_a_file_may_have_16_mib_and_no_more(tmp_path: Path) -> None:
    head = b'{"tasks": [{"backend": "shell", "prompt": "'
    path = tmp_path / "t.json"
    path.write_bytes(head + b"x" * (LARGEST_TASK_FILE_BYTES - len(head) - 4) + b'"}]}')
    assert len(load_task_file(path, AROUND).tasks[0].prompt) > 16_000_000
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(UsageError, match="larger than 16 MiB"):
        load_task_file(path, AROUND)


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir])
def test_what_is_no_file_is_named(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "t.yaml")
    with pytest.raises(UsageError, match=r"t\.yaml"):
        load_task_file(tmp_path / "t.yaml", AROUND)


def test_more_tasks_than_anybody_means_are_one_fault() -> None:
    task = {"prompt": "x", "backend": "shell"}
    assert len(read(json.dumps([task] * MOST_TASKS), "t.json").tasks) == MOST_TASKS
    assert faults(json.dumps([task] * (MOST_TASKS + 1)), "t.json") == [
        "1:1: tasks: holds 10001 tasks, at most 10000 are allowed"
    ]


def test_a_large_file_in_the_wrong_shape_has_its_faults_counted() -> None:
    found = faults(json.dumps([{"x": 1}] * 5000), "t.json")
    assert len(found) < 600
    assert found[-1].startswith("and ")


@pytest.mark.parametrize(
    ("data", "is_file"),
    [
        (b'{"tasks": [{"prompt": "x"}]}', True),
        (b"tasks:\n- prompt: x\n", True),
        (b"# mine\n---\ntasks:\n- prompt: x\n", True),
        (b'[{"prompt": "x"}]', True),
        (b"- {task: x}\n- {prompt: y}\n", True),
        (b'{"tasks": [{"prompt": "x"}', True),
        (b'{"tasks": [' + b" " * LARGEST_TASK_FILE_BYTES, True),
        (b'{"tasks": "x"}', True),
        (b'\xef\xbb\xbf \n\t{"prompt": ', True),
        (b"{", True),
        (b"[", True),
        (b"---\n[1, 2", True),
        (b'tasks:\n- {prompt: "x}', True),
        (b"name: a\ntasks : [\n", True),
        (b"Do this:\ntasks:\n- one: [\n", True),
        (b"tasks: fix the tests, then the docs", True),
        (b'{"error": "explain this"}', True),
        (b"[ERROR] explain this", True),
        (b"fix the tests", False),
        (b"- fix the tests\n- fix the docs\n", False),
        (b"explain this: {a} and [b]\n {c}", False),
        (b"fix subtasks: all\n  tasks: none\ntasks:x", False),
        (b"- name: x\n  run: y\n", False),
        (b"", False),
        (b"\xff", False),
    ],
)
def test_a_pipe_holds_tasks_only_when_it_says_so(data: bytes, is_file: bool) -> None:
    assert holds_tasks(data) is is_file


SCHEMA = Draft202012Validator(task_file_schema())
"""An editor's view of a task file, by a validator that is not ours."""
BEYOND_THE_FORM = {"unknown backend", "unknown agent", "missing directory", "no task of that name", "half a pair"}
"""What no schema can tell."""


def test_the_schema_is_one_and_takes_what_the_reader_takes() -> None:
    Draft202012Validator.check_schema(task_file_schema())
    other = {"task" if key == "prompt" else camel_name(key): value for key, value in FULL.items()}
    plain = sound(0) | dict.fromkeys(("max_turns", "timeout", "budget", "name", "isolation", "retries"))
    whole = {"$schema": "tasks.json", "max_parallel": 2, "failFast": False, "output_dir": "out"}
    for content in (
        [FULL],
        {"tasks": [other]},
        {"tasks": [plain]},
        whole | {"tasks": [FULL], "defaults": {"tags": []}},
    ):
        assert [error.message for error in SCHEMA.iter_errors(content)] == []
        read(content)


@pytest.mark.parametrize("kind", sorted(PLANTS))
def test_the_schema_refuses_what_the_reader_refuses_for_its_form(kind: str) -> None:
    field, value, _ = PLANTS[kind]
    assert SCHEMA.is_valid({"tasks": [sound(0) | {field: value}]}) is (kind in BEYOND_THE_FORM)


@pytest.mark.parametrize(
    "content",
    [
        *([], {}, {"tasks": []}, {"tasks": 3}, {"tasks": ["x"]}, {"tasks": [{}]}, {"tasks": [FULL], "more": 1}),
        *({"tasks": [FULL | {"task": "x"}]}, {"tasks": [FULL], "max_parallel": 0}, {"tasks": [FULL], "output_dir": ""}),
    ],
)
def test_a_file_in_the_wrong_shape_is_refused_by_schema_and_reader(content: object) -> None:
    assert not SCHEMA.is_valid(content)
    assert faults(content)
