"""Specs: the example of the contract, other names, every fault at once, whatever the text."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from architect_parallel.config.validation import ValidationContext
from architect_parallel.domain import OnPartial, RateLimit, Recovery, Retry, SpecFile, TaskText
from architect_parallel.errors import UsageError
from architect_parallel.specs.loader import read_spec
from architect_parallel.specs.schema import spec_schema

HERE = Path(__file__).resolve().parent
EXAMPLES = sorted((HERE.parents[2] / "docs" / "examples").glob("*.spec.yaml"))
AROUND = ValidationContext(
    directory=HERE, checkout=HERE.parents[2], backends=("claude", "shell"), agents=("build", "debugger"), ceiling=10
)
FULL = """
name: Authentication Feature
policy: {constraints: {maxLatency: 5000, privacy: private}}
execution: {maxConcurrentAgents: 4}
providers: {claude: {rateLimit: {enabled: true, capacity: 100, refillRate: 10}}}
retry: {maxAttempts: 3, initialDelay: 1000, backoffFactor: 2, maxDelay: 10000}
recovery: {retries: 1, refine: true, debugger: {agent: debugger}, on_all_failed: escalate}
state_file: docs/state/auth.md
merge: {strategy: sequential, into: architect/merged, check: "pytest -q"}
coordinator: {agent: feedback-coordinator, task: "Synthesise the results, name the conflicts, recommend"}
tasks:
  - {name: design, agent: product, task: Design the login flow, dependencies: []}
  - {name: backend, agent: backend, task: "Implement the API as in {{ design }}", dependencies: [design], timeout: 30m, critical: true}
  - {name: docs, agent: writer, task: Document it, dependencies: [backend], critical: false}
"""  # noqa: E501  # as the contract has it


def read(text: str, name: str = "auth.yaml", around: ValidationContext | None = AROUND) -> SpecFile:
    return read_spec(TaskText(name=name, data=text.encode()), around)


def faults(text: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        read(text)
    lines = caught.value.message.split("\n")
    return [line.removeprefix("auth.yaml:") for line in (lines[1:] if len(lines) > 1 else lines)]


def test_the_example_of_the_contract_means_what_it_says() -> None:
    spec = read(FULL)
    assert (spec.name, spec.max_parallel, spec.state_file) == ("Authentication Feature", 4, "docs/state/auth.md")
    assert [(each.provider, each.rate_limit) for each in spec.rates] == [
        ("claude", RateLimit(enabled=True, capacity=100, refill_rate=10))
    ]
    assert spec.retry == Retry(max_attempts=3, initial_delay_s=1, backoff_factor=2, max_delay_s=10)
    assert spec.recovery == Recovery(retries=1, refine=True, escalate=True)
    assert spec.coordinator is not None
    assert spec.coordinator.agent == "feedback-coordinator"
    assert [(each.name, each.dependencies, each.critical, each.timeout_s) for each in spec.tasks] == [
        ("design", (), True, None),
        ("backend", ("design",), True, 1800),
        ("docs", ("backend",), False, None),
    ]
    assert any("'product', 'backend', 'writer', 'feedback-coordinator'" in each for each in spec.warnings)
    assert any(each.startswith("policy:") for each in spec.warnings)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_without_a_fault(path: Path) -> None:
    assert read(path.read_text(), path.name).tasks


def test_other_names_and_what_is_left_out() -> None:
    spec = read(
        "on_partial: continue\ndefaults: {backend: shell}\ntasks:\n"
        "  - {id: a}\n  - {name: b, id: 'two', prompt: do, dependsOn: [a]}\n"
        "  - {name: c, task: '{{ two }} and {{a}}', deps: [two, b], onPartial: skip}\n"
    )
    assert spec.name == "auth"
    assert [(each.name, each.prompt, each.dependencies, each.on_partial, each.backend) for each in spec.tasks] == [
        ("a", "a", (), OnPartial.CONTINUE, "shell"),
        ("b", "do", ("a",), OnPartial.CONTINUE, "shell"),
        ("c", "{{ b }} and {{ a }}", ("b",), OnPartial.SKIP, "shell"),
    ]


def test_every_fault_is_told_at_once_with_its_place() -> None:
    text = """\
