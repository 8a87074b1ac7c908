"""The served page in a browser: it follows the run, and the scroll position stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect
from support.landing_runs import begin_run, commit
from support.watched_pages import Watched

from architect_parallel.api.serve import serve
from architect_parallel.domain import Status
from architect_parallel.journal import Journal
from architect_parallel.system.git import Repository

pytestmark = pytest.mark.browser


def test_the_page_follows_the_run_and_the_readers_place_stays(
    watch: Callable[..., Watched], repository: Repository
) -> None:
    with Journal.open(repository.state_dir) as journal:
        run = begin_run(repository, journal, "20260102-030405-abcd", workers=3)
        for worker_id in (1, 2):
            commit(run.start(worker_id), {"README": f"from {worker_id}\n", f"new-{worker_id}.txt": "new\n"})
        run.finish(1)
        with serve(repository, journal, "latest", port=0) as server:
            watched = watch()
            page = watched.page
            page.goto(server.address)
            page.wait_for_selector("html[data-ready]")
            expect(page.locator("#connection")).to_have_text("live")
            expect(page.locator("#ranking")).to_contain_text("success")
            page.locator("#timeline-table summary").click()
            page.get_by_role("button", name="Unified").click()
            page.locator("#worker-1").scroll_into_view_if_needed()
            page.locator("#worker-1 a.action").focus()
            place = "document.querySelector('#worker-1').getBoundingClientRect().top"
            before = page.evaluate(place)

            run.finish(2, Status.FAILED)

            expect(page.locator("#worker-2")).to_contain_text("failed")
            expect(page.get_by_role("tab")).to_have_count(2)
            assert abs(page.evaluate(place) - before) < 2
            assert page.locator("#timeline-table").get_attribute("open") is not None
            expect(page.locator(".modes [aria-pressed=true]")).to_have_text("Unified")

            run.start(3)
            run.finish(3)
            run.end()

            expect(page.locator("header .pill")).to_have_text("success")
            assert {url.split("?")[0] for url in watched.requests} == {
                server.address.split("?")[0],
                f"{server.address.split('/?')[0]}/events/{run.run_id}",
            }
        expect(page.locator("#connection")).to_have_text("not connected")
        # The browser reports the refused event stream. Nothing else may be on the console.
        assert all("ERR_CONNECTION_REFUSED" in message or "ERR_" in message for message in watched.console)
        watched.console.clear()


def test_a_name_that_points_here_is_refused(watch: Callable[..., Watched], repository: Repository) -> None:
    with Journal.open(repository.state_dir) as journal:
        begin_run(repository, journal, "20260102-030405-abcd").die()
        with serve(repository, journal, "latest", port=0) as server:
            watched = watch(console=False)
            answer = watched.page.goto(server.address.replace("127.0.0.1", "rebound.localhost"))
    assert answer is not None
    assert answer.status == 403


def test_nothing_of_the_page_is_left_out_when_it_is_live(repository: Repository) -> None:
    """The live page is the report and the two lines that make it live."""
    from architect_parallel.api.report import material
    from architect_parallel.reports.html import page, render

    with Journal.open(repository.state_dir) as journal:
        run = begin_run(repository, journal, "20260102-030405-abcd")
        commit(run.start(1), {"README": "more\n"})
        run.finish(1)
        run.end()
        run_material = material(repository, journal, "latest")

    live = page(run_material, events="/events?token=x", state="1-live")

    rest = live.replace('<meta name="architect-events" content="/events?token=x" data-state="1-live">', "").partition(
        "<meta name="
    )[2]
    assert rest == render(run_material).partition("<meta name=")[2]


def test_the_index_of_runs_fits_a_phone(watch: Callable[..., Watched], repository: Repository) -> None:
    with Journal.open(repository.state_dir) as journal:
        begin_run(repository, journal, "20260102-030405-abcd").die()
        with serve(repository, journal, "latest", port=0) as server:
            page = watch(console=False).page
            page.set_viewport_size({"width": 400, "height": 700})
            page.goto(server.address.replace("/?", "/runs?"))
            box = page.locator(".scroll").first
            assert box.evaluate("box => box.scrollWidth <= box.clientWidth")
            expect(page.locator(".runs .task")).to_be_in_viewport(ratio=1)
