"""Every built-in backend through the same checks: its command line is safe, its reader is honest and never raises.

A backend without recordings fails here: what it reads has to come from a real run of its program.
"""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from contract.recordings import Recording, load_recording, recorded_cases
from hypothesis import given, settings
from hypothesis import strategies as st

from architect_parallel.backends.base import (
    AgentEvent,
    AgentReport,
    Backend,
    Reader,
    Request,
    Session,
    Step,
    Text,
    Throttled,
    Tokens,
)
from architect_parallel.backends.environment import filtered_environment, secret_values
from architect_parallel.backends.registry import AGENT_CLIS, BUILT_IN, load_backends
from architect_parallel.domain import ApprovalMode, CostBasis, Outcome, SandboxMode, Settings

CASES = [(name, case) for name in BUILT_IN for case in recorded_cases(name)]
ARGUMENT_LIMIT = 128 * 1024
CANARY = "canary-5f1d0c7e"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.fixture
def environ(home: Path) -> dict[str, str]:
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}


@pytest.fixture(params=BUILT_IN)
def backend(request: pytest.FixtureRequest, environ: dict[str, str]) -> Backend:
    return load_backends(Settings(), environ)[request.param]


@pytest.fixture
def asked(tmp_path: Path) -> Callable[..., Request]:
    """`asked(prompt, **more)`: a request of a first attempt."""

    def ask(prompt: str, state: str = "state", **more: object) -> Request:
        prompt_file = tmp_path / "prompt.txt"
        prompt_file.write_text(prompt)
        state_dir = tmp_path / state
        state_dir.mkdir(mode=0o700, exist_ok=True)
        return Request(prompt=prompt, prompt_file=prompt_file, worktree=tmp_path, state_dir=state_dir, **more)  # type: ignore[arg-type]  # fields by name

    return ask


def read_all(reader: Reader, lines: Iterable[bytes]) -> list[AgentEvent]:
    facts = [fact for line in lines for fact in reader.line(line)]
    return [*facts, *reader.poll()]


def texts(facts: Iterable[AgentEvent], ending: AgentReport) -> list[str]:
    found = [ending.text, ending.error or "", *ending.warnings, *ending.denied]
    for fact in facts:
        match fact:
            case Text():
                found.append(fact.text)
            case Throttled():
                found.append(fact.message)
            case Session():
                found += [fact.session_id, fact.model or ""]
            case Tokens():
                found.append(fact.model or "")
            case Step():
                pass
    return found


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_backend_has_recordings(name: str) -> None:
    assert recorded_cases(name), f"tests/recordings/{name} holds no run of the real program"


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_recorded_run_amounts_to_what_the_table_says(
    name: str, case: str, asked: Callable[..., Request], environ: dict[str, str]
) -> None:
    recording = load_recording(name, case)
    expected = recording.expected
    request = asked("task", session_id=expected.get("resumed"))
    reader = _reader_of(recording, load_backends(Settings(), environ)[name], request)
    facts = read_all(reader, recording.stdout.splitlines())
    ending = reader.ending(recording.exit_code, recording.stderr)

    assert ending.outcome is Outcome(expected["outcome"])
    assert ending.text.startswith(expected.get("text", ""))
    assert bool(ending.text) == ("text" in expected)
    assert (ending.error or "").startswith(expected.get("error", ""))
    assert bool(ending.error) == ("error" in expected)
    assert [one_of(ending.warnings, each) for each in expected.get("warnings", ())] == expected.get("warnings", [])
    assert list(ending.denied) == expected.get("denied", [])
    assert ending.retry_after_s == expected.get("retry_after_s")
    assert ending.retryable is expected.get("retryable", True)
    assert len([fact for fact in facts if isinstance(fact, Throttled)]) == expected.get("throttled", 0)
    assert max((fact.count for fact in facts if isinstance(fact, Step)), default=0) == expected["steps"]
    assert _last_session(facts) == expected.get("session")
    tokens = [fact for fact in facts if isinstance(fact, Tokens)]
    assert bool(tokens) == ("tokens" in expected)
    if tokens:
        usage = tokens[-1].usage
        assert [usage.input_tokens, usage.cached_tokens, usage.output_tokens] == expected["tokens"]
        assert usage.reported_cost == expected["cost"]
        assert tokens[-1].model == expected["model"]


