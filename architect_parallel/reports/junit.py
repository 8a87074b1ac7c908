"""A run as JUnit XML: one test case per worker, its checks as properties of the suite.

JUnit has no standard. This report is valid against the two schemas in use, Jenkins' `junit-10.xsd` and Ant's
`JUnit.xsd`. Hence properties belong to the suite (Jenkins allows none in a test case), output is at its end (Ant allows
none in a test case), and times have no zone. A failed check is a failure, and any other failure an error. A worker that
was canceled or skipped, or has not ended yet, is skipped.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from architect_parallel.domain import CheckResult, Reason, RunResult, Status, WorkerResult, WorkerSpec
from architect_parallel.reports import text
from architect_parallel.reports.material import Material
from architect_parallel.text.names import DEFAULT_MODEL
from architect_parallel.text.sanitize import one_line, plain_text

SHOWN_CHARACTERS = 20_000
"""The longest part of an agent's final text, or of an error."""
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(material: Material) -> str:
    """The report as XML, declaration included."""
    result = material.result
    root = Element("testsuites")
    suite = SubElement(root, "testsuite")
    properties = SubElement(suite, "properties")
    for name, value in _properties(result):
        SubElement(properties, "property", name=_token(name), value=_legal(value))
    ended = {worker.worker_id: worker for worker in result.results}
    kinds = [
        _add_case(suite, spec, ended.get(spec.worker_id)) for spec in sorted(result.planned, key=lambda s: s.worker_id)
    ]
    suite.attrib |= {
        "name": f"architect {result.run_id}",
        "id": "0",
        "package": "architect",
        "hostname": "localhost",
        "timestamp": f"{result.started_at:%Y-%m-%dT%H:%M:%S}",
        "time": f"{result.total_duration_seconds:.3f}",
        "tests": str(len(kinds)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
        "skipped": str(kinds.count("skipped")),
    }
    outputs = (_words(worker) for worker in result.results if worker.output)
    SubElement(suite, "system-out").text = _legal("\n".join(outputs))
    SubElement(suite, "system-err").text = _legal("\n".join(f"warning: {message}" for message in result.warnings))
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode")


def _properties(result: RunResult) -> list[tuple[str, str]]:
    pairs = [("run", result.run_id), ("status", result.status.value), ("base", result.base_commit)]
    pairs += [(f"base: {check.command}", _check_words(check)) for check in result.baseline]
    for worker in result.results:
        prefix = f"worker {worker.worker_id}"
        pairs += [(f"{prefix}: {check.command}", _check_words(check)) for check in worker.checks]
        pairs += [(f"{prefix}: branch", worker.branch)] if worker.branch else []
        pairs += [(f"{prefix}: cost", f"{worker.cost:.6f}")] if worker.cost is not None else []
    return pairs


def _check_words(check: CheckResult) -> str:
    outcome = "timed out" if check.timed_out else "passed" if check.passed else f"failed, exit code {check.exit_code}"
    change = f", {str(check.change).replace('_', ' ')}" if check.change is not None else ""
    return f"{outcome}{change}{', flaky' if check.flaky else ''} ({check.duration_seconds:.1f} s)"


def _add_case(suite: Element, spec: WorkerSpec, result: WorkerResult | None) -> str:
    """Add one worker's test case. Returns its kind: `failure`, `error`, `skipped` or empty."""
    words = text.task_words(spec.worker_id, spec.name, spec.prompt, 120)
    case = SubElement(
        suite,
        "testcase",
        name=_token(f"worker {spec.worker_id}: {words}"),
        # The requested model: a new default model of a backend must not change the name.
        classname=_token(f"architect.{spec.backend}.{spec.model or DEFAULT_MODEL}"),
        time=f"{result.duration_seconds if result else 0.0:.3f}",
    )
    if result is None:
        SubElement(case, "skipped", message="it has not ended yet")
        return "skipped"
    if result.status is Status.SUCCESS:
        return ""
    reason = text.reason_words(result)
    if result.status in (Status.CANCELED, Status.SKIPPED):
        SubElement(case, "skipped", message=_legal(reason))
        return "skipped"
    kind = "failure" if result.reason is Reason.CHECK_FAILED else "error"
    message = one_line(f"{reason}: {result.error}" if result.error else reason, 500)
    body = SubElement(case, kind, type=str(result.reason or result.status), message=_legal(message))
    body.text = _legal("\n\n".join(_evidence(result)))
    return kind


def _evidence(result: WorkerResult) -> list[str]:
    """The error, the failed checks and the warnings."""
    texts = [result.error[-SHOWN_CHARACTERS:]] if result.error else []
    texts += [
        f"$ {check.command}\n{check.output_tail[-SHOWN_CHARACTERS:]}\n[{_check_words(check)}]"
        for check in result.checks
        if not check.passed
    ]
    return texts + [f"warning: {message}" for message in result.warnings]


def _words(result: WorkerResult) -> str:
    return f"[worker {result.worker_id}]\n{result.output[-SHOWN_CHARACTERS:]}"


def _legal(words: str) -> str:
    """Text without control sequences, and without characters that XML forbids even escaped."""
    return _ILLEGAL.sub("\ufffd", plain_text(words))


def _token(words: str) -> str:
    """Like `_legal`, on one line, for a name. It is never empty."""
    return _legal(one_line(words, 300)) or "-"
