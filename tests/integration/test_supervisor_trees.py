"""The kill table in small: every kind of misbehaving tree once; `benchmarks/kill_table.py` repeats it twenty times."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.process_trees import (
    KINDS,
    agent_argv,
    carrying,
    exterminate,
    launch,
    start_launcher,
    survivors,
    until_gone,
    wait_for,
    wait_until_empty,
)

from architect_parallel.supervision.child.procfs import below, children, parents
from architect_parallel.supervision.messages import Gone
from architect_parallel.supervision.process import start_supervised
from architect_parallel.supervision.sweep import COOKIE


class Trace:
    """What marks the processes of one test, and finds them."""

    def __init__(self, directory: Path) -> None:
        self.token = f"tree-{secrets.token_hex(8)}"
        self.lifeline = directory / "lifeline"

    def survivors(self) -> int:
        return survivors(self.token, self.lifeline)


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[Trace]:
    """Marks a tree; whatever the test does, nothing of it is left."""
    found = Trace(tmp_path)
    yield found
    exterminate(found.token, found.lifeline)


@pytest.mark.parametrize("kind", KINDS)
def test_stop_leaves_no_survivor(kind: str, trace: Trace) -> None:
    with start_supervised(launch(kind, trace.token, trace.lifeline)) as supervised:
        # An agent that kills its parent may be gone, and told of, before anybody asks it to stop.
        messages = wait_for(supervised, b"ready")
        supervised.stop()
        messages += until_gone(supervised)
    assert trace.survivors() == 0
    gone = messages[-1]
    assert isinstance(gone, Gone)
    assert gone.survivors == 0
    assert gone.proven


@pytest.mark.parametrize("kind", ["fork_chain", "scrubbed_daemon", "respawns_on_term", "many_children", "stops_parent"])
def test_kill_leaves_no_survivor(kind: str, trace: Trace) -> None:
    with start_supervised(launch(kind, trace.token, trace.lifeline, grace_s=60)) as supervised:
        wait_for(supervised, b"ready")
        supervised.kill()
        until_gone(supervised)
    assert trace.survivors() == 0


@pytest.mark.parametrize("kind", ["double_fork", "fork_chain", "scrubbed_daemon", "kills_parent", "stops_parent"])
def test_death_of_the_launcher_leaves_no_survivor(kind: str, trace: Trace) -> None:
    launcher = start_launcher(kind, trace.token, trace.lifeline)
    launcher.kill()
    launcher.wait()
    assert wait_until_empty(trace.token, trace.lifeline, 20) == 0


@pytest.mark.parametrize("kind", ["new_session", "double_fork", "scrubbed_daemon", "fork_chain", "dead_leader"])
def test_killing_the_process_group_is_not_enough(kind: str, trace: Trace) -> None:
    """The control: without survivors here the tests above would prove nothing."""
    argv = ("sh", "-c", '"$@"; :', "sh", *agent_argv(kind, trace.token, trace.lifeline))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, process_group=0) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == b"ready\n"
        subprocess.run(["kill", "-KILL", "--", f"-{agent.pid}"], check=True)
        agent.wait()
        assert trace.survivors() > 0
        exterminate(trace.token, trace.lifeline)


def test_what_outlives_the_agent_is_counted_and_ended(trace: Trace) -> None:
    with start_supervised(launch("holds_pipe", trace.token, trace.lifeline)) as supervised:
        messages = until_gone(supervised)
    assert messages[-1] == Gone(leaked=1)
    assert trace.survivors() == 0


def test_a_killed_supervisor_is_replaced_by_its_guard(trace: Trace) -> None:
    with start_supervised(launch("scrubbed_daemon", trace.token, trace.lifeline)) as supervised:
        wait_for(supervised, b"ready")
        _signal(supervised.supervisor_pid, signal.SIGKILL)
        messages = until_gone(supervised)
    assert messages[-1] == Gone(leaked=None)
    assert trace.survivors() == 0


def test_a_killed_guard_changes_nothing(trace: Trace) -> None:
    with start_supervised(launch("double_fork", trace.token, trace.lifeline)) as supervised:
        guard = supervised.supervisor_pid
        wait_for(supervised, b"ready")
        assert supervised.supervisor_pid != guard
        _signal(guard, signal.SIGKILL)
        supervised.kill()
        messages = until_gone(supervised)
    assert messages[-1] == Gone(leaked=0)
    assert trace.survivors() == 0


def test_a_process_started_for_the_agent_by_a_service_is_found_by_the_cookie(trace: Trace) -> None:
    """What is no descendant but has the cookie is ended and counted; what has another cookie is left alone."""
    order = launch("new_session", trace.token, trace.lifeline)
    cookies = (order.cookie, "of another worker")
    served = [subprocess.Popen(["sleep", "60"], env={COOKIE: each, "PATH": os.defpath}) for each in cookies]
    try:
        with start_supervised(order) as supervised:
            wait_for(supervised, b"ready")
            supervised.kill()
            messages = until_gone(supervised)
        assert messages[-1] == Gone(leaked=1)
        assert served[0].wait(20) == -signal.SIGKILL
        assert served[1].poll() is None
    finally:
        for each in served:
            each.kill()
            each.wait()


def test_when_guard_and_supervisor_are_killed_the_launcher_sweeps_and_says_it_is_no_proof(trace: Trace) -> None:
    bystander = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        with start_supervised(launch("double_fork", trace.token, trace.lifeline)) as supervised:
            guard = supervised.supervisor_pid
            wait_for(supervised, b"ready")
            assert carrying(trace.token)
            _signal(guard, signal.SIGKILL)
            _signal(supervised.supervisor_pid, signal.SIGKILL)
            messages = until_gone(supervised)
        assert messages[-1] == Gone(leaked=None, survivors=0, proven=False)
        assert trace.survivors() == 0
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_stopped_supervisors_are_woken_by_an_order(trace: Trace) -> None:
    with start_supervised(launch("new_session", trace.token, trace.lifeline)) as supervised:
        guard = supervised.supervisor_pid
        wait_for(supervised, b"ready")
        _signal(guard, signal.SIGSTOP)
        _signal(supervised.supervisor_pid, signal.SIGSTOP)
        supervised.kill()
        messages = until_gone(supervised)
    assert isinstance(messages[-1], Gone)
    assert messages[-1].proven
    assert trace.survivors() == 0


def test_a_launcher_in_a_hurry_still_waits_out_the_grace_of_an_agent_that_obeys(trace: Trace) -> None:
    with start_supervised(launch("stops_itself", trace.token, trace.lifeline, grace_s=60)) as supervised:
        wait_for(supervised, b"ready")
        begun = time.monotonic()
        supervised.stop()
        until_gone(supervised)
        # The stopped process is continued and obeys SIGTERM: nobody waits for a grace nobody needs.
        assert time.monotonic() - begun < 40
    assert trace.survivors() == 0


def _signal(pid: int | None, number: signal.Signals) -> None:
    assert pid is not None
    subprocess.run(["kill", f"-{number.name.removeprefix('SIG')}", str(pid)], check=True)


def test_the_slow_way_finds_the_same_tree_where_the_kernel_lists_no_children(trace: Trace) -> None:
    with start_supervised(launch("double_fork", trace.token, trace.lifeline)) as supervised:
        wait_for(supervised, b"ready")
        assert supervised.supervisor_pid is not None
        slow = below(supervised.supervisor_pid, parents())
        assert set(slow) == set(carrying(trace.token))
        assert set(children(supervised.supervisor_pid)) == set(slow)
