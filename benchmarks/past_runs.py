"""A journal with many past runs, written through its own interface: copies of one real run of this program.

A repository with them is made in seconds, and what each command reads from it is what real runs would have left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from architect_parallel.event_json import decode, encode
from architect_parallel.events import Recorded
from architect_parallel.journal import Journal
from architect_parallel.system.git import open_repository
from architect_parallel.text.names import run_id as name_run
from benchmarks.measure import Site, run_measured

WORKERS = 10
AGENT = "for n in 1 2 3; do echo text > file-$n.txt; done"


def add_past_runs(site: Site, count: int, more: tuple[str, ...] = ()) -> None:
    """Run ten workers, remove what they left, and record `count` runs like theirs in the time before."""
    run_measured(site.parallel(AGENT, WORKERS, *more), cwd=site.repository, env=site.env)
    repository = open_repository(site.repository)
    with Journal.of(repository) as journal:
        model = journal.recorded(journal.find("latest"))
        journal.forget(model[0].run_id)
    site.clear()
    with Journal.of(repository) as journal:
        for number in range(count):
            journal.adopt(list(_copied(model, count - number)))


def _copied(model: list[Recorded], hours: int) -> Iterator[Recorded]:
    """The events of the run as if it had been so many hours earlier, under another id and with numbers of its own."""
    old, earlier = model[0].run_id, timedelta(hours=hours)
    new = name_run(model[0].time - earlier, old[-4:])
    for entry in model:
        name, text = encode(entry.event)
        text = text.replace(old, new)
        for number in range(1, WORKERS + 1):
            there = number + hours * WORKERS
            text = text.replace(f'parallel-{number}"', f'parallel-{there}"')
        yield replace(entry, run_id=new, time=entry.time - earlier, event=decode(name, text))
