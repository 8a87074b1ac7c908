"""The HTML report: its content, its controls, and that text of agents is never more than text."""

from __future__ import annotations

import difflib
import random
import re
import socketserver
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from support.report_material import HOSTILE, competition, hostile, result_of, run_of, spec_of
from support.repositories import git
from support.watched_pages import Watched

from architect_parallel.domain import RunStatus
from architect_parallel.reports.html import render
from architect_parallel.reports.material import Material
from architect_parallel.system.git import Repository

pytestmark = pytest.mark.browser

Look = Callable[..., Page]


def column(page: Page, sign: str) -> list[str]:
    """The text of all removed (`del`) or added (`ins`) lines on show, without marks."""
    cells = page.locator(f"#files .lines td.{sign}").all()
    return [re.sub(r"^(removed |added )[−+]", "", cell.text_content() or "") for cell in cells]


def test_the_page_shows_what_there_is_to_know(look: Look, report_repository: Repository) -> None:
    page = look(competition(report_repository))

    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Make slugs of titles"))
    rows = page.get_by_role("table", name="Workers by place").get_by_role("row")
    assert [row.get_by_role("rowheader").text_content() for row in rows.all()[1:]] == [
        "worker 1claude-opus-4-5claude", "worker 2gpt-5.1-codexcodex", "worker 3gemini-3-progemini",
        "worker 4deepseek-chatarchitect", "worker 5opencode",
    ]  # fmt: skip
    expect(rows.nth(1)).to_contain_text("breaks nothing, mends 1 check")
    expect(rows.nth(4)).to_contain_text("?")
    expect(page.get_by_role("table", name="Models")).to_contain_text("75%")
    expect(page.locator("#notices")).to_contain_text("refs/stash")
    expect(page.get_by_role("img", name=re.compile("worker 2: .*agent .*checks"))).to_be_visible()
    expect(page.locator(".matrix button.clash")).to_have_count(4)
    expect(page.locator("#conflicts")).to_contain_text("merge cleanly, in this order")
    page.locator("#worker-3 .check-list summary").first.click()
    expect(page.locator("#worker-3 .check-list pre").first).to_contain_text("1 failed, 3 passed")
    page.locator("#worker-2-log summary").click()
    expect(page.locator("#worker-2-log pre")).to_contain_text("attempt 2 of 2")
    expect(page.locator("#worker-2-log pre")).to_contain_text("writing src/fold.py")
    expect(page.locator("#worker-2")).to_contain_text("HTTP 429: slow down")
    expect(page.locator("#worker-2")).to_contain_text("Changed outside its scope")


def test_the_diff_goes_from_base_to_worker_and_from_worker_to_worker(look: Look, report_repository: Repository) -> None:
    page = look(competition(report_repository))
    assert "    lowered = unidecode(text).lower().strip()" in column(page, "ins")
    assert "    lowered = text.lower()" in column(page, "del")

    page.get_by_role("tab", name=re.compile("gpt-5.1-codex")).click()
    expect(page.locator("#files")).to_contain_text("A binary file")
    expect(page.locator("#files")).to_contain_text("def fold(text: str)")
    page.get_by_label("against").select_option(label="worker 1: claude-opus-4-5")
    expect(page.locator("#size")).to_contain_text("5 files")

    assert "    lowered = unidecode(text).lower().strip()" in column(page, "del")
    assert "    lowered = fold(text).lower()" in column(page, "ins")
    assert "They go." in column(page, "del")  # only worker 1 has it
    before = sorted(column(page, "del")), sorted(column(page, "ins"))
    expect(page.locator(".lines.split")).not_to_have_count(0)
    page.get_by_role("button", name="Unified").click()
    expect(page.locator(".lines.split")).to_have_count(0)
    page.wait_for_function("document.querySelectorAll('#files .lines').length == 4")
    assert (sorted(column(page, "del")), sorted(column(page, "ins"))) == before
    assert page.evaluate("location.hash") == "#changes-1-2"


