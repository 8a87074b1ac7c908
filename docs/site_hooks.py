"""Hooks of mkdocs (`mkdocs.yml`): pages that live outside of `docs/`, and links as they are in the repository.

A link in a document leads to a file of the repository, so that it works there. On the site it leads to the page of that
file. A file that the site does not have becomes its name.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "config.example.yaml": "config.example.md",
    "README.md": "README.md",
}
"""File of the repository outside of `docs/` → its page. The README's is the start page, which says the same."""

LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s:]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]+`(?!\])", flags=re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from files outside of `docs/`."""
    for name, page in PAGES.items():
        if files.get_file_from_path(page) is None:
            text = (ROOT / name).read_text()
            if name.endswith(".yaml"):
                text = f"# Every setting with its default\n\n```yaml\n{text}```\n"
            files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository into links to pages."""
    here = page.file.src_uri
    source = next((name for name, made in PAGES.items() if made == here and name != "README.md"), f"docs/{here}")

    def site_link(match: re.Match[str]) -> str:
        words, link = match[1], match[2]
        place, mark, fragment = link.partition("#")
        if not place:
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), place))
        target = target.removeprefix("docs/") if target.startswith("docs/") else PAGES.get(target, "")
        if not target:
            return words
        return f"[{words}]({posixpath.relpath(target, posixpath.dirname(here) or '.')}{mark}{fragment})"

    pieces, start = [], 0
    for code in CODE.finditer(markdown):
        pieces += [LINK.sub(site_link, markdown[start : code.start()]), code[0]]
        start = code.end()
    return "".join([*pieces, LINK.sub(site_link, markdown[start:])])
