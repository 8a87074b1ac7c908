"""The JSON envelope of a run, which `--json` prints: the fields in the order of the contract."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from architect_parallel.domain import (
    Landing,
    LeftOut,
    RunResult,
    RunSummary,
    SandboxLevel,
    SandboxReport,
    Status,
    WorkerResult,
    report_of,
)
from architect_parallel.event_json import to_plain
from architect_parallel.reports.paused import to_go_on

SCHEMA_VERSION = 1


def envelope(result: RunResult) -> dict[str, Any]:
    """The run as plain data for `json.dumps`. The counts of a live run cover the workers that ended."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": result.run_id,
        "status": result.status.value,
        "exit_code": result.exit_code,
        "base_commit": result.base_commit,
        "total_tasks": result.total_tasks,
        "completed": result.count(Status.SUCCESS),
        "failed": result.count(Status.FAILED, Status.PARTIAL, Status.TIMEOUT),
        "canceled": result.count(Status.CANCELED),
        "skipped": result.count(Status.SKIPPED),
        "total_duration_seconds": result.total_duration_seconds,
        "total_cost": result.total_cost,
        "started_at": to_plain(result.started_at),
        "finished_at": to_plain(result.finished_at),
        "warnings": list(result.warnings),
        "baseline": to_plain(result.baseline),
        "escaped": to_plain(result.escaped),
        "merge": _merge(result.merge),
        "sandbox": _sandbox(result),
        "synthesis": result.synthesis,
        "briefing": result.briefing,
        "pause": None if result.pause is None else to_plain(result.pause) | {"to_go_on": to_go_on(result.run_id)},
        "results": [worker(ended) for ended in result.results],
    }


def _sandbox(result: RunResult) -> dict[str, Any]:
    """The containment of the whole run: the weakest of its workers, with all gaps and refused hosts."""
    reports = [entry.sandbox for entry in result.results] or [report_of(spec.sandbox) for spec in result.planned]
    weakest = min(reports, key=lambda report: list(SandboxLevel).index(report.level), default=SandboxReport())
    denied: dict[str, int] = {}
    for report in reports:
        for host in report.denied:
            denied[host.host] = denied.get(host.host, 0) + host.count
    return {
        "level": weakest.level.value,
        "mechanism": weakest.mechanism.value,
        "network": weakest.network.value,
        "gaps": list(dict.fromkeys(gap for report in reports for gap in report.gaps)),
        "denied": [{"host": host, "count": count} for host, count in sorted(denied.items())],
    }


def _merge(landing: Landing | None) -> dict[str, Any] | None:
    if landing is None:
        return None
    return {
        "merged": list(landing.merged),
        "left_out": left_out(landing.left_out),
        "target": landing.target,
        "commit": landing.commit,
        "method": landing.method,
        "branch": landing.branch,
        "pull_request": landing.pull_request,
        "time": to_plain(landing.time),
    }


def left_out(results: Iterable[LeftOut]) -> list[dict[str, Any]]:
    """Results that were not merged, with the fields of the contract."""
    return [{"worker_id": result.worker_id, "reason": result.reason, "files": list(result.files)} for result in results]


def summary(run: RunSummary) -> dict[str, Any]:
    """One run in a list of runs: the envelope without its results."""
    plain = to_plain(run)
    own = ("task_name", "task", "prompts", "branches")
    return {key: value for key, value in plain.items() if key not in own}


def worker(result: WorkerResult) -> dict[str, Any]:
    """One result as plain data, the nine public fields first."""
    plain = to_plain(result)
    assert isinstance(plain, dict)
    return plain


def dumps(value: Any) -> str:
    """JSON for stdout, in ASCII, so that a path that is not UTF-8 survives any pipe. NaN is an error."""
    return json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False)


def line(value: Any) -> str:
    """Like `dumps`, on one line, for a stream of objects."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
