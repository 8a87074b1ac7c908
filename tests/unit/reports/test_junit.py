"""The JUnit report: valid for both dialects, whatever agents print."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmlschema
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_results import result, run_of

from architect_parallel.domain import CheckResult, Reason, RunResult, Status
from architect_parallel.reports import junit
from architect_parallel.reports.material import Material

SCHEMA = xmlschema.XMLSchema(str(Path(__file__).parents[2] / "contract" / "junit.xsd"))
ILLEGAL = "\x00\x08\x0b\x1b[31m\ud800\ufffe\uffff]]> <&\"'"


def rendered(run: RunResult) -> str:
    return junit.render(Material(repository=None, result=run, recorded=()))  # type: ignore[arg-type]  # not opened


def check(command: str, *, passed: bool, said: str = "") -> CheckResult:
    return CheckResult(
        command=command, passed=passed, exit_code=0 if passed else 1, duration_seconds=0.5, output_tail=said
    )


def test_each_worker_is_a_case_and_each_status_has_its_kind() -> None:
    run = run_of(
        result(1, checks=[check("ruff", passed=True)]),
        result(2, Status.FAILED, reason=Reason.CHECK_FAILED, checks=[check("pytest", passed=False, said="2 failed")]),
        result(3, Status.FAILED, error="it fell over"),
        result(4, Status.TIMEOUT, reason=Reason.WORKER_TIMEOUT),
        result(5, Status.PARTIAL, reason=Reason.BUDGET),
        result(6, Status.CANCELED, reason=Reason.CANCELED),
        result(7, Status.SKIPPED, reason=Reason.DEPENDENCY_FAILED),
        planned=8,
    )

    text = rendered(run)

    SCHEMA.validate(text)
    suite = ElementTree.fromstring(text)[0]
    kinds = [next((child.tag for child in case), "passed") for case in suite.iter("testcase")]
    assert kinds == ["passed", "failure", "error", "error", "error", "skipped", "skipped", "skipped"]
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["8", "1", "3", "3"]
    properties = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert properties["worker 1: ruff"] == "passed (0.5 s)"
    assert properties["worker 2: pytest"] == "failed, exit code 1 (0.5 s)"
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "check_failed"
    assert "2 failed" in (failure.text or "")


@settings(deadline=None, max_examples=40)
@given(st.text(max_size=50).map(lambda words: words + ILLEGAL) | st.text(st.characters(), max_size=50))
def test_any_text_makes_a_valid_document(words: str) -> None:
    failed = [check(words, passed=False, said=words)]
    run = run_of(
        result(1, output=words, name=words, model=words),
        result(2, Status.FAILED, reason=Reason.CHECK_FAILED, error=words, checks=failed),
    )
    run.warnings.append(words)

    SCHEMA.validate(rendered(run))


def test_control_such_text_is_not_even_xml_without_care() -> None:
    case = ElementTree.Element("testcase", name=ILLEGAL.replace("\ud800", ""))

    with pytest.raises(ElementTree.ParseError):
        ElementTree.fromstring(ElementTree.tostring(case, encoding="unicode"))
