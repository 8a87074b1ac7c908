"""`architect host collect`: late work of a lost host is kept, and moves no branch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hosts import RUN, MemoryLink, Site
from support.repositories import git

from architect_parallel.api import collect_late as collecting
from architect_parallel.errors import NothingToDo


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "a site")
    yield site
    site.close()


def test_the_work_of_a_host_that_comes_back_is_kept(site: Site) -> None:
    link = MemoryLink({"one": site.service("one")})
    word = site.folder / "word"

    def cut() -> None:
        site.wait_until(lambda: site.starts() == [1])
        link.silent.add("one")

    actor = threading.Thread(target=cut)
    actor.start()
    script = f'echo late > late.txt; while [ ! -e "{word}" ]; do sleep 0.05; done'
    result = site.run(link, [site.spec(1, script)], site.launch(timeout_s=0.5))
    actor.join()
    assert [str(item.reason) for item in result.results] == ["host_lost"]
    link.silent.clear()
    said: list[str] = []
    lost = collecting._lost_attempts(site.journal, RUN)
    collection = collecting.fetch_late(link, site.repository, site.journal, RUN, lost, 60, said.append)
    assert (collection.fetched, collection.missing) == ((1,), {})
    (line,) = said
    assert line.startswith("worker 1 ended late on the lost one")
    kept = git(site.root, "for-each-ref", "--format=%(refname)", f"refs/architect/keep/{RUN}/").split()
    assert any("late.txt" in git(site.root, "ls-tree", "--name-only", ref) for ref in kept)
    assert site.tree("architect/parallel-1") == site.tree("main")
    assert site.starts() == [1]


def test_a_run_without_hosts_has_nothing_to_collect(site: Site) -> None:
    site.plan([site.spec(1)])
    with pytest.raises(NothingToDo, match="used no other machine"):
        collecting.collect_late(site.repository, site.journal, RUN, None, print)