def test_what_one_made_of_another_is_what_the_page_says(look: Look, report_repository: Repository) -> None:
    """For random texts with two random edits, the page's hunks turn one edit into the other."""
    page = look(competition(report_repository))
    dice = random.Random(4)

    def edited(lines: list[str]) -> list[str]:
        lines = list(lines)
        for _ in range(dice.randint(0, 4)):
            at = dice.randint(0, len(lines))
            lines[at : at + dice.randint(0, 3)] = [f"{dice.choice('abc')}\n" for _ in range(dice.randint(0, 3))]
        return lines

    for _ in range(150):
        base = [f"{dice.choice('abcdefgh')}\n" for _ in range(dice.randint(0, 40))]
        left, right = edited(base), edited(base)
        patches = ["".join(difflib.unified_diff(base, edit)) for edit in (left, right)]
        hunks = page.evaluate("([a, b]) => compareHunks(parsePatch(a).hunks, parsePatch(b).hunks)", patches)

        assert applied(left, hunks) == right
        assert applied(right, page.evaluate("(hunks) => reverseHunks(hunks)", hunks)) == left
        assert bool(hunks) == (left != right)


def applied(lines: list[str], hunks: list[dict[str, object]]) -> list[str]:
    """Apply hunks to `lines`; each hunk must fit exactly."""
    result: list[str] = []
    at = 0
    for hunk in hunks:
        begin, to, ops = hunk["start"], hunk["newStart"], hunk["lines"]
        assert isinstance(begin, int)
        assert isinstance(ops, list)
        result += lines[at:begin]
        assert len(result) == to
        old = [line for sign, line in ops if sign != "+"]
        assert lines[begin : begin + len(old)] == old
        result += [line for sign, line in ops if sign != "-"]
        at = begin + len(old)
    return result + lines[at:]


def test_everything_can_be_reached_with_keys(look: Look, report_repository: Repository) -> None:
    page = look(competition(report_repository))
    focused = "document.activeElement.textContent"

    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "Skip to the report"
    page.keyboard.press("d")
    assert page.evaluate(focused) == "Changes"
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert "src/slug.py" in page.evaluate(focused)
    page.keyboard.press("Enter")
    assert page.locator("#file-1").get_attribute("open") is None
    page.locator("[role=tab][aria-selected=true]").focus()
    page.keyboard.press("ArrowRight")
    assert "gpt-5.1-codex" in page.evaluate(focused)
    expect(page.locator("[role=tab][aria-selected=true]")).to_contain_text("gpt-5.1-codex")
    page.keyboard.press("c")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#pair")).to_contain_text("conflict over 1 file")
    page.get_by_role("button", name="Show how they differ").press("Enter")
    expect(page.get_by_label("against")).to_have_value("1")

    page.get_by_label("against").evaluate("(node) => node.blur()")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Next file")
    page.get_by_label("Use single-key shortcuts").uncheck()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("r")
    assert page.evaluate(focused) != "Ranking"


def test_hostile_words_are_only_shown(look: Look, report_repository: Repository) -> None:
    page = look(hostile(report_repository))
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    expect(page.locator("#worker-1-log pre")).to_contain_text("onerror")
    expect(page.locator("#files")).to_contain_text("more characters")

    content = page.evaluate("""() => ({
        pwned: window.pwned, title: document.title, text: document.body.textContent,
        scripts: [...document.scripts].filter((each) => !each.type).length,
        elements: document.querySelectorAll("img, iframe, object, embed, base, a[href]:not([href^='#'])").length,
        handlers: [...document.querySelectorAll("*")].filter((node) => [...node.attributes].some(
            (each) => each.name.startsWith("on") || each.value.startsWith("javascript:"))).length,
    })""")

    assert content["pwned"] is None
    assert (content["scripts"], content["elements"], content["handlers"]) == (1, 0, 0)
    assert not re.search(
        "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", content["text"]
    )
    assert "U+202E" in content["text"]
    assert "<img src=x onerror='window.pwned = 2'>" in content["text"]


def test_the_policy_keeps_inline_scripts_and_requests_from_happening(
    watch: Callable[..., Watched], report_repository: Repository, tmp_path: Path
) -> None:
    """The control is the same page without its policy: there all of it happens."""
    with socketserver.TCPServer(("127.0.0.1", 0), Requests) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        try:
            injected = f"""<script>window.injected = "script"</script>
                <p onclick="window.clicked = true" id="trap">trap</p><style>#trap {{ color: rgb(1, 2, 3) }}</style>
                <img src="http://127.0.0.1:{server.server_address[1]}/"></body>"""
            text = render(competition(report_repository)).replace("</body>", injected)
            open_text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
            happened = []
            for document in (text, open_text):
                (tmp_path / "page.html").write_text(document)
                page = watch(console=False).page
                page.goto((tmp_path / "page.html").as_uri(), wait_until="load")
                effects = page.evaluate("""() => { document.getElementById("trap").click();
                    return [window.injected ?? null, window.clicked ?? null,
                        getComputedStyle(document.getElementById("trap")).color === "rgb(1, 2, 3)"]; }""")
                happened.append([*effects, Requests.count])
        finally:
            server.shutdown()

    assert happened == [[None, None, False, 0], ["script", True, True, 1]]


