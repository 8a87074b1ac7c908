"""Pages in a browser, and what they did that nobody may see."""

from __future__ import annotations

from playwright.sync_api import ConsoleMessage, Error, Page, Request


class Watched:
    """What a page did that nobody may see: console messages, errors, requests."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.console: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", self._failed)
        page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        self.console.append(f"{message.type}: {message.text}")

    def _failed(self, error: Error) -> None:
        self.console.append(str(error))

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)