def one_of(warnings: tuple[str, ...], begin: str) -> str | None:
    return begin if any(each.startswith(begin) for each in warnings) else None


@pytest.mark.parametrize(("name", "case"), CASES)
def test_steps_and_tokens_never_go_back(
    name: str, case: str, asked: Callable[..., Request], environ: dict[str, str]
) -> None:
    recording = load_recording(name, case)
    reader = _reader_of(
        recording, load_backends(Settings(), environ)[name], asked("task", session_id=recording.expected.get("resumed"))
    )
    facts: list[AgentEvent] = []
    for line in recording.stdout.splitlines():
        facts += reader.line(line)
        facts += reader.poll()
    steps = [fact.count for fact in facts if isinstance(fact, Step)]
    assert steps == sorted(set(steps))
    output = [fact.usage.output_tokens or 0 for fact in facts if isinstance(fact, Tokens)]
    assert output == sorted(output)


def test_a_prompt_is_one_argument_and_no_shell_sees_it(backend: Backend, asked: Callable[..., Request]) -> None:
    prompt = "say 'hi'; $(touch /tmp/never) `id` \"x\" && rm -rf *"
    line = backend.command(asked(prompt))
    holding = [word for word in line.argv if "touch" in word]
    if backend.name == "shell":  # there the prompt is meant for the shell
        assert holding == [prompt]
        return
    assert holding == [prompt] or (holding == [] and line.stdin_file is not None)
    assert not {"sh", "bash", "dash", "zsh"} & {Path(word).name for word in line.argv}


@pytest.mark.parametrize("prompt", ["--help", "-rf /", "-", "--dangerously-skip-permissions", "- [ ] a list"])
def test_a_prompt_that_begins_with_a_dash_is_no_option(
    backend: Backend, asked: Callable[..., Request], prompt: str
) -> None:
    request = asked(prompt)
    plain = backend.command(asked("plain words"))
    line = backend.command(request)
    assert line.stdin_file == request.prompt_file or str(request.prompt_file) in line.argv
    # `-` alone is codex' word for stdin
    assert [word for word in line.argv if word == prompt and word != "-"] == [
        word for word in plain.argv if word == prompt and word != "-"
    ]


def test_a_prompt_of_10_mb_goes_by_stdin_or_file(backend: Backend, asked: Callable[..., Request]) -> None:
    request = asked("x" * 10_000_000)
    line = backend.command(request)
    assert max(len(word) for word in line.argv) < ARGUMENT_LIMIT
    assert line.stdin_file == request.prompt_file or str(request.prompt_file) in line.argv


def test_keys_are_not_in_argv_and_are_redacted(
    backend: Backend, asked: Callable[..., Request], environ: dict[str, str]
) -> None:
    keys = {name: CANARY + name for name in backend.secrets if "*" not in name}
    told = load_backends(Settings(), environ | keys)[backend.name]
    line = told.command(asked("task"))
    assert CANARY not in " ".join(line.argv)
    assert set(keys.values()) <= set(secret_values(told, environ | keys))
    assert keys.items() <= filtered_environment(told, environ | keys).items()


