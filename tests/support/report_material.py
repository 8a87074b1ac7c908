"""Runs to look at: made by hand over real commits, so that every part of a report has something to show."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from architect_parallel.domain import (
    AgentProfile,
    Attempt,
    CheckChange,
    CheckResult,
    Comparison,
    Escape,
    ModelRate,
    Pair,
    Rank,
    Reason,
    RunPlan,
    RunResult,
    RunStatus,
    Status,
    Usage,
    WorkerResult,
    WorkerSpec,
)
from architect_parallel.events import (
    AgentExited,
    AgentStarted,
    AttemptEnded,
    BaselineFinished,
    CheckFinished,
    Collected,
    Event,
    LimitReached,
    RateLimited,
    Recorded,
    RunFinished,
    RunStarted,
    StepTaken,
    WorkerFinished,
    WorkerStarting,
)
from architect_parallel.reports.material import Material
from architect_parallel.snapshots.diff import diff
from architect_parallel.system.git import Repository, open_repository
from support.landing_runs import commit
from support.repositories import git, make_repository

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUN_ID = "20260102-030405-abcd"

BASE = """\
import re

SEPARATORS = re.compile(r"[^a-z0-9]+")


def slug(text: str) -> str:
    \"\"\"The text as a part of an address.\"\"\"
    lowered = text.lower()
    return SEPARATORS.sub("-", lowered)


def words(text: str) -> list[str]:
    return text.split()


def title(text: str) -> str:
    return " ".join(word.capitalize() for word in words(text))
