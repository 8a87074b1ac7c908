"""What commands that look at all runs cost in a repository with many past runs, against one with few.

The past runs are copies of one real run of ten workers, written through the journal's own interface. So what a command
reads is what real runs would have left.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from architect_parallel.event_json import decode, encode
from architect_parallel.events import Recorded
from architect_parallel.journal import Journal
from architect_parallel.system.git import open_repository
from architect_parallel.text.names import run_id as name_run
from benchmarks.measure import (
    ARCHITECT,
    Cost,
    Goal,
    Site,
    alternate,
    cpu,
    folder,
    median_of,
    median_ratio,
    run_measured,
)

WORKERS = 10
FEW, MANY = 40, 400
REPEAT = 3
COMMANDS = ("status",), ("doctor",), ("parallel-cleanup", "--dry-run")
GROWTH = 1.5
"""The most that ten times as many runs may cost."""
KIB_PER_WORKER = 2.5
AGENT = "for n in 1 2 3; do echo text > file-$n.txt; done"


def measure() -> list[Goal]:
    """Run the benchmark."""
    with folder() as place:
        sites = []
        for name, count in (("few", FEW), ("many", MANY)):
            (place / name).mkdir()
            sites.append(Site(place / name, files=50))
            add_past_runs(sites[-1], count)
            run(sites[-1], "doctor")  # the first command packs them
        goals = [growth(command, *sites) for command in COMMANDS]
        size = (sites[1].repository / ".git" / "architect" / "runs.db").stat().st_size
    return [
        *goals,
        Goal(
            name="journal: size for each worker of an ended run",
            measured=size / 1024 / MANY / WORKERS,
            limit=KIB_PER_WORKER,
            unit="KiB",
            note=f"{size / 2**20:.1f} MiB for {MANY * WORKERS:,} workers",
        ),
    ]


def growth(command: tuple[str, ...], few: Site, many: Site) -> Goal:
    """The cost of a command with many past runs, of that with few."""
    cheap, dear = alternate(REPEAT, lambda: run(few, *command), lambda: run(many, *command))
    return Goal(
        name=f"{' '.join(command)}: CPU with {MANY} past runs, of that with {FEW}",
        measured=median_ratio(dear, cheap, cpu),
        limit=GROWTH,
        note=f"{median_of(dear, cpu):.2f} s against {median_of(cheap, cpu):.2f} s",
    )


def run(site: Site, *words: str) -> Cost:
    """Run a command of this program. `doctor` may find something: no agent is installed here."""
    return run_measured((*ARCHITECT, *words), cwd=site.repository, env=site.env, ok=(0, 3))


def add_past_runs(site: Site, count: int) -> None:
    """Run ten workers, remove what they left, and record `count` runs like theirs in the time before."""
    run_measured(site.parallel(AGENT, WORKERS), cwd=site.repository, env=site.env)
    repository = open_repository(site.repository)
    with Journal.of(repository) as journal:
        model = journal.recorded(journal.find("latest"))
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


if __name__ == "__main__":
    from benchmarks.__main__ import show

    sys.exit(show(measure()))