class Requests(socketserver.BaseRequestHandler):
    """Counts the connections."""

    count = 0

    def handle(self) -> None:
        Requests.count += 1


def test_light_and_dark_follow_the_system_until_the_user_switches(look: Look, report_repository: Repository) -> None:
    page = look(competition(report_repository), color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)

    page.get_by_role("button", name="Change to light colours").click()

    light = page.evaluate(ground)
    assert light != dark
    page.reload()
    assert page.evaluate(ground) == light
    page.emulate_media(color_scheme="light")
    page.keyboard.press("t")
    assert page.evaluate(ground) == dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_contrast_enough(look: Look, report_repository: Repository, scheme: str) -> None:
    page = look(competition(report_repository), color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")

    weak = page.evaluate(CONTRAST)

    assert weak == []


CONTRAST = """() => {
    const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (color) => {
        context.clearRect(0, 0, 1, 1); context.fillStyle = color; context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data].map((each, i) => i < 3 ? each : each / 255);
    };
    const over = (top, below) => top.slice(0, 3).map((each, i) => each * top[3] + below[i] * (1 - top[3]));
    const ground = (node) => {
        const layers = [];
        for (; node; node = node.parentElement) layers.push(rgba(getComputedStyle(node).backgroundColor));
        return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
    };
    const light = (color) => {
        const [r, g, b] = color.map((each) => each / 255).map(
            (each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const weak = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        const hidden = node.closest("svg, script, noscript, .visually-hidden") || !node.checkVisibility();
        if (hidden || !walker.currentNode.data.trim()) continue;
        const style = getComputedStyle(node), below = ground(node);
        const [one, two] = [light(over(rgba(style.color), below)), light(below)].sort((a, b) => b - a);
        const ratio = (one + 0.05) / (two + 0.05);
        if (ratio < 4.5) weak.add(`${node.tagName}.${node.className} ${ratio.toFixed(2)}`);
    }
    return [...weak];
}"""


@pytest.mark.parametrize("made", [competition, hostile])
def test_a_phone_needs_no_sideways_scrolling(
    look: Look, report_repository: Repository, made: Callable[[Repository], Material]
) -> None:
    page = look(made(report_repository), width=400)

    assert page.evaluate("document.documentElement.scrollWidth") == 400
    expect(page.locator(".lines.split")).to_have_count(0)


def test_without_scripts_everything_but_diffs_and_transcripts_is_there(
    look: Look, report_repository: Repository
) -> None:
    page = look(competition(report_repository), java_script_enabled=False)

    expect(page.locator("#ranking")).to_contain_text("claude-opus-4-5")
    assert "architect diff 20260102-030405-abcd N" in page.content()
    expect(page.get_by_role("img", name=re.compile("worker 1: "))).to_be_visible()


def test_a_run_with_nothing_to_show_says_so(look: Look, report_repository: Repository) -> None:
    spec = spec_of(1, git(report_repository.root, "rev-parse", "main"))
    nothing = Material(
        repository=report_repository, result=run_of([spec], [result_of(report_repository, spec, None)]), recorded=()
    )
    begun = Material(repository=report_repository, result=run_of([spec], [], RunStatus.RUNNING), recorded=())

    page = look(nothing)
    expect(page.locator("#changes")).to_contain_text("No worker changed anything.")
    expect(page.locator("#conflicts")).to_contain_text("nothing can conflict")
    expect(page.locator("#ranking thead th")).to_have_text(
        ["Worker", "Status", "Checks", "Cost", "Duration", "Changes"]
    )
    page = look(begun)
    expect(page.locator("#ranking")).to_contain_text("No worker has ended yet.")
    expect(page.locator("#timeline")).to_contain_text("Nothing has happened yet.")
    assert HOSTILE not in (page.text_content("body") or "")
