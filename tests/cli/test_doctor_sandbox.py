"""`architect doctor` about the sandbox, and its trial of it."""

from __future__ import annotations

from support.console import Architect
from support.mechanisms import needs_namespaces

from architect_parallel.containment.probe import WITHOUT


@needs_namespaces
def test_the_doctor_says_what_can_be_had_and_by_what(architect: Architect) -> None:
    findings = architect("doctor", "--json").json["findings"]
    (finding,) = [finding for finding in findings if finding["check"] == "sandbox"]
    assert finding["level"] == "ok"
    assert finding["text"] == "levels write, closed by namespaces; networks open, hosts, none"


def test_the_doctor_says_when_nothing_can_be_had(architect: Architect) -> None:
    answer = architect("doctor", "--json", env={WITHOUT: "namespaces,bwrap,landlock"})
    (finding,) = [finding for finding in answer.json["findings"] if finding["check"] == "sandbox"]
    assert (answer.code, finding["level"]) == (0, "note")
    assert "agents cannot be contained: namespaces: switched off" in finding["text"]
    assert architect("doctor", "--sandbox", env={WITHOUT: "namespaces,bwrap,landlock"}).code == 3


@needs_namespaces
def test_the_trial_holds_every_act_and_each_is_possible_without(architect: Architect) -> None:
    answer = architect("doctor", "--sandbox", "--json")
    assert answer.code == 0
    acts = answer.json["acts"]
    assert len(acts) >= 11
    assert [act["act"] for act in acts if act["inside"] or not act["outside"]] == []
