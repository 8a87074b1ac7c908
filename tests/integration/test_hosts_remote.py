"""Workers on other machines: at most once, nothing lost, whatever the link does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from support.hosts import RUN, MemoryLink, Service, Site, ids
from support.repositories import commit_all, git

from architect_parallel.domain import Reason, WorkerSpec
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.events import AgentStarted, Collected, Event, Recorded, Warned, WorkerFinished, WorkerPlaced
from architect_parallel.hosts.service import HostService
from architect_parallel.hosts.wire import REFUSED, Message
from architect_parallel.journal.requests import request_cancel
from architect_parallel.scheduling.retries import RETRYABLE

DONE = [(1, "success", "completed"), (2, "success", "completed"), (3, "success", "completed")]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "a site")
    yield site
    site.close()


class NoAgent:
    """A host that lost its agent since it said that it has it."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def handle(self, verb: str, message: Message) -> Message:
        return {REFUSED: "it has no agent"} if verb == "start" else self._service.handle(verb, message)

    def close(self) -> None:
        self._service.close()


def writes(site: Site, count: int) -> list[WorkerSpec]:
    return [site.spec(n, f"echo {n} > new-{n}.txt") for n in range(1, count + 1)]


def test_results_of_two_hosts_become_branches_here(site: Site) -> None:
    link = MemoryLink({name: site.service(name) for name in ("one", "two")})
    result = site.run(link, writes(site, 5))
    assert ids(result) == [(n, "success", "completed") for n in range(1, 6)]
    assert site.starts() == [1, 2, 3, 4, 5]
    assert {item.host for item in result.results} == {"one", "two"}
    for item in result.results:
        assert item.files_modified == [f"new-{item.worker_id}.txt"]
        assert f"new-{item.worker_id}.txt" in site.tree(item.branch)
        assert item.diff is not None
        assert site.repository.store.resolve(f"refs/heads/{item.branch}") == item.diff.head
        assert item.log_path is not None
        assert Path(item.log_path).is_relative_to(site.root)


def test_a_second_run_sends_no_byte_of_the_base_and_the_next_commit_only_what_is_new(site: Site) -> None:
    (site.root / "large.bin").write_bytes(bytes(range(256)) * 4000)
    site.base = commit_all(site.root, "large")
    service = site.service("one")
    first = site.sent(MemoryLink({"one": service}), [site.spec(1)])
    again = site.sent(MemoryLink({"one": service}), [site.spec(2)])
    (site.root / "small.txt").write_text("small\n")
    site.base = commit_all(site.root, "small")
    third = site.sent(MemoryLink({"one": service}), [site.spec(3)])
    assert first > 1000
    assert again == 0
    assert 0 < third < 1000


