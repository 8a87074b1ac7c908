"""Refusals of `--hosts` before a run: each names the host or task and the reason."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from support.host_services import IdleService
from support.made_results import spec as spec_of

from architect_parallel import __version__
from architect_parallel.api import cluster
from architect_parallel.api.cluster import HostReport, finding_of, require_hosts
from architect_parallel.backends.base import Backend
from architect_parallel.backends.claude import ClaudeBackend
from architect_parallel.backends.shell import ShellBackend
from architect_parallel.domain import Isolation
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.hosts.link import LinkBroken, LinkOptions
from architect_parallel.hosts.wire import HostInfo, Message, to_message


class InMemory:
    """A link to made-up hosts; `None` means one that does not answer."""

    def __init__(self, hosts: Mapping[str, HostInfo | None]) -> None:
        self.hosts = hosts

    def members(self) -> Mapping[str, str]:
        return {name: name for name in self.hosts}

    def call(self, address: str, verb: str, message: Message, timeout_s: float) -> Message:
        info = self.hosts[address]
        if info is None:
            raise LinkBroken("Connection refused")
        return to_message(info)

    def close(self) -> None:
        pass


def _info(**more: object) -> HostInfo:
    service = IdleService("box")
    resources = {"agent": 2, "backend-shell": 2, "gpu": 1}
    info = HostInfo(
        name="box",
        host_id="1",
        incarnation=service.incarnation,
        protocol=1,
        version=__version__,
        slots=2,
        resources=resources,
        free=resources,
        backends={"shell": "", "claude": "not installed"},
    )
    return dataclasses.replace(info, **more)  # type: ignore[arg-type]


BACKENDS: dict[str, Backend] = {"shell": ShellBackend(environ={}), "claude": ClaudeBackend(environ={})}
KEY = "sk-ant-0123456789"


def _require(hosts: Mapping[str, HostInfo | None], monkeypatch: pytest.MonkeyPatch, **spec: Any) -> None:
    monkeypatch.setattr(cluster, "open_link", lambda url, options: InMemory(hosts))
    require_hosts(
        [spec_of(1, **{"backend": "shell", **spec})], "ssh://box", LinkOptions(), BACKENDS, {"ANTHROPIC_API_KEY": KEY}
    )


@pytest.mark.parametrize(
    ("hosts", "spec", "message"),
    [
        ({}, {}, "ssh://box has no host"),
        ({"box": None}, {}, "no host can be used: box: Connection refused"),
        (
            {"box": _info(version="0.1")},
            {},
            f"no host can be used: box: it has architect-parallel 0.1, and {__version__}",
        ),
        ({"box": _info(protocol=2)}, {}, "no host can be used: box: it has"),
        ({"box": _info(), "b": None}, {"backend": "claude"}, "backend claude is on no host: box: not installed"),
        ({"box": _info()}, {"needs": {"gpu": 2}}, "task 1 needs gpu=2: no host has it"),
        ({"box": _info()}, {"needs": {"tpu": 1}}, "task 1 needs tpu=1: no host has it"),
    ],
)
def test_a_worker_without_a_host_is_an_error_of_the_environment(
    hosts: Mapping[str, HostInfo | None], spec: Mapping[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        _require(hosts, monkeypatch, **spec)
    assert caught.value.message.startswith(message)


def test_one_host_that_fits_is_enough_and_a_task_in_place_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    _require({"old": _info(version="0.1"), "dead": None, "box": _info()}, monkeypatch, needs={"gpu": 1})
    _require({"box": _info()}, monkeypatch, backend="claude", isolation=Isolation.NONE)


def test_a_task_with_the_value_of_a_key_goes_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = base64.b64encode(KEY.encode()).decode()
    for prompt in (f"use {KEY}", f"use {encoded}"):
        with pytest.raises(UsageError, match="task 1 holds the value of a secret variable") as caught:
            _require({"box": _info()}, monkeypatch, prompt=prompt)
        assert KEY not in str(caught.value)


def test_the_doctor_says_what_a_host_has() -> None:
    info = _info(free={"agent": 1}, undelivered=(("20260101-000000-aaaa", 1),), free_disk_bytes=2**30)
    report = HostReport(name="box", address="box", engine="ssh", info=info, problem=None)
    finding = finding_of(report)
    assert finding.text == "2 places, 1 used; ready: shell; labels: gpu=1; 1.0 GiB disk free; results to fetch: 1"
    assert finding.remedy == "architect host collect 20260101-000000-aaaa"
