"""The parts of the HTML report that are pure: escaping, packing, and where a run's time went."""

from __future__ import annotations

import base64
import dataclasses
import html.parser
import json
import re
import zlib
from functools import cache
from importlib.resources import files
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Template
from support.report_material import HOSTILE, check, events_of, lane, run_of, spec_of

from architect_parallel.domain import Attempt, Reason, Status, WorkerResult
from architect_parallel.events import (
    AgentStarted,
    AttemptEnded,
    LimitReached,
    RunExtended,
    RunResumed,
    WorkerFinished,
    WorkerStarting,
)
from architect_parallel.reports import html as html_report
from architect_parallel.reports.html import formatting as figures
from architect_parallel.reports.html.embedded_data import pack
from architect_parallel.reports.html.formatting import shown
from architect_parallel.reports.html.markup import environment
from architect_parallel.reports.html.page import MODULES
from architect_parallel.reports.html.spans import SpanPhase, timeline
from architect_parallel.reports.html.transcripts import transcript

BASE = "b" * 40


def result(worker_id: int, **more: object) -> WorkerResult:
    return WorkerResult(
        worker_id=worker_id, branch="b", model="m", status=Status.SUCCESS, steps=1, cost=None, duration=1.0,
        files_modified=[], worktree_path="/w", **more,  # type: ignore[arg-type]  # test data
    )  # fmt: skip