FAULTS: Mapping[str, Callable[[str, str, int], str]] = {
    "each first request is lost": lambda address, verb, count: "lost" if verb != "hello" and count == 1 else "ok",
    "each first reply is lost": lambda address, verb, count: "no reply" if verb != "hello" and count == 1 else "ok",
    "everything comes twice": lambda address, verb, count: "twice",
    "every third reply is lost": lambda address, verb, count: "no reply" if count % 3 == 0 else "ok",
    "half of the orders get no reply": lambda address, verb, count: (
        "no reply" if verb == "start" and count % 2 else "ok"
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_the_link_loses_or_repeats_each_agent_starts_once(site: Site, fault: str) -> None:
    link = MemoryLink({name: site.service(name) for name in ("one", "two")}, FAULTS[fault])
    assert ids(site.run(link, writes(site, 3))) == DONE
    assert site.starts() == [1, 2, 3]
    assert site.ends().keys() == {1, 2, 3}


def test_a_link_without_the_same_order_again_starts_agents_twice(site: Site) -> None:
    """The control: whoever sends a new order after a lost reply pays twice."""
    service = site.service("one", slots=4)
    link = MemoryLink({"one": service})
    site.run(link, [site.spec(1)])
    order = dict(link.orders[0]["order"])
    order["spec"] = {**order["spec"], "attempt": 2}
    assert service.handle("start", {"order": order})["state"] == "started"
    site.wait_until(lambda: site.starts() == [1, 1])


def test_an_order_that_was_delayed_starts_nothing_after_its_end_or_after_the_run(site: Site) -> None:
    service = site.service("one")
    link = MemoryLink({"one": service})
    site.run(link, [site.spec(1)])
    assert service.handle("start", link.orders[0]) == {"state": "ended"}
    service.close()
    again = site.service("one")
    assert again.handle("start", link.orders[0]) == {"state": "ended"}
    assert site.starts() == [1]


def test_an_order_for_an_earlier_process_starts_nothing(site: Site) -> None:
    service = site.service("one")
    link = MemoryLink({"one": service})
    site.run(link, [site.spec(1)])
    order = dict(link.orders[0]["order"])
    order["spec"] = {**order["spec"], "worker_id": 9}
    service.close()
    reply = site.service("one").handle("start", {"order": order})
    assert "earlier process" in reply[REFUSED]
    assert site.starts() == [1]


def test_a_worker_runs_only_on_a_host_that_has_what_it_needs(site: Site) -> None:
    link = MemoryLink({"one": site.service("one"), "two": site.service("two", labels={"gpu": 1})})
    specs = writes(site, 2)
    result = site.run(link, [replace(specs[0], needs={"gpu": 1}), specs[1]])
    assert ids(result) == DONE[:2]
    assert result.results[0].host == "two"


def test_a_worker_that_one_host_refuses_runs_on_the_other(site: Site) -> None:
    link = MemoryLink({"one": NoAgent(site.service("one")), "two": site.service("two")})
    assert ids(site.run(link, writes(site, 3))) == DONE
    assert [event.host for event in site.placed().values()] == ["two", "two", "two"]


def test_a_worker_that_every_host_refuses_fails_with_their_reasons(site: Site) -> None:
    link = MemoryLink({name: NoAgent(site.service(name)) for name in ("one", "two")})
    result = site.run(link, [site.spec(1)])
    assert ids(result) == [(1, "failed", "spawn_failed")]
    assert result.results[0].error == "no host takes it: one: it has no agent; two: it has no agent"
    assert result.results[0].cost == 0.0


def test_a_host_that_stays_silent_is_lost_and_its_late_work_moves_nothing(site: Site) -> None:
    """The control is the last line: the late commit is there, and the branch could have had it."""
    gate, silent = site.folder / "gate", site.folder / "silent"
    link = MemoryLink({"one": site.service("one"), "two": site.service("two", labels={"gpu": 1})})
    wait = f"while [ ! -e '{gate}' ]; do sleep 0.02; done"
    late: list[str] = []

    def listen(recorded: Recorded) -> None:
        if isinstance(recorded.event, AgentStarted) and recorded.worker_id == 1:
            site.wait_for(silent)
            link.silent.add(site.placed()[1].address)
        if isinstance(recorded.event, WorkerFinished) and recorded.worker_id == 1:
            link.silent.clear()
        if isinstance(recorded.event, Warned) and recorded.worker_id is None:
            late.append(recorded.event.message)
            gate.touch()

    # The second one ends when the late result of the first one has come.
    specs = [site.spec(1, f"echo x > new.txt; touch '{silent}'; sleep 600"), site.spec(2, wait, needs={"gpu": 1})]
    specs[0] = replace(specs[0], needs={"only-one": 1})
    link.services["one"].close()
    link.services["one"] = site.service("one", labels={"only-one": 1})
    result = site.run(link, specs, site.launch(timeout_s=0.5), listeners=[listen])
    assert ids(result) == [(1, "failed", "host_lost"), (2, "success", "no_changes")]
    assert site.starts() == [1, 2]
    assert site.repository.store.resolve("refs/heads/architect/parallel-1") == site.base
    assert "ended late" in late[0]
    assert "new.txt" in site.tree(f"refs/architect/keep/{RUN}/1-late")


def test_a_host_silent_for_a_while_loses_nothing(site: Site) -> None:
    link = MemoryLink({"one": site.service("one")})

    def listen(recorded: Recorded) -> None:
        if isinstance(recorded.event, AgentStarted) and not link.silent:
            link.silent.add("one")
            threading.Timer(0.5, link.silent.clear).start()

    assert ids(site.run(link, writes(site, 3), listeners=[listen])) == DONE
    assert site.starts() == [1, 2, 3]


def test_a_host_killed_and_started_again_says_so_and_its_partial_work_is_kept(site: Site) -> None:
    process = site.process("one")
    link = MemoryLink({"one": process})

    def listen(recorded: Recorded) -> None:
        if isinstance(recorded.event, AgentStarted):
            site.wait_for(site.folder / "written")
            process.kill()
            link.services["one"] = site.process("one")

    script = f"echo partial > new.txt; touch '{site.folder}/written'; sleep 600"
    result = site.run(link, [site.spec(1, script)], site.launch(timeout_s=60), listeners=[listen])
    assert ids(result) == [(1, "failed", "host_lost")]
    assert site.starts() == [1]
    kept = git(site.root, "for-each-ref", "--format=%(refname)", "refs/architect/keep").split()
    assert kept == [f"refs/architect/keep/{RUN}/1"]
    assert "new.txt" in site.tree(kept[0])
    assert any(kept[0] in warning for warning in result.results[0].warnings)


def test_a_stopped_worker_is_collected_and_one_that_waits_never_starts(site: Site) -> None:
    link = MemoryLink({"one": site.service("one", slots=1)})

    def listen(recorded: Recorded) -> None:
        if isinstance(recorded.event, AgentStarted):
            site.wait_for(site.folder / "written")
            for worker_id in (1, 2):
                request_cancel(site.journal.run_dir(RUN), worker_id)

    script = f"echo partial > new.txt; touch '{site.folder}/written'; sleep 600"
    result = site.run(link, [site.spec(1, script), site.spec(2, script)], listeners=[listen])
    assert ids(result) == [(1, "canceled", "canceled"), (2, "canceled", "canceled")]
    assert site.starts() == [1]
    assert "new.txt" in site.tree("architect/parallel-1")


def test_a_draining_host_delivers_what_it_has(site: Site) -> None:
    service = site.service("one")
    link = MemoryLink({"one": service})
    draining = threading.Thread(target=service.drain)

    def listen(recorded: Recorded) -> None:
        if isinstance(recorded.event, AgentStarted):
            site.wait_for(site.folder / "written")
            draining.start()

    script = f"echo partial > new.txt; touch '{site.folder}/written'; sleep 600"
    result = site.run(link, [site.spec(1, script)], listeners=[listen])
    draining.join()
    assert ids(result) == [(1, "canceled", "interrupted")]
    assert "new.txt" in site.tree("architect/parallel-1")


def test_a_later_launch_shuts_an_older_one_out(site: Site) -> None:
    service = site.service("one")
    link = MemoryLink({"one": service})
    site.run(link, [site.spec(1)], site.launch(epoch=2))
    order = dict(link.orders[0]["order"]) | {"epoch": 1}
    assert "later launch" in service.handle("start", {"order": order})[REFUSED]
    request = {"origin": order["origin"], "run_id": RUN, "epoch": 1, "key": "1-1"}
    stop = {"reason": "canceled", "detail": "", "kill": False}
    assert "later launch" in service.handle("stop", request | stop)[REFUSED]
    assert "later launch" in service.handle("poll", request | {"after": 0, "wait_s": 0})[REFUSED]


@pytest.mark.parametrize("moment", [WorkerPlaced, AgentStarted, Collected, WorkerFinished])
def test_a_resume_takes_up_the_attempts_that_a_dead_launcher_left(site: Site, moment: type[Event]) -> None:
    service = site.service("one")
    specs = writes(site, 3)
    site.die_at(MemoryLink({"one": service}), specs, moment)
    ended = site.ends()
    left = {worker_id: event for worker_id, event in site.placed().items() if worker_id not in ended}
    launch = site.launch(epoch=2, placed=left, cursors=site.journal.cursors(RUN))
    result = site.run(MemoryLink({"one": service}), specs, launch, standing=ended)
    assert ids(result) == DONE
    assert site.starts() == [1, 2, 3]
    assert site.ends().keys() == {1, 2, 3}
    for spec in specs:
        assert f"new-{spec.worker_id}.txt" in site.tree(spec.branch)


def test_a_resume_that_places_anew_starts_agents_twice(site: Site) -> None:
    """The control."""
    service = site.service("one")
    specs = [site.spec(1)]
    site.die_at(MemoryLink({"one": service}), specs, AgentStarted)
    site.run(MemoryLink({"one": service}), [replace(specs[0], attempt=2)], site.launch(epoch=2))
    assert site.starts() == [1, 1]


def test_no_secret_name_or_variable_of_the_launcher_is_in_an_order(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-launcher-secret")
    link = MemoryLink({"one": site.service("one")})
    site.run(link, [site.spec(1)])
    assert "sk-launcher-secret" not in repr(link.orders)


def test_host_lost_is_never_repeated_by_retries() -> None:
    assert Reason.HOST_LOST not in RETRYABLE


def test_two_services_of_one_root_exclude_each_other(site: Site) -> None:
    service = site.service("one")
    with pytest.raises(EnvironmentProblem, match="another host process"):
        site.service("one")
    service.close()
    assert isinstance(site.service("one"), HostService)
