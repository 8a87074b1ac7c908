"""The full-screen view of a run, driven by keys and mouse without a terminal; at 80x24 and 200x50."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.cells import cell_len
from support.repositories import git

from architect_parallel.api.launch import ParallelRunner
from architect_parallel.api.watch_details import Details
from architect_parallel.api.watch_panes import KEYS
from architect_parallel.api.watch_screen import WatchScreen, show
from architect_parallel.api.watch_table import WorkerTable
from architect_parallel.events import RunStarted
from architect_parallel.journal import Journal
from architect_parallel.runs.options import ParallelConfig
from architect_parallel.system.git import open_repository

SMALL, LARGE = (80, 24), (200, 50)
LONG = "for number in $(seq 300); do echo line $number; done; seq 200 > numbers.txt"


def run_tasks(checkout: Path, *tasks: str) -> str:
    """Run shell tasks to their end. Returns the id of the run."""
    config = ParallelConfig(tasks=list(tasks), backend="shell", workers=len(tasks))
    return ParallelRunner(config, checkout).execute().run_id


@contextmanager
def watching(checkout: Path, run_id: str = "latest") -> Iterator[WatchScreen]:
    repository = open_repository(checkout)
    with Journal.of(repository) as journal:
        yield WatchScreen(checkout, repository, journal, journal.find(run_id))


def drive(app: WatchScreen, steps: Callable[[Screen], Awaitable[None]], size: tuple[int, int] = SMALL) -> None:
    async def all_steps() -> None:
        async with app.run_test(size=size, notifications=True) as pilot:
            await steps(Screen(app, pilot))

    asyncio.run(all_steps())


class Screen:
    """The screen of the view, as text."""

    def __init__(self, app: WatchScreen, pilot: object) -> None:
        self.app = app
        self._pilot = pilot

    @property
    def lines(self) -> list[str]:
        strips = self.app.screen._compositor.render_strips()
        return [strip.text.rstrip() for strip in strips]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)  # type: ignore[attr-defined]

    async def click(self, selector: str, row: int) -> None:
        await self._pilot.click(selector, offset=(3, row))  # type: ignore[attr-defined]

    async def ends(self) -> None:
        """Wait until the view has been left."""
        for _ in range(2000):
            if self.app.return_value is not None:
                return
            await self._pilot.pause(0.05)  # type: ignore[attr-defined]
        pytest.fail("it does not end")

    async def shows(self, *words: str) -> None:
        """Wait until all `words` are on the screen."""
        for _ in range(2000):
            if all(word in self.text for word in words):
                return
            await self._pilot.pause(0.05)  # type: ignore[attr-defined]
        pytest.fail(f"{words} are not on the screen:\n{self.text}")


def test_the_list_the_log_and_the_diff_of_an_ended_run(checkout: Path) -> None:
    run_id = run_tasks(checkout, LONG, "echo fine", "echo bad; exit 3")

    async def steps(screen: Screen) -> None:
        await screen.shows(f"{run_id} partial", "3/3 done (1 not OK), $0", "worker 1 OK   log", "line 300")
        assert "FAILED" in screen.lines[4]
        await screen.press("j", "j")
        await screen.shows("worker 3 FAILED   log", "agent error: the command ended with exit code 3", "bad")
        await screen.press("k", "k", "d")
        await screen.shows("worker 1 OK   diff", "A numbers.txt  +200 -0")
        await screen.press("slash", *"+150", "enter")
        await screen.shows("+150", "1 of 1 lines with '+150'")
        await screen.press("l", "g")
        await screen.shows("line 1", "line 2")
        await screen.press("slash", *"line 29", "enter")
        await screen.shows("1 of 11 lines with 'line 29'", "line 29")
        await screen.press("N")
        await screen.shows("11 of 11 lines with 'line 29'", "line 299")
        await screen.press("question_mark")
        await screen.shows(*(words for _, words in KEYS))
        await screen.press("q")
        await screen.shows("line 299")
        await screen.press("q")

    with watching(checkout) as app:
        drive(app, steps)
    assert app.return_value == 0


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_everything_fits_the_screen(checkout: Path, size: tuple[int, int]) -> None:
    run_tasks(checkout, *(f"echo 日本語 {'x' * 300} {number}" for number in range(10)))

    async def steps(screen: Screen) -> None:
        await screen.shows("worker 1 OK", "d Diff", "q Quit", "TASK")
        assert len(screen.lines) == size[1]
        assert all(cell_len(line) <= size[0] for line in screen.lines)
        assert not screen.app.query_one(WorkerTable).show_horizontal_scrollbar
        beside = "worker 1 OK" in screen.lines[1]
        assert beside == (size == LARGE), "the details are beside the list where there is room"

    with watching(checkout) as app:
        drive(app, steps, size)


def test_a_filter_the_mouse_and_the_other_run(checkout: Path) -> None:
    first = run_tasks(checkout, "echo one")
    second = run_tasks(checkout, "echo apple", "echo pear", "echo apple tart")

    async def steps(screen: Screen) -> None:
        table, details = screen.app.query_one(WorkerTable), screen.app.query_one(Details)
        await screen.shows(f"{second} 1/2 success", "apple tart")
        await screen.click("#list", 2)
        await screen.shows("worker 2 OK   log", "pear")
        await screen.press("slash", *"apple")
        await screen.shows("filter: apple")
        assert table.row_count == 2
        await screen.press("enter", "down", "d")
        await screen.shows("worker 3 OK   diff", "it changed nothing")
        assert screen.app.focused is details.lines
        await screen.press("escape", "escape")
        assert table.row_count == 3
        await screen.press("tab")
        await screen.shows(f"{first} 2/2 success", "worker 1 OK")
        await screen.press("shift+tab")
        await screen.shows(f"{second} 1/2 success")

    with watching(checkout) as app:
        drive(app, steps)


def test_a_result_is_merged_after_a_yes_and_not_after_a_no(checkout: Path) -> None:
    run_tasks(checkout, "echo new > new.txt", "true")
    before = git(checkout, "rev-parse", "HEAD")

    async def steps(screen: Screen) -> None:
        await screen.shows("worker 1 OK")
        await screen.press("m")
        await screen.shows("Merge worker 1 (+1 -0) into the current branch?")
        await screen.press("n")
        await screen.shows("q Quit")
        assert git(checkout, "rev-parse", "HEAD") == before
        await screen.press("m")
        await screen.shows("Merge worker 1")
        await screen.click("#yes", 0)
        await screen.shows("worker 1 landed on main at")
        await screen.press("j", "m")
        await screen.shows("this worker has no changes to merge")
        await screen.press("c")
        await screen.shows("this worker has already ended")

    with watching(checkout) as app:
        drive(app, steps)
    assert (checkout / "new.txt").read_text() == "new\n"


def test_a_worker_runs_again_and_goes_on_in_processes_of_their_own(checkout: Path) -> None:
    run_tasks(checkout, "echo once >> count.txt")

    async def steps(screen: Screen) -> None:
        await screen.shows("worker 1 OK", "r Retry", "s Send")
        await screen.press("r")
        await screen.shows("Run worker 1 (echo once >> count.txt) again from its base?")
        await screen.press("y")
        await screen.shows("worker 1 OK, attempt 2")
        await screen.press("s", *"echo twice >> count.txt", "enter")
        await screen.shows("worker 1 OK, attempt 3", "echo twice")
        await screen.press("d")
        await screen.shows("A count.txt  +2 -0")

    with watching(checkout) as app:
        drive(app, steps)


def test_a_run_without_events_of_its_workers_and_a_signal(checkout: Path) -> None:
    """A run whose launcher has recorded the plan and nothing else."""
    repository = open_repository(checkout)
    plan = ParallelRunner(ParallelConfig(tasks=["true", "true"], backend="shell"), checkout).plan()
    with Journal.of(repository) as journal:
        held = journal.hold(plan.run_id)
        assert held is not None
        journal.append([(plan.run_id, None, RunStarted(plan=plan, launcher_pid=1))])

        async def steps(screen: Screen) -> None:
            await screen.shows("0/2 done, $0", "waits for its turn", "nothing was printed yet")
            await screen.press("c")
            await screen.shows("Cancel worker 1 (true)? Its work is kept.")
            await screen.press("escape")
            received.append(signal.SIGTERM)
            await screen.ends()

        received: list[signal.Signals] = []
        app = WatchScreen(checkout, repository, journal, plan.run_id, received=received)
        drive(app, steps)
        held.release()
    assert app.return_value == 143


def test_the_end_of_the_terminal_ends_the_view(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = run_tasks(checkout, "true")
    handlers = []
    monkeypatch.setattr(WatchScreen, "run", lambda self: handlers.append(signal.getsignal(signal.SIGHUP)))
    before = signal.getsignal(signal.SIGHUP)

    repository = open_repository(checkout)
    with Journal.of(repository) as journal:
        assert show(checkout, repository, journal, run_id) == 0

    assert handlers == [signal.SIG_DFL]
    assert signal.getsignal(signal.SIGHUP) == before
