"""The site of the documents builds without a warning and without another host, and names messages that exist."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"
GAP = "…"


def build(target: Path) -> subprocess.CompletedProcess[str]:
    """Build the site as `make site` does. A link or an anchor that leads nowhere is a warning, and so an error."""
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(target)]
    # A proxy that does not answer: a build that asks another host fails.
    proxy = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environ = os.environ | proxy | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


def foreign_resources(page: str) -> list[str]:
    """What a browser would fetch from elsewhere to show a page. Links that a reader follows do not count."""
    tags = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", page)
    return [
        tag for tag in tags if re.search(r"(?:src|href)=[\"']?(?:https?:)?//", tag) and 'rel="canonical"' not in tag
    ]


def test_the_site_builds_and_needs_no_other_host(tmp_path: Path) -> None:
    done = build(tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 25
    assert {str(page): tags for page in pages if (tags := foreign_resources(page.read_text()))} == {}
    styles = "".join(path.read_text() for path in (tmp_path / "site").rglob("*.css"))
    assert re.findall(r"url\([\"']?https?:", styles) == []
    assert 'src="recording.svg"' in (tmp_path / "site" / "index.html").read_text()


def test_a_foreign_resource_is_noticed() -> None:
    """The control."""
    page = '<script src="https://cdn.example/x.js"></script><img src="a.svg"><a href="https://elsewhere.example">x</a>'
    assert foreign_resources(page) == ['<script src="https://cdn.example/x.js">']


def test_the_recording_is_small_and_shows_the_commands_of_its_script() -> None:
    drawing = (ROOT / "docs" / "recording.svg").read_text()
    assert len(drawing) < 300_000
    # What a terminal shows, not what a machine is called: no path, and nothing from elsewhere.
    assert re.findall(r"/tmp|/home|/root|href=\"[^#]|https?://(?!www\.w3\.org)", drawing) == []
    texts = {text for element in ElementTree.fromstring(drawing).iter() if (text := (element.text or "").strip())}
    tree = ast.parse((ROOT / "docs" / "recording.py").read_text())
    commands = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and re.match(r"architect [a-z]+( |$)", str(node.value))
    }
    assert len(commands) >= 4
    assert {command for command in commands if command not in texts} == set()
    assert any(text.startswith("1 of 3 succeeded") for text in texts)


def texts_of_the_program() -> Iterator[str]:
    """Every string in the program's source, with a gap for each value that is filled in."""
    for path in (ROOT / "architect_parallel").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(
                    part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else GAP
                    for part in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                # Reasons are shown as words: `worker_timeout`.
                yield node.value if " " in node.value else node.value.replace("_", " ")


def unknown(messages: list[str], texts: list[str]) -> list[str]:
    """The messages that no text of the program could be."""
    patterns = {message: re.compile(".*".join(map(re.escape, message.split(GAP))), re.DOTALL) for message in messages}
    return [message for message, pattern in patterns.items() if not any(map(pattern.search, texts))]


def test_troubleshooting_names_messages_of_the_program() -> None:
    messages = re.findall(r"^### `(.*)`$", TROUBLESHOOTING.read_text(), flags=re.MULTILINE)
    texts = list(texts_of_the_program())
    assert len(messages) >= 20
    assert unknown(messages, texts) == []
    assert unknown(["… is not in a git repository", "the moon is … blue"], texts) == ["the moon is … blue"]