"""

HOSTILE = (
    "</script><script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>"
    "\x1b]0;title\x07\x1b[31mred\x1b[0m\u202ereversed\u2066\x00<svg onload=window.pwned=3>\udce9"
    "{{pwned}} ${pwned} javascript:window.pwned=4 &lt;b&gt; <!--"
)
"""What an agent would print that wants to be more than text."""


def repository_at(directory: Path) -> Repository:
    """A repository with a module, its tests and a binary file."""
    files: dict[str, str | bytes] = {
        "src/slug.py": BASE,
        "tests/test_slug.py": "def test(): ...\n",
        "logo.bin": b"\0\1",
    }
    return open_repository(make_repository(directory, files))


def committed(repository: Repository, files: Mapping[str, str | bytes | None], branch: str) -> str:
    """A commit of these files on the base, on a branch of its own; the checkout is back on `main` afterwards."""
    root = repository.root
    git(root, "checkout", "--quiet", "-b", branch, "main")
    head = commit(root, files, branch)
    git(root, "checkout", "--quiet", "main")
    return head


def spec_of(worker_id: int, base: str, **more: object) -> WorkerSpec:
    plain = WorkerSpec(
        run_id=RUN_ID, worker_id=worker_id, index=worker_id - 1, number=worker_id, name=f"worker-{worker_id}",
        prompt="Make slugs of titles with accents, and keep every test green.", backend="claude", model=None,
        agent=AgentProfile(name="build"), branch=f"architect/parallel-{worker_id}",
        worktree_path=f"/home/me/repo/.architect-parallel-{worker_id}", base_commit=base,
    )  # fmt: skip
    return dataclasses.replace(plain, **more)  # type: ignore[arg-type]  # test data


def result_of(repository: Repository, spec: WorkerSpec, head: str | None, **more: object) -> WorkerResult:
    found = diff(repository.store, spec.base_commit, head) if head else None
    plain = WorkerResult(
        worker_id=spec.worker_id, branch=spec.branch, model=spec.model or "default", status=Status.SUCCESS, steps=4,
        cost=0.0123, duration=12.5, files_modified=[file.path for file in found.files] if found else [],
        worktree_path=spec.worktree_path, name=spec.name, task=spec.prompt, backend=spec.backend, agent="build",
        reason=Reason.COMPLETED, exit_code=0, output="Done.", session_id="17067f7d-7301", started_at=START, diff=found,
        usage=Usage(input_tokens=9230, cached_tokens=6528, output_tokens=320), peak_memory_bytes=200 * 2**20,
    )  # fmt: skip
    return dataclasses.replace(plain, **more)  # type: ignore[arg-type]  # test data


def run_of(
    specs: list[WorkerSpec], results: list[WorkerResult], status: RunStatus = RunStatus.SUCCESS, **more: object
) -> RunResult:
    plain = RunResult(
        run_id=RUN_ID, status=status, exit_code=0, base_commit=specs[0].base_commit, base_ref="main", started_at=START,
        finished_at=START, total_duration_seconds=42.0, max_parallel=3, results=results, planned=tuple(specs),
    )  # fmt: skip
    return dataclasses.replace(plain, **more)  # type: ignore[arg-type]  # test data


def events_of(specs: list[WorkerSpec], *happened: tuple[float, int | None, Event]) -> tuple[Recorded, ...]:
    """The start of the run and what happened then: (seconds, worker, event)."""
    plan = RunPlan(
        run_id=RUN_ID, repository="/home/me/repo", base_commit=specs[0].base_commit, base_ref="main",
        workers=tuple(specs), max_parallel=3,
    )  # fmt: skip
    entries: list[tuple[float, int | None, Event]] = [(0.0, None, RunStarted(plan=plan, launcher_pid=1))]
    entries += sorted(happened, key=lambda entry: entry[0])
    return tuple(
        Recorded(run_id=RUN_ID, seq=seq, time=START + timedelta(seconds=at), worker_id=worker, event=event)
        for seq, (at, worker, event) in enumerate(entries, start=1)
    )


def lane(worker: WorkerResult, begin_s: float, agent_s: float, checks_s: float = 0.0) -> list[tuple[float, int, Event]]:
    """A worker's way from its worktree to its end."""
    number, at = worker.worker_id, begin_s
    events: list[tuple[float, int, Event]] = [
        (at, number, WorkerStarting(attempt=1)),
        (at + 1.2, number, AgentStarted(supervisor_pid=1, agent_pid=2, argv=("claude",))),
        (at + 1.2 + agent_s / 2, number, StepTaken(steps=2)),
        (at + 1.2 + agent_s, number, AgentExited(exit_code=0, leaked=0, peak_memory_bytes=None)),
    ]
    at += 1.2 + agent_s + 0.6
    if worker.diff is not None:
        events.append((at, number, Collected(diff=worker.diff)))
    events += [(at + checks_s, number, CheckFinished(check=check)) for check in worker.checks]
    return [*events, (at + checks_s, number, WorkerFinished(result=worker))]


def check(command: str, passed: bool, change: CheckChange | None = None, **more: object) -> CheckResult:
    plain = CheckResult(
        command=command, passed=passed, exit_code=0 if passed else 1, duration_seconds=3.25, change=change,
        output_tail="4 passed in 0.31s" if passed else "FAILED tests/test_slug.py::test_accents\n1 failed, 3 passed",
    )  # fmt: skip
    return dataclasses.replace(plain, **more)  # type: ignore[arg-type]  # test data