nme: x
execution: {maxConcurrentAgents: 11}
retry: {maxAttempts: 0}
tasks:
  - {name: a, deps: [c], task: "{{ zz }} {{ d }} {{ file(../x) }}"}
  - {name: b, deps: [a], prompt: x, task: y}
  - {name: c, deps: [b, nope]}
  - {name: c, timeout: -1}
  - {task: nothing}
  - {name: d, backend: claud}
  - {name: results}
"""
    found = faults(text)
    for line, words in (
        (1, "unknown key nme; did you mean 'name'?"), (2, "is more than workers_ceiling 10 allows"),
        (3, "retry.maxAttempts is 0"), (5, "dependency cycle: a → c → b → a"), (5, "{{ zz }}: unknown task"),
        (5, "{{ d }}: it is not among its dependencies"), (5, "{{ file(../x) }} leads out of the repository"),
        (6, "tasks[1].task is another name of prompt"), (7, "unknown task 'nope'"),
        (8, "duplicate name 'c' (first used by tasks[2])"),
        (8, "tasks[3].timeout is -1"), (9, "tasks[4]: has neither name nor id"),
        (10, "unknown backend 'claud'; did you mean 'claude'?"), (11, "'results' has another meaning"),
    ):  # fmt: skip
        assert any(each.startswith(f"{line}:") and words in each for each in found), (words, found)
    assert len(found) == 14


def test_a_reference_where_the_shell_fills_nothing_in_is_a_fault() -> None:
    text = """\
defaults: {backend: BACKEND}
tasks:
  - {name: a, task: echo a}
  - name: b
    deps: [a]
    task: |
      cat <<'END'
      {{ a }}
      END
coordinator: {task: "cat <<'E'\\n{{ results }}\\nE"}
"""
    found = faults(text.replace("BACKEND", "shell"))
    assert [each.split(":")[0] for each in found] == ["6", "10"]
    assert all("in a here-document whose end word is quoted" in each for each in found)
    assert read(text.replace("BACKEND", "claude")).tasks, "an agent reads its prompt, no shell does"


def test_a_name_without_a_value_is_no_name() -> None:
    assert faults("tasks:\n  - {name: , task: do}\n  - {name: b, id: null}\n") == [
        "2:5: tasks[0]: has neither name nor id"
    ]


def test_dependencies_of_the_defaults_are_dependencies() -> None:
    text = "defaults: {{deps: [{}]}}\ntasks:\n  - {{name: a, deps: []}}\n  - {{name: b, task: '{{{{ a }}}}'}}\n"
    assert [each.dependencies for each in read(text.format("a")).tasks] == [(), ("a",)]
    assert faults(text.format("b"))[0].startswith("4:5: tasks[1].dependencies: a task cannot wait for itself")
    assert faults(text.format("nope"))[0].startswith("1:19: defaults.deps[0]: unknown task 'nope'")


def test_a_file_has_to_be_there_only_where_no_task_before_may_make_it() -> None:
    around = replace(AROUND, file_fault=lambda path: "there is no such file")
    text = "defaults: {{deps: [a]}}\ntasks:\n  - {{name: a, deps: []}}\n  - {{name: b, task: '{{{{ file(x) }}}}'{}}}\n"
    for after_a in ("", ", deps: [a]"):
        assert read(text.format(after_a), around=around).tasks[1].dependencies == ("a",)
    with pytest.raises(UsageError, match=r"tasks\[1\].task: {{ file\(x\) }}: there is no such file"):
        read(text.format(", deps: []"), around=around)


def test_what_stands_below_another_name_is_found_where_it_stands() -> None:
    text = """\
tasks:
  - name: a
    dependsOn:
      - b
      - nope
  - {name: b}
