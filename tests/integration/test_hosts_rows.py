"""The failures of `docs/hosts.md` by ssh and by Dask: real host processes are killed, and agent starts are counted."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import psutil
import pytest
from support.clusters import OverDask, OverSsh, two_hosts
from support.console import wait_until
from support.hosts import MemoryLink, Site

from architect_parallel.domain import RunResult, WorkerResult
from architect_parallel.hosts.link import LinkOptions, open_link

# Dask leaves its own sockets and coroutines to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
TASKS = 4


class Rows:
    """A launcher in this process, two hosts with two places each, and agents that wait for a word."""

    def __init__(self, place: Path, cluster: OverSsh | OverDask) -> None:
        self.cluster = cluster
        self.site = Site(place / "a site")
        self.word = place / "word"

    def run(self, act: Callable[[], None], timeout_s: float = 60) -> RunResult:
        """Run `TASKS` agents, and do `act` when all of them run."""

        def wait_and_act() -> None:
            wait_until(lambda: len(self.site.starts()) >= TASKS, "the start of all agents")
            act()

        tls_dir = Path(self.cluster.words[3]) if isinstance(self.cluster, OverDask) else None
        link = open_link(self.cluster.words[1], LinkOptions(tls_dir=tls_dir))
        script = f'while [ ! -e "{self.word}" ]; do sleep 0.05; done; echo done > done.txt'
        actor = threading.Thread(target=wait_and_act)
        actor.start()
        specs = [self.site.spec(number, script) for number in range(1, TASKS + 1)]
        try:
            return self.site.run(cast(MemoryLink, link), specs, self.site.launch(timeout_s=timeout_s))
        finally:
            actor.join()


@pytest.fixture(params=["ssh", "dask"])
def rows(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rows]:
    with two_hosts(request.param, tmp_path / "cluster", monkeypatch) as cluster:
        rows = Rows(tmp_path, cluster)
        yield rows
        rows.word.touch()
        rows.site.close()


def _reasons(results: list[WorkerResult]) -> Counter[str]:
    return Counter(str(result.reason) for result in results)


def test_a_run_on_two_hosts_starts_each_agent_once(rows: Rows) -> None:
    result = rows.run(rows.word.touch)
    assert (_reasons(result.results), rows.site.starts()) == ({"completed": TASKS}, [1, 2, 3, 4])
    assert {item.host for item in result.results} == {"box1", "box2"}
    assert all("done.txt" in rows.site.tree(item.branch) for item in result.results)


def test_a_host_that_is_killed_loses_its_workers_and_nothing_is_started_twice(rows: Rows) -> None:
    """`test_naive_queue` is the control: as plain tasks of Dask, those agents are started again."""

    def kill() -> None:
        os.kill(rows.cluster.pid(0), signal.SIGKILL)
        if isinstance(rows.cluster, OverDask):
            rows.cluster.processes["box1"].wait()
            rows.cluster.restart(0)
        rows.word.touch()

    result = rows.run(kill)
    assert (_reasons(result.results), sorted(rows.site.starts())) == ({"completed": 2, "host_lost": 2}, [1, 2, 3, 4])
    assert {item.host for item in result.results if item.reason == "host_lost"} == {"box1"}


def test_a_host_that_stays_away_is_lost_after_the_timeout(rows: Rows) -> None:
    def stop() -> None:
        process = psutil.Process(rows.cluster.pid(0))
        process.suspend()
        rows.word.touch()
        wait_until(lambda: len(rows.site.ends()) == TASKS, "the loss of the host")
        process.resume()

    result = rows.run(stop, timeout_s=3)
    assert (_reasons(result.results), sorted(rows.site.starts())) == ({"completed": 2, "host_lost": 2}, [1, 2, 3, 4])


def test_a_host_that_is_silent_for_less_than_the_timeout_goes_on(rows: Rows) -> None:
    def pause() -> None:
        process = psutil.Process(rows.cluster.pid(0))
        process.suspend()
        rows.word.touch()
        wait_until(lambda: len(rows.site.ends()) == 2, "the ends of the other host's workers")
        process.resume()

    result = rows.run(pause)
    assert (_reasons(result.results), sorted(rows.site.starts())) == ({"completed": TASKS}, [1, 2, 3, 4])


def test_a_lost_scheduler_or_connection_costs_nothing(rows: Rows) -> None:
    def lose() -> None:
        if isinstance(rows.cluster, OverDask):
            scheduler = rows.cluster.processes["scheduler"]
            scheduler.kill()
            scheduler.wait()
            rows.word.touch()
            rows.cluster.start_scheduler(rows.cluster.url.rpartition(":")[2])
        else:
            for process in psutil.Process().children():
                if process.name() == "ssh":
                    process.kill()
            rows.word.touch()

    result = rows.run(lose)
    assert (_reasons(result.results), sorted(rows.site.starts())) == ({"completed": TASKS}, [1, 2, 3, 4])
