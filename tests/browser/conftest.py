"""The HTML report in Debian's chromium, as its readers see it.

Every page of these tests is watched: an error on its console, or a request that leaves it, fails the test.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from support.report_material import repository_at
from support.watched_pages import Watched

from architect_parallel.reports.html import render
from architect_parallel.reports.material import Material
from architect_parallel.system.git import Repository

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE_MS = 30_000
"""Enough on a machine that is busy with other tests."""
IN_CI = bool(os.environ.get("CI"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One chromium for the tests of a module. Not longer: while it is open playwright's event loop counts as running
    in this thread, and whatever other tests of the process do with `asyncio.run` would fail."""
    if CHROMIUM is None:
        word = "there is no chromium: apt-get install chromium"
        pytest.fail(word) if IN_CI else pytest.skip(word)
    home = tmp_path_factory.mktemp("browser")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, env={"HOME": str(home), "PATH": os.environ["PATH"], "TMPDIR": str(home)}
        )
        yield started
        started.close()


@pytest.fixture
def watch(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """`watch(width=…, color_scheme=…)`: open a new page. Messages on its console fail the test at its end,
    except with `console=False`."""
    opened: list[tuple[Watched, bool]] = []

    def open_(*, width: int = 1400, console: bool = True, **more: Any) -> Watched:
        page = browser.new_context(viewport={"width": width, "height": 900}, **more).new_page()
        page.set_default_timeout(PATIENCE_MS)
        watched = Watched(page)
        opened.append((watched, console))
        return watched

    yield open_
    for watched, matters in opened:
        messages = list(watched.console)
        watched.page.context.close()
        assert messages == [] or not matters


@pytest.fixture
def report_repository(tmp_path: Path) -> Repository:
    """A repository for a run to be reported on."""
    return repository_at(tmp_path / "repo")


@pytest.fixture
def look(watch: Callable[..., Watched], tmp_path: Path) -> Callable[..., Page]:
    """`look(material)`: its report, written to a file and opened; it may ask for nothing but itself."""

    def open_(material: Material | str, **more: Any) -> Page:
        file = tmp_path / "report.html"
        file.write_bytes((material if isinstance(material, str) else render(material)).encode())
        watched = watch(**more)
        watched.page.goto(file.as_uri())
        if more.get("java_script_enabled", True):
            watched.page.wait_for_selector("html[data-ready]")
        assert [url.split("#")[0] for url in watched.requests] == [file.as_uri()]
        return watched.page

    return open_