def test_foreign_variables_do_not_reach_the_agent(backend: Backend, environ: dict[str, str]) -> None:
    foreign = dict.fromkeys(("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "PYTHONPATH", "GIT_DIR", "CLAUDECODE"), CANARY)
    passed = filtered_environment(backend, environ | foreign)
    assert CANARY not in passed.values()
    assert environ.items() <= passed.items()


@pytest.mark.parametrize("approval", ApprovalMode)
@pytest.mark.parametrize("sandbox", SandboxMode)
def test_every_mode_has_a_command_line(
    backend: Backend, asked: Callable[..., Request], approval: ApprovalMode, sandbox: SandboxMode
) -> None:
    line = backend.command(asked("task", approval_mode=approval, sandbox_mode=sandbox))
    unsafe = [word for word in line.argv if "dangerously" in word or "danger-full" in word]
    if sandbox in (SandboxMode.READ_ONLY, SandboxMode.WORKSPACE):  # what is written beats what an approval would allow
        assert unsafe == []


@pytest.mark.parametrize("name", AGENT_CLIS)
def test_a_missing_program_is_named_with_a_remedy(name: str, environ: dict[str, str]) -> None:
    backend = load_backends(Settings(), environ)[name]
    found = backend.availability(environ | {"PATH": "/nonexistent"})
    assert not found.ready
    assert backend.name in (found.missing or "")
    assert found.remedy


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(st.binary(max_size=200), max_size=20), exit_code=st.sampled_from([None, 0, 1, -9]))
@pytest.mark.parametrize("name", BUILT_IN)
def test_a_reader_takes_any_bytes(
    name: str, lines: list[bytes], exit_code: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _check_reader(_fresh_reader(name, tmp_path_factory), lines, exit_code)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", BUILT_IN)
def test_a_reader_takes_mutilated_recordings(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    case = data.draw(st.sampled_from(recorded_cases(name)))
    text = load_recording(name, case).stdout
    replacements = [
        *(b"NaN", b"Infinity", b"-1", b"1e999", b'"\\ud800"', b"[]", b"{}", b"null", b"true", b"9" * 5000),
        *(b'"\\u001b[2J"', b'"\xff\xfe"', b"[" * 3000, b"\x00", b'"x\\u202ey"'),
    ]
    values = list(re.finditer(rb'(?<=":)("[^"]*"|[0-9.]+|true|false|null)', text))
    for _ in range(data.draw(st.integers(1, 6)) if values else 0):
        at = data.draw(st.sampled_from(values))
        by = data.draw(st.sampled_from(replacements))
        text = text.replace(at[0], by) if data.draw(st.booleans()) else text[: at.start()] + by + text[at.end() :]
    _check_reader(
        _fresh_reader(name, tmp_path_factory), text.split(b"\n"), data.draw(st.sampled_from([None, 0, 1, -15]))
    )


def _check_reader(reader: Reader, lines: list[bytes], exit_code: int | None) -> None:
    facts = read_all(reader, lines)
    ending = reader.ending(exit_code, "\x1b[31mstderr\x1b[0m\n")
    for text in texts(facts, ending):
        assert CONTROL.search(text) is None
        text.encode()
    for fact in facts:
        if isinstance(fact, Tokens):
            usage = fact.usage
            assert usage.reported_cost is None or (math.isfinite(usage.reported_cost) and usage.reported_cost >= 0)
            assert all(each is None or each >= 0 for each in (usage.input_tokens, usage.output_tokens))
            assert usage.cost_basis is not CostBasis.REPORTED or usage.reported_cost is not None


def _fresh_reader(name: str, places: pytest.TempPathFactory) -> Reader:
    place = places.mktemp("reader")
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(place)}
    request = Request(prompt="task", prompt_file=place / "prompt", worktree=place, state_dir=place)
    return load_backends(Settings(), environ)[name].reader(request)


_BESIDE = {
    "codex": ("rollout", "codex/sessions/2026/11/21/rollout-2026-11-21-{session}.jsonl"),
    "gemini": ("chat", "gemini/.gemini/tmp/repo/chats/session-2026-11-21-{session}.jsonl"),
    "copilot": ("calls", "copilot-calls.jsonl"),
    "aider": ("events", "aider-events.jsonl"),
}
"""What an agent keeps beside its output: the recording's name for it, and where its reader looks under the state."""


def _reader_of(recording: Recording, backend: Backend, request: Request) -> Reader:
    """A reader with the files the agent kept beside its output where it looks for them."""
    name, where = _BESIDE.get(recording.backend, ("none", "none"))
    kept = request.state_dir / where.format(session=recording.expected.get("session"))
    kept.parent.mkdir(parents=True, exist_ok=True)
    before, after = recording.directory / f"{name}-before.jsonl", recording.directory / f"{name}.jsonl"
    if before.exists():
        shutil.copy(before, kept)
    reader = backend.reader(request)
    if after.exists():
        shutil.copy(after, kept)
    return reader


def _last_session(facts: Iterable[AgentEvent]) -> str | None:
    sessions = [fact.session_id for fact in facts if isinstance(fact, Session)]
    return sessions[-1] if sessions else None