class Reader(html.parser.HTMLParser):
    """What a parser makes of markup."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@cache
def compiled(template: str) -> Template:
    return environment().from_string(template)


@given(st.text() | st.just(HOSTILE))
def test_text_is_text_wherever_it_stands(text: str) -> None:
    template = '<p title="{{ text }}" data-x="{{ text }}">{{ text }}{{ text }}{{ nothing }}</p>'
    read = Reader(compiled(template).render(text=text, nothing=None))

    assert read.tags == ["p"]
    assert [name for name, _ in read.attributes] == ["title", "data-x"]
    assert read.text == shown(text) * 2
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", read.text)


@given(st.text() | st.just(HOSTILE))
def test_data_cannot_end_its_element(text: str) -> None:
    inner = compiled("{{ data|tojson }}").render(data={text: text})

    assert not set("<>&") & set(inner)
    assert json.loads(inner) == {text: text}


def test_templates_quote_attributes_and_leave_no_text_unescaped() -> None:
    """`~` joins a macro's markup to text without `shown`; the others would let an agent's words become markup."""
    names = environment().list_templates()
    texts = {name: files(html_report).joinpath("templates", name).read_text() for name in names}

    assert "page.html" in texts
    for name, text in texts.items():
        assert not re.search(r"=\s*\{[{%]|\|\s*(safe|xmlattr|urlize)\b|autoescape|\{[{%][^}]*~", text), name


@given(st.lists(st.binary(max_size=3000)), st.integers(min_value=0, max_value=6000))
def test_what_is_packed_fits_and_comes_back(pieces: list[bytes], room: int) -> None:
    packed = pack(pieces, room)

    unpacked = zlib.decompress(base64.b64decode(packed.text), -15)
    assert [unpacked[at : at + size] for at, size in packed.positions] == pieces[: len(packed.positions)]
    assert len(packed.text) <= max(room, 8)
    if len(packed.positions) < len(pieces):
        assert len(pack(pieces, 10**9).text) + 8 > room  # nothing is left out that had room


def test_script_modules_import_only_what_earlier_modules_export_and_share_no_name() -> None:
    """They become one script with one scope, where neither would be noticed."""
    exported: dict[str, set[str]] = {}
    declared: list[str] = []
    for name in MODULES:
        text = files(html_report).joinpath("assets", f"{name}.js").read_text()
        for names, module in re.findall(r'^import \{ (.*) \} from "\./(\w+)\.js";$', text, re.MULTILINE):
            assert set(names.split(", ")) <= exported[module], f"{name} imports from {module}"
            assert all(len(re.findall(rf"\b{imported}\b", text)) > 1 for imported in names.split(", ")), name
        assert text.count("import {") == len(re.findall("^import ", text, re.MULTILINE))
        declarations = re.findall(r"^(export )?(?:async )?(?:function|const|let) (\w+)", text, re.MULTILINE)
        exported[name] = {name for export, name in declarations if export}
        declared += [name for _, name in declarations]

    assert sorted(declared) == sorted(set(declared))
    assert sorted(MODULES) == sorted(
        path.name.removesuffix(".js") for path in files(html_report).joinpath("assets").iterdir() if ".js" in path.name
    )


def test_the_time_of_a_worker_is_told_in_phases() -> None:
    worker = result(1, checks=[check("pytest", True)])
    shown_ = timeline(events_of([spec_of(1, BASE)], *lane(worker, 2.0, 10.0, 3.0)))

    spans = [(span.phase, round(span.begin_s, 1), round(span.end_s, 1)) for span in shown_.lanes[0].spans]
    assert spans == [
        (SpanPhase.WAITING, 0.0, 2.0),
        (SpanPhase.WORKTREE, 2.0, 3.2),
        (SpanPhase.AGENT, 3.2, 13.2),
        (SpanPhase.COLLECTING, 13.2, 16.8),  # nothing was collected, so its check is part of it
    ]


def test_attempts_and_limits_are_on_the_timeline() -> None:
    attempt = Attempt(number=1, status=Status.FAILED, reason=Reason.CRASHED)
    shown_ = timeline(
        events_of(
            [spec_of(1, BASE)],
            (0.0, 1, WorkerStarting(attempt=1)),
            (1.0, 1, AgentStarted(supervisor_pid=1, agent_pid=2, argv=())),
            (5.0, 1, AttemptEnded(attempt=attempt, because="it crashed")),
            (8.0, 1, WorkerStarting(attempt=2)),
            (9.0, 1, AgentStarted(supervisor_pid=1, agent_pid=2, argv=())),
            (12.0, 1, LimitReached(reason=Reason.BUDGET, detail="$1")),
            (13.0, 1, WorkerFinished(result=result(1))),
        )
    )

    assert [(span.phase, span.attempt, span.length_s) for span in shown_.lanes[0].spans] == [
        (SpanPhase.WORKTREE, 1, 1.0),
        (SpanPhase.AGENT, 1, 4.0),
        (SpanPhase.WAITING, 1, 3.0),
        (SpanPhase.WORKTREE, 2, 1.0),
        (SpanPhase.AGENT, 2, 4.0),
    ]
    assert [(mark.at_s, mark.text) for mark in shown_.lanes[0].marks] == [(12.0, "stopped: budget, $1")]


def test_the_time_between_a_launchers_end_and_a_resume_does_not_count() -> None:
    shown_ = timeline(
        events_of(
            [spec_of(1, BASE)],
            (1.0, 1, WorkerStarting(attempt=1)),
            (3.0, 1, AgentStarted(supervisor_pid=1, agent_pid=2, argv=())),
            (90_000.0, None, RunResumed(launcher_pid=2, worker_ids=(1,))),
            (90_001.0, 1, WorkerStarting(attempt=2)),
            (90_004.0, 1, WorkerFinished(result=result(1))),
        )
    )

    assert shown_.total_s == 7.0
    assert shown_.resumed_s == (3.0,)
    assert [span.phase for span in shown_.lanes[0].spans] == [
        SpanPhase.WAITING, SpanPhase.WORKTREE, SpanPhase.WAITING, SpanPhase.WORKTREE,
    ]  # fmt: skip


def test_an_added_worker_is_on_the_timeline_from_when_it_was_added() -> None:
    shown_ = timeline(
        events_of(
            [spec_of(1, BASE)],
            (2.0, None, RunExtended(workers=(spec_of(2, BASE),))),
            (3.0, 2, WorkerStarting(attempt=1)),
            (5.0, 2, WorkerFinished(result=result(2))),
        )
    )

    assert [lane.worker_id for lane in shown_.lanes] == [1, 2]
    spans = [(span.phase, span.begin_s, span.end_s) for span in shown_.lanes[1].spans]
    assert spans == [(SpanPhase.WAITING, 2.0, 3.0), (SpanPhase.WORKTREE, 3.0, 5.0)]


def test_what_goes_on_is_open_and_an_empty_run_has_no_time() -> None:
    events = events_of([spec_of(1, BASE), spec_of(2, BASE)], (1.0, 1, WorkerStarting(attempt=1)))

    assert [[span.is_open for span in lane.spans] for lane in timeline(events).lanes] == [[False], [True]]
    assert timeline(()).lanes == ()


def test_figures_are_short_and_honest() -> None:
    assert [figures.cost(each) for each in (None, 0.0, 0.00123, 0.5, 12.345)] == [
        "?",
        "$0.00",
        "$0.0012",
        "$0.500",
        "$12.35",
    ]
    assert [figures.duration(each) for each in (0.04, 9.94, 9.96, 59.7, 3599.8, 7260)] == [
        "0.0 s", "9.9 s", "10 s", "1 min 00 s", "1 h 00 min", "2 h 01 min",
    ]  # fmt: skip
    assert [figures.plural(1, "file"), figures.plural(2, "patch"), figures.plural(3, "process")] == [
        "1 file", "2 patches", "3 processes",
    ]  # fmt: skip
    assert run_of([spec_of(1, BASE)], []).total_tasks == 1


def test_a_transcript_is_what_the_agent_said_and_did(tmp_path: Path) -> None:
    recording = Path(__file__).parents[2] / "recordings/claude/2.1.329/stream/stdout"
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "worker-1.log").write_bytes(recording.read_bytes())

    packed, size = transcript(
        tmp_path, spec_of(1, BASE, backend="claude", worktree_path="/repo/.architect-parallel-1"), 100_000
    )

    text = zlib.decompress(base64.b64decode(packed), -15).decode()
    assert "* Write hello.txt (+1)" in text
    assert '{"type"' not in text
    assert len(text) == size


def test_the_middle_of_a_long_transcript_is_left_out_between_two_lines(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    lines = [f"line {number} {'x' * 90}" for number in range(10_000)]
    (tmp_path / "logs" / "worker-1.log").write_text("\n".join(lines) + "\n")

    packed, _ = transcript(tmp_path, dataclasses.replace(spec_of(1, BASE), backend="shell"), 10**7)

    shown_lines = zlib.decompress(base64.b64decode(packed), -15).decode().split("\n")
    assert (shown_lines[0], shown_lines[-1]) == (lines[0], lines[-1])
    (omitted,) = [line for line in shown_lines if line not in set(lines)]
    assert re.fullmatch(r"\[… \d{3},\d{3} bytes omitted …\]", omitted)


def test_workers_of_different_tasks_are_named_by_their_tasks() -> None:
    spec = dataclasses.replace(spec_of(1, BASE), name="worker-1", prompt="mend the parser", model="opus")
    assert figures.label(spec, is_by_task=True) == "mend the parser"
    assert figures.label(spec, is_by_task=False) == "opus"
    assert figures.label(dataclasses.replace(spec, name="parser"), is_by_task=True) == "parser"