def competition(repository: Repository) -> Material:
    """Five workers: two good ones in each other's way, one that broke a check, one out of time, one canceled."""
    base = git(repository.root, "rev-parse", "main")
    models = ("claude-opus-4-5", "gpt-5.1-codex", "gemini-3-pro", "deepseek-chat", None)
    specs = [
        spec_of(n, base, model=model, backend=backend, checks=("pytest -q", "ruff check ."))
        for n, (model, backend) in enumerate(
            zip(models, ("claude", "codex", "gemini", "architect", "opencode"), strict=True), start=1
        )
    ]
    folded = BASE.replace("lowered = text.lower()", "lowered = unidecode(text).lower().strip()").replace(
        "import re\n", "import re\n\nfrom unidecode import unidecode\n"
    )
    plain = BASE.replace("lowered = text.lower()", "lowered = fold(text).lower()").replace(
        "return text.split()", "return [word for word in text.split() if word]"
    )
    heads = [
        committed(repository, {"src/slug.py": folded, "tests/test_slug.py": "def test():\n    assert slug('É')\n",
                               "docs/accents.md": "# Accents\n\nThey go.\n"}, "one"),
        committed(repository, {"src/slug.py": plain, "src/fold.py": "def fold(text: str) -> str:\n    return text\n",
                               "logo.bin": b"\0\2"}, "two"),
        committed(repository, {"docs/accents.md": "# On accents\n\nThey stay.\n", "tests/test_slug.py": None}, "three"),
    ]  # fmt: skip
    passed = [check("pytest -q", True, CheckChange.MENDED), check("ruff check .", True, CheckChange.UNCHANGED)]
    broken = [check("pytest -q", False, CheckChange.NEWLY_BROKEN), check("ruff check .", True, flaky=True)]
    attempts = [
        Attempt(number=1, status=Status.FAILED, reason=Reason.RATE_LIMITED, error="HTTP 429: slow down", cost=0.002,
                duration=2.0, next_in_seconds=5.0),
        Attempt(number=2, status=Status.SUCCESS, reason=Reason.COMPLETED, cost=0.31, duration=18.0, waited_seconds=5.0),
    ]  # fmt: skip
    results = [
        result_of(repository, specs[0], heads[0], cost=0.184, duration=21.4, steps=14, checks=passed,
                  output="Titles with accents make slugs now: `unidecode` folds them.\n\nAll tests pass."),
        result_of(repository, specs[1], heads[1], cost=0.312, duration=33.0, steps=22, checks=passed, attempts=2,
                  attempt_history=attempts, outside_scope=["logo.bin"], warnings=["its price is a guess"]),
        result_of(repository, specs[2], heads[2], cost=0.04, duration=9.0, status=Status.FAILED, checks=broken,
                  reason=Reason.CHECK_FAILED, error="pytest -q failed (exit code 1)", exit_code=0),
        result_of(repository, specs[3], None, cost=None, duration=30.0, status=Status.TIMEOUT, output="",
                  reason=Reason.WORKER_TIMEOUT, error="no end within 30 s", exit_code=-15, leaked=2),
        result_of(repository, specs[4], None, cost=0.0, duration=0.0, status=Status.CANCELED, started_at=None,
                  reason=Reason.CANCELED, output="", exit_code=None, steps=0, usage=Usage()),
    ]  # fmt: skip
    happened = [
        *lane(results[0], 0.2, 21.4, 4.0),
        *lane(results[1], 11.0, 18.0, 6.0),
        *lane(results[2], 0.4, 9.0, 5.0),
        *lane(results[3], 3.0, 30.0),
        (0.15, None, BaselineFinished(checks=(check("pytest -q", False),))),
        (0.5, 2, WorkerStarting(attempt=1)),
        (1.5, 2, AgentStarted(supervisor_pid=1, agent_pid=2, argv=("codex",))),
        (3.5, 2, RateLimited(message="HTTP 429: slow down")),
        (4.0, 2, AttemptEnded(attempt=attempts[0], because="the provider refused")),
        (34.0, 4, LimitReached(reason=Reason.WORKER_TIMEOUT, detail="30 s")),
        (37.5, None, RunFinished(status=RunStatus.PARTIAL, exit_code=1)),
    ]
    ranking = (
        Rank(
            place=1, worker_id=1, model="claude-opus-4-5", reason="breaks nothing, mends 1 check; cheaper than worker 2"
        ),
        Rank(place=2, worker_id=2, model="gpt-5.1-codex", reason="costs $0.312 where worker 1 costs $0.184"),
        Rank(place=3, worker_id=3, model="gemini-3-pro", reason="breaks 1 check that passed on the base"),
        Rank(place=4, worker_id=4, model="deepseek-chat", reason="timeout, nothing written"),
        Rank(place=5, worker_id=5, model="default", reason="canceled before it began"),
    )
    comparison = Comparison(
        conflicts=(
            Pair(a=1, b=2, clean=False, files=("src/slug.py",)),
            Pair(a=1, b=3, clean=False, files=("docs/accents.md", "tests/test_slug.py")),
            Pair(a=2, b=3, clean=True),
            *(Pair(a="main", b=worker, clean=True) for worker in (1, 2, 3)),
        ),
        shared_files={"docs/accents.md": (1, 3), "src/slug.py": (1, 2), "tests/test_slug.py": (1, 3)},
        proposed=(2, 3),
        order=(2, 3, 1),
    )
    run = run_of(
        specs, results, RunStatus.PARTIAL, total_duration_seconds=37.5, baseline=[check("pytest -q", False)],
        warnings=["codex: max_tokens is not honoured"],
        escaped=Escape(paths=("notes.txt", "refs/stash"), patch="/home/me/repo/.git/escape.patch", suspects=(2, 4)),
    )  # fmt: skip
    logs = repository.state_dir / "runs" / RUN_ID / "logs"
    logs.mkdir(parents=True)
    (logs / "worker-1.log").write_text('{"type":"assistant","text":"I look at slug.py first."}\n' * 40)
    (logs / "worker-2.log").write_text("HTTP 429: slow down\n")
    (logs / "worker-2-2.log").write_text("reading src/slug.py\nwriting src/fold.py\n")
    return Material(
        repository=repository, result=run, recorded=events_of(specs, *happened), ranking=ranking,
        rates=(ModelRate(model="gpt-5.1-codex", runs=4, pass_rate=0.75, interval=(0.3, 0.95)),), comparison=comparison,
    )  # fmt: skip