providers:
  claude:
    rateLimit:
      enabled: true
      refillRate: fast
"""
    found = faults(text)
    assert found[0].startswith("5:9: tasks[0].dependsOn[1]: unknown task 'nope'"), found
    assert found[1].startswith("11:7: providers.claude.rateLimit.refillRate"), found


def test_a_branch_that_cannot_be_is_a_fault_like_any_other() -> None:
    around = replace(AROUND, branches=lambda: ["main", "side", "new/x"])
    for into in (
        "a..b", "@{-1}", "@", "HEAD", "refs/heads/main", "-x", "a b", "a/", "a.lock", "side/below", "new", "architect",
        "architect/parallel-1", "architect/parallel-1/x", "x" * 201,
    ):  # fmt: skip
        with pytest.raises(UsageError, match=r"^auth.yaml:2:9: merge\.into: .*\Z"):
            read(f"tasks: [{{name: a}}]\nmerge: {{into: '{into}'}}", around=around)
    for into in ("main", "new/y", "architect/merged", "architect/parallel", "größe"):
        assert read(f"tasks: [{{name: a}}]\nmerge: {{into: '{into}'}}", around=around).merge is not None


def test_a_debugger_without_a_profile_is_warned_of_too() -> None:
    spec = read("defaults: {backend: claude, model: m}\nrecovery: {debugger: {agent: sleuth}}\ntasks: [{name: a}]")
    assert [each for each in spec.warnings if "'sleuth'" in each]
    assert spec.debugger is not None
    assert (spec.debugger.agent, spec.debugger.backend, spec.debugger.model) == ("sleuth", "claude", "m")


def test_without_surroundings_only_the_text_is_looked_at() -> None:
    assert read("tasks: [{name: a, backend: unheard-of, agent: x}]", around=None).warnings == ()
    assert faults("tasks: [{name: a, dependencies: [a]}]")


def test_a_state_file_that_cannot_be_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / ".git").mkdir()
    (tmp_path / "README.md").write_text("# Mine\n\nRun `make`: **now**\n")
    (tmp_path / "to-readme").symlink_to("README.md")
    (tmp_path / "to-git").symlink_to(".git")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")

    def held(state: str) -> SpecFile:
        return read(f"state_file: {state}\ntasks: [{{name: a}}]", around=replace(AROUND, directory=tmp_path))

    for state in (
        ".", "file/below/it.md", "README.md", "to-readme", ".git/config", "to-git/x", "loop", "loop/x", "pipe",
        "~/x.md", "x" * 5000,
    ):  # fmt: skip
        with pytest.raises(UsageError, match=r"^auth.yaml:1:1: state_file: "):
            held(state)
    for state in ("file", "new/below.md"):
        assert held(state).state_file == state


PIECES = st.sampled_from(
    ["tasks:", "name:", " a", "- ", "{", "}", "[", "]", "\n", "  ", "deps:", "{{ a }}", '"', "'", ":", "null", "1",
     "retry:", "recovery:", "coordinator:", "providers:", "&x", "*x", "!t", "merge:", "\t", "é", "defaults:"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=30).map("".join))
def test_any_text_is_a_spec_or_a_list_of_faults(text: str) -> None:
    with contextlib.suppress(UsageError):  # any other exception is the failure looked for
        read(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text("ab{} ", max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["tasks", "name", "deps", "task", "retry", "recovery", "merge", "execution", "id", "a"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=15,
    )
)
def test_any_data_is_a_spec_or_a_list_of_faults(data: object) -> None:
    with contextlib.suppress(UsageError):
        read(yaml.safe_dump(data))


def test_the_schema_knows_every_other_name() -> None:
    schema = spec_schema()
    task = schema["$defs"]["SpecTaskSection"]["properties"]
    assert {"name", "id", "task", "prompt", "deps", "dependsOn", "dependencies", "onPartial"} <= task.keys()
    assert "maxAttempts" in schema["$defs"]["RetrySection"]["properties"]