def hostile(repository: Repository) -> Material:
    """Whatever an agent, a task or a file can say, said by somebody who means harm."""
    base = git(repository.root, "rev-parse", "main")
    text = HOSTILE
    content = HOSTILE.replace("\x00", "").encode("utf-8", "replace") + b"\n" + b"x" * 100_000 + b"\n\xff\xfe\r\n"
    path = "docs/<img src=x onerror=window.pwned=5>\u202e\x1b[31m\n.md"
    specs = [spec_of(n, base, name=text, prompt=text + str(n), model="m", backend="shell") for n in (1, 2)]
    heads = [committed(repository, {path: content + b"%d" % n, "src/slug.py": content}, f"h{n}") for n in (1, 2)]
    bad = [check(text, False, CheckChange.NEWLY_BROKEN, output_tail=text)]
    attempts = [Attempt(number=n, status=Status.FAILED, reason=Reason.CRASHED, error=text) for n in (1, 2)]
    results = [
        result_of(repository, spec, head, output=text * 3, error=text, checks=bad, session_id=text, backend=text,
                  model=text, agent=text, warnings=[text], outside_scope=[path, text], tags=[text],
                  attempt_history=attempts, worktree_path=text, status=Status.FAILED, reason=Reason.CRASHED)
        for spec, head in zip(specs, heads, strict=True)
    ]  # fmt: skip
    marks: list[tuple[float, int, Event]] = [(2.0, 1, RateLimited(message=text))]
    run = run_of(specs, results, RunStatus.FAILED, warnings=[text], base_ref=text, baseline=bad,
                 escaped=Escape(paths=(path, text), patch=text, suspects=(1,)))  # fmt: skip
    logs = repository.state_dir / "runs" / RUN_ID / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    (logs / "worker-1.log").write_bytes(
        text.encode("utf-8", "surrogateescape") + b"y" * 50_000 + b"\x00\xff\n" + content
    )
    return Material(
        repository=repository, result=run,
        recorded=events_of(specs, *lane(results[0], 0.1, 5), *lane(results[1], 0.1, 4), *marks),
        ranking=tuple(Rank(place=n, worker_id=n, model=text, reason=text) for n in (1, 2)),
        comparison=Comparison(
            conflicts=(Pair(a=1, b=2, clean=False, files=(path, text)), Pair(a=text, b=1, clean=True)),
            shared_files={path: (1, 2)}, proposed=(1,), order=(1, 2),
        ),
    )  # fmt: skip
